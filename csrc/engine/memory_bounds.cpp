#include "engine/memory_bounds.h"

#include <algorithm>

#include "engine/speech_decoder.h"

namespace minicpmo {

namespace {

constexpr uint64_t kSmall = 1 << 16;  // positions, ids and what else does not grow with the model

// So many values in float32, and a quarter for gaps.
uint64_t with_gaps(int64_t n_value) {
    return kSmall + static_cast<uint64_t>(n_value) * sizeof(float) * 5 / 4;
}

// Values of a row in a transformer layer whose queries, keys and values have n_q, n_kv and n_kv features: the
// row before, normed and after; then either the three, some of them twice while they are turned, and what
// attention makes of them, or both halves of an MLP and their product. The widest one again, for a product
// rounds its input.
int64_t layer_values(int64_t n_embd, int64_t n_q, int64_t n_kv, int64_t n_ff, int64_t n_matrix) {
    return 3 * n_embd + std::max(3 * n_q + 4 * n_kv, n_matrix * n_ff) + std::max(n_embd, n_ff);
}

int64_t plain_layer(int64_t n_embd, int64_t n_ff) { return layer_values(n_embd, n_embd, n_embd, n_ff, 2); }

// A convolution's input, padded and unfolded, and its output, with and without bias.
int64_t convolution(int64_t n_in_row, int64_t n_in, int n_tap, int64_t n_out_row, int64_t n_out) {
    return n_in_row * 2 * n_in + n_out_row * (2 * n_tap * n_in + 2 * n_out);
}

}  // namespace

uint64_t decoder_scratch(const DecoderConfig& c, int64_t n_row, int64_t n_kv, int64_t n_logit) {
    const int64_t n_q = int64_t{c.n_head} * c.d_head;
    const int64_t n_k = int64_t{c.n_head_kv} * c.d_head;
    const int64_t n_mask = (n_row + 1) * n_kv / 2;  // in half precision
    return with_gaps(n_row * (2 * c.n_embd + layer_values(c.n_embd, n_q, n_k, c.n_ff, 3)) + n_mask + n_logit);
}

uint64_t vision_scratch(const VisionConfig& vision) {
    const SiglipConfig& c = vision.tower;
    // A slice has as many patches as a square one, and more where its sides are rounded to patches.
    const int64_t side = vision.slicing.scale_resolution / c.patch_size;
    const int64_t n_patch =
        std::min<int64_t>((side + side / 8 + 1) * (side + side / 8 + 1), kMaxSlicePatches);
    const int64_t n_pixel = int64_t{3} * c.patch_size * c.patch_size;
    const int64_t n_wide = vision.resampler.n_embd;
    const int64_t row = std::max<int64_t>(plain_layer(c.n_embd, c.n_ff), c.n_embd + 7 * n_wide);
    return with_gaps(n_patch * (2 * n_pixel + n_wide + row) + int64_t{vision.resampler.n_query} * 8 * n_wide);
}

uint64_t audio_scratch(const AudioConfig& audio) {
    const WhisperConfig& c = audio.encoder.whisper;
    const int64_t n = c.n_position;
    const int64_t front =
        convolution(2 * n, c.n_mel, 3, 2 * n, c.n_embd) + convolution(2 * n, c.n_embd, 3, n, c.n_embd);
    const int64_t layers = n * std::max<int64_t>(plain_layer(c.n_embd, c.n_ff), 4 * audio.encoder.n_embd);
    return with_gaps(2 * n * c.n_mel + n * n / 2 + std::max(front, layers));
}

uint64_t voice_scratch(const VoiceConfig& voice) {
    const SpeechTokenizerConfig& t = voice.tokenizer;
    const int64_t n = std::min(voice.shape.max_codes, t.n_position);
    const int64_t n_middle = n * t.conv_stride;
    const int64_t n_mel = n_middle * t.conv_stride;
    const int64_t front = convolution(n_mel, t.n_mel, t.conv_taps, n_middle, t.n_embd) +
                          convolution(n_middle, t.n_embd, t.conv_taps, n, t.n_embd);
    const int64_t remembered = 4 * n * t.n_embd;  // beside the layer, and padded
    const int64_t tokens = std::max(front, n * plain_layer(t.n_embd, t.n_ff) + remembered);
    const SpeakerEncoderConfig& s = voice.speaker;
    constexpr int64_t kImageTaps = 9;
    const int64_t image = n_mel * s.n_mel * s.n_channel * (kImageTaps + 6);
    return with_gaps(n_mel * t.n_mel + tokens) + with_gaps(n_mel * s.n_mel + image);
}

uint64_t flow_scratch(const FlowConfig& flow, int n_code) {
    const UpsampleEncoderConfig& e = flow.encoder;
    const int64_t n_row = n_code + e.n_lookahead;
    const int64_t n_frame = n_row * e.up_rate;
    // A score for every key and for every distance, each of them shifted, in each head.
    const int64_t n_score = 6 * n_frame * n_frame * e.n_head;
    const int64_t up = convolution(n_row, e.n_embd, e.up_taps, n_row, int64_t{e.up_rate} * e.n_embd);
    const int64_t encoder =
        n_frame * (plain_layer(e.n_embd, e.n_ff) + 2 * e.n_embd + flow.n_mel) + up + n_score;
    const DitConfig& d = flow.matching.dit;
    const int64_t n_column = n_frame * Dit::kBranches;
    const int64_t n_q = int64_t{d.n_head} * d.d_head;
    const int64_t layer = layer_values(d.n_embd, n_q, n_q, d.n_ff, 2);
    const int64_t unfolded = (2 * int64_t{d.conv_kernel} + 4) * d.n_embd;
    const int64_t matching = n_column * (4 * flow.n_mel + 2 * d.n_embd + std::max(layer, unfolded));
    return with_gaps(encoder) + with_gaps(matching);
}

uint64_t vocoder_scratch(const VocoderConfig& vocoder, int n_frame) {
    const HiftConfig& c = vocoder.hift;
    int n_tap = 1;
    for (const ResBlockConfig& block : c.blocks) n_tap = std::max(n_tap, block.n_tap);
    int64_t n_row = n_frame + c.n_lookahead;
    int64_t most = n_row * (2 * int64_t{c.n_mel} * c.pre_kernel + 4 * c.n_embd);
    int64_t n_before = c.n_embd;
    for (const HiftStageConfig& stage : c.stages) {
        const int64_t n_up_tap = stage.up_left + 1 + stage.up_right;
        const int64_t up = n_row * (2 * n_up_tap + 2) * n_before;
        n_row *= stage.up_rate;
        const int64_t down = (n_row + 1) * int64_t{stage.down_kernel} * c.n_spectrum * 2;
        most = std::max(most, up + down + (n_row + 1) * stage.n_embd * (2 * int64_t{n_tap} + 8));
        n_before = stage.n_embd;
    }
    const int64_t past = 4 * (n_row + c.n_spectrum_past()) * c.n_spectrum;
    const int64_t pitch = n_frame * int64_t{vocoder.f0.n_embd} * 16;
    return with_gaps(most + past) + with_gaps(pitch);
}

uint64_t dvae_scratch(const DvaeConfig& c, int n_step) {
    const int64_t n = int64_t{c.n_group} * n_step;
    constexpr int kTaps = 3;
    const int64_t n_embd = c.block.n_embd;
    const int64_t begin = 4 * n * c.n_width + convolution(n, c.n_width, kTaps, n, c.n_stem);
    const int64_t stem = convolution(n, c.n_stem, kTaps, n, n_embd);
    const int64_t end = n * n_embd + convolution(n, c.n_width, kTaps, n, c.n_mel);
    return with_gaps(n * c.n_book() + std::max({begin, stem, n * plain_layer(n_embd, c.block.n_ff), end}));
}

uint64_t vocos_scratch(const VocosConfig& c, int n_frame) {
    const int64_t n = n_frame;
    const int64_t n_embd = c.block.n_embd;
    const int64_t begin = convolution(n, c.n_mel, c.block.n_tap, n, n_embd);
    const int64_t end = n * (2 * n_embd + 2 * (int64_t{c.n_fft} + 2));
    const int64_t graph = std::max({begin, n * plain_layer(n_embd, c.block.n_ff), end});
    constexpr int64_t kOfSample = 5;  // two sums in double precision, and the sample
    const int64_t samples = n * 2 * (int64_t{c.n_fft} + 2) + (n * c.hop_length + c.n_fft) * kOfSample;
    return with_gaps(n * c.n_mel + graph + samples);
}

uint64_t flow_state(const FlowConfig& flow, int n_step, int n_code, int value_bytes) {
    const UpsampleEncoderConfig& e = flow.encoder;
    const DitConfig& d = flow.matching.dit;
    constexpr int64_t kSpareRows = 64;
    // Keys, values, and a distance for each key and query.
    const int64_t n_row = Flow::kMaxFrames / e.up_rate;
    const int64_t n_cached = e.n_layer * (4 * n_row + 4 * kSpareRows) +
                             e.n_up_layer * (4 * int64_t{Flow::kMaxFrames} + 4 * kSpareRows);
    const int64_t encoder = 2 * n_cached * e.n_embd * value_bytes;
    const int64_t n_tensor = int64_t{n_step} * d.n_layer * 2;
    const int64_t row = n_tensor * Dit::kBranches * d.n_head * d.d_head * value_bytes;
    const int64_t n_prompt = int64_t{n_code} * e.up_rate;
    const int64_t contexts = 2 * n_tensor * d.n_context() * d.n_embd * int64_t{sizeof(float)};
    constexpr int64_t kModulations = 9;  // of a layer
    const int64_t modulation =
        int64_t{n_step} * d.n_embd * (kModulations * d.n_layer + 2) * int64_t{sizeof(float)};
    return static_cast<uint64_t>(encoder + row * (2 * n_prompt + Flow::kMaxFrames) + contexts + modulation);
}

uint64_t noise_tables(const FlowConfig& flow, const VocoderConfig& vocoder) {
    const size_t n_flow = size_t{Flow::kMaxFrames} * static_cast<size_t>(flow.n_mel);
    const size_t n_source = SpeechDecoder::kNoiseSamples * static_cast<size_t>(vocoder.source.n_harmonic);
    return (n_flow + n_source) * sizeof(float);
}

}  // namespace minicpmo
