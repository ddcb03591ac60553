#include "engine/voice_config.h"

#include "base/error.h"
#include "core/metadata_keys.h"
#include "models/speech/flow.h"

namespace minicpmo {

namespace {

constexpr int kSampleRate = 16000;  // of recordings that are listened to
constexpr int kMaxVoices = 1000;
constexpr int kMaxTaps = 255;

// Odd, so that as many steps before as behind make the output as long as the input.
int read_taps(const Keys& keys, const std::string& key) {
    const int taps = keys.integer(key, 1, kMaxTaps);
    check<ModelFileError>(taps % 2 == 1, "[config] key {}{}: expected an odd number, got {} ({})",
                          keys.prefix(), key, taps, keys.file().path().string());
    return taps;
}

std::vector<int> read_list(const Keys& keys, const std::string& key, size_t least, int64_t high) {
    std::vector<int> values;
    for (const int64_t value : keys.file().get<std::vector<int64_t>>(keys.prefix() + key)) {
        check<ModelFileError>(value >= 1 && value <= high, "[config] key {}{}: expected 1 to {}, got {} ({})",
                              keys.prefix(), key, high, value, keys.file().path().string());
        values.push_back(static_cast<int>(value));
    }
    check<ModelFileError>(values.size() >= least && values.size() <= kMaxLayers,
                          "[config] key {}{}: expected {} to {} numbers, got {} ({})", keys.prefix(), key,
                          least, kMaxLayers, values.size(), keys.file().path().string());
    return values;
}

// Where both halves of the file speak of the same thing.
void check_same(const GgufFile& file, const char* what, int expected, int found) {
    check<ModelFileError>(expected == found, "[config] expected {} {} as the speech decoder, got {} ({})",
                          expected, what, found, file.path().string());
}

SpeechTokenizerConfig read_tokenizer(const Keys& keys) {
    SpeechTokenizerConfig t;
    t.n_layer = keys.integer("block_count", 1, kMaxLayers);
    t.n_embd = keys.integer("embedding_length", 1, kMaxWidth);
    t.n_ff = keys.integer("feed_forward_length", 1, kMaxWidth);
    t.n_head = keys.integer("attention.head_count", 1, kMaxLayers);
    check<ModelFileError>(t.n_embd % (2 * t.n_head) == 0,
                          "[config] expected heads of an even width that divide {} features, got {} ({})",
                          t.n_embd, t.n_head, keys.file().path().string());
    t.n_mel = keys.integer("n_mel", 1, 1024);
    t.conv_taps = read_taps(keys, "conv_kernel");
    t.conv_stride = keys.integer("conv_stride", 1, 16);
    t.fsmn_taps = read_taps(keys, "fsmn_kernel");
    t.n_position = keys.integer("max_positions", 2, kMaxTokens);
    t.n_digit = keys.integer("code_dimensions", 1, 8);
    t.n_level = keys.integer("code_levels", 2, 8);
    t.attention_norm_eps = keys.number("attention_layer_norm_epsilon", 0.0, 1.0);
    t.ffn_norm_eps = keys.number("ffn_layer_norm_epsilon", 0.0, 1.0);
    t.rope_base = keys.number("rope.freq_base", 1.0, 1e12);
    return t;
}

MelConfig read_tokenizer_mel(const Keys& keys, int n_mel) {
    MelConfig mel;
    mel.sample_rate = keys.integer("sample_rate", kSampleRate, kSampleRate);
    mel.n_fft = keys.integer("n_fft", 2, 4096);
    mel.hop = keys.integer("hop_length", 1, 4096);
    mel.n_mel = n_mel;
    mel.max_samples = mel.hop * (30 * mel.sample_rate / mel.hop);
    return mel;
}

SpeakerEncoderConfig read_speaker(const Keys& keys) {
    SpeakerEncoderConfig s;
    keys.integer("sample_rate", kSampleRate, kSampleRate);
    s.n_mel = keys.integer("n_mel", 1, 1024);
    s.n_embd = keys.integer("embedding_length", 1, kMaxWidth);
    s.n_channel = keys.integer("head.channels", 1, 4096);
    s.strides = read_list(keys, "head.strides", 0, 16);
    s.n_tdnn = keys.integer("tdnn.embedding_length", 1, kMaxWidth);
    s.tdnn_taps = read_taps(keys, "tdnn.kernel");
    s.tdnn_stride = keys.integer("tdnn.stride", 1, 16);
    s.n_growth = keys.integer("growth", 1, 4096);
    s.n_bottleneck = keys.integer("bottleneck", 1, kMaxWidth);
    s.n_gate = keys.integer("gate_length", 1, kMaxWidth);
    s.n_tap = read_taps(keys, "kernel");
    s.segment = keys.integer("segment_length", 1, kMaxTokens);
    s.block_layers = read_list(keys, "block_layers", 1, kMaxLayers);
    s.block_dilations = read_list(keys, "block_dilations", 1, 4096);
    check<ModelFileError>(s.block_layers.size() == s.block_dilations.size(),
                          "[config] expected a dilation for each of {} blocks, got {} ({})",
                          s.block_layers.size(), s.block_dilations.size(), keys.file().path().string());
    return s;
}

SpeechMelConfig read_mel(const Keys& keys) {
    SpeechMelConfig mel;
    mel.sample_rate = keys.integer("sample_rate", 1000, 192000);
    mel.n_fft = keys.integer("mel.n_fft", 2, 1 << 16);
    keys.integer("mel.win_length", mel.n_fft, mel.n_fft, mel.n_fft);
    mel.hop = keys.integer("mel.hop_length", 1, 1 << 16);
    mel.n_mel = keys.integer("n_mel", 1, 1024);
    mel.low_hz = keys.number("mel.f_min", 0.0, mel.sample_rate / 2.0, 0.0);
    mel.high_hz = keys.number("mel.f_max", mel.low_hz, mel.sample_rate / 2.0, 8000.0);
    return mel;
}

std::string name_key(size_t index) { return "minicpmo.voice." + std::to_string(index) + ".name"; }

}  // namespace

VoiceShape read_voice_shape(const GgufFile& file) {
    const Keys keys(file, "minicpmo.t2w.");
    VoiceShape shape;
    shape.n_code = keys.integer("vocab_size", 1, kMaxTokens);
    shape.n_mel = keys.integer("n_mel", 1, 1024);
    shape.frames_per_code = keys.integer("up_rate", 1, 64);
    shape.n_speaker = keys.integer("speaker_length", 1, kMaxWidth);
    return shape;
}

VoiceConfig read_voice_config(const GgufFile& file) {
    const Keys s3(file, "minicpmo.s3.");
    VoiceConfig config;
    config.shape = read_voice_shape(file);
    config.tokenizer = read_tokenizer(s3);
    config.tokenizer_mel = read_tokenizer_mel(s3, config.tokenizer.n_mel);
    config.speaker = read_speaker(Keys(file, "minicpmo.spk."));
    config.mel = read_mel(Keys(file, "minicpmo.t2w."));
    check_same(file, "codes", config.shape.n_code, config.tokenizer.n_vocab());
    check_same(file, "features of a speaker", config.shape.n_speaker, config.speaker.n_embd);
    return config;
}

std::vector<std::string> read_voice_names(const GgufFile& file) {
    const Keys keys(file, "minicpmo.voice.");
    const auto n = static_cast<size_t>(keys.integer("count", 0, kMaxVoices, 0));
    std::vector<std::string> names;
    for (size_t i = 0; i < n; ++i) names.push_back(file.get_or<std::string>(name_key(i), ""));
    return names;
}

int read_cache_steps(const GgufFile& file, size_t index) {
    const Keys keys(file, "minicpmo.voice." + std::to_string(index) + ".");
    return keys.integer("cache_steps", 0, Flow::kMaxSteps, 0);
}

void write_voice_names(const std::vector<std::string>& names, GgufWriter& writer) {
    writer.add("general.architecture", "voice");
    writer.add("minicpmo.voice.count", static_cast<uint32_t>(names.size()));
    for (size_t i = 0; i < names.size(); ++i) writer.add(name_key(i), names[i]);
}

}  // namespace minicpmo
