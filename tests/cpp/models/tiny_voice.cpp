#include "models/tiny_voice.h"

#include <cmath>

#include "base/rng.h"

namespace minicpmo {

namespace {

class Writer {
public:
    explicit Writer(TinyVoice& voice) : voice_(voice) {}

    // Values around `mean`, which differ by about `scale`.
    void tensor(const std::string& name, std::vector<uint64_t> ne, double mean, double scale) {
        uint64_t n = 1;
        for (const uint64_t extent : ne) n *= extent;
        std::vector<float>& values = voice_.tensors[name];
        for (uint64_t i = 0; i < n; ++i)
            values.push_back(static_cast<float>(mean + scale * (2.0 * rng_.uniform() - 1.0)));
        const auto* bytes = reinterpret_cast<const char*>(values.data());
        voice_.file.tensor(
            {name, std::move(ne), GGML_TYPE_F32, std::string(bytes, values.size() * sizeof(float))});
    }
    void linear(const std::string& name, int n_in, int n_out, bool has_bias = true) {
        const auto in = static_cast<uint64_t>(n_in), out = static_cast<uint64_t>(n_out);
        tensor(name + ".weight", {in, out}, 0.0, 1.7 / std::sqrt(n_in));
        if (has_bias) tensor(name + ".bias", {out}, 0.0, 0.2);
    }
    void norm(const std::string& name, int n, const char* scale, const char* shift) {
        tensor(name + "." + scale, {static_cast<uint64_t>(n)}, 1.0, 0.3);
        tensor(name + "." + shift, {static_cast<uint64_t>(n)}, 0.0, 0.3);
    }
    void integer(const std::string& key, int value) { voice_.file.add(key, static_cast<uint32_t>(value)); }
    void number(const std::string& key, float value) { voice_.file.add(key, value); }
    void list(const std::string& key, const std::vector<int>& values) {
        voice_.file.array(key, std::vector<uint32_t>(values.begin(), values.end()));
    }

private:
    TinyVoice& voice_;
    Rng rng_{17, 0};
};

void add_tokenizer(Writer& w) {
    const SpeechTokenizerConfig t = tiny_tokenizer_config();
    const std::string key = "minicpmo.s3.";
    w.integer(key + "block_count", t.n_layer);
    w.integer(key + "embedding_length", t.n_embd);
    w.integer(key + "feed_forward_length", t.n_ff);
    w.integer(key + "attention.head_count", t.n_head);
    w.integer(key + "n_mel", t.n_mel);
    w.integer(key + "conv_kernel", t.conv_taps);
    w.integer(key + "conv_stride", t.conv_stride);
    w.integer(key + "fsmn_kernel", t.fsmn_taps);
    w.integer(key + "max_positions", t.n_position);
    w.integer(key + "code_dimensions", t.n_digit);
    w.integer(key + "code_levels", t.n_level);
    w.integer(key + "sample_rate", 16000);
    w.integer(key + "n_fft", 400);
    w.integer(key + "hop_length", 160);
    w.number(key + "attention_layer_norm_epsilon", t.attention_norm_eps);
    w.number(key + "ffn_layer_norm_epsilon", t.ffn_norm_eps);
    w.number(key + "rope.freq_base", t.rope_base);
    w.linear("s3.conv1", t.conv_taps * t.n_mel, t.n_embd);
    w.linear("s3.conv2", t.conv_taps * t.n_embd, t.n_embd);
    for (int i = 0; i < t.n_layer; ++i) {
        const std::string at = "s3.blk." + std::to_string(i) + ".";
        w.norm(at + "ln1", t.n_embd, "weight", "bias");
        w.norm(at + "ln2", t.n_embd, "weight", "bias");
        for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_out"})
            w.linear(at + name, t.n_embd, t.n_embd, name != std::string("attn_k"));
        w.tensor(at + "attn_fsmn.weight",
                 {static_cast<uint64_t>(t.n_embd), static_cast<uint64_t>(t.fsmn_taps)}, 0.0, 0.3);
        w.linear(at + "ffn_up", t.n_embd, t.n_ff);
        w.linear(at + "ffn_down", t.n_ff, t.n_embd);
    }
    w.linear("s3.quant", t.n_embd, t.n_digit);
}

void add_image(Writer& w, const SpeakerEncoderConfig& s) {
    const int c = s.n_channel;
    w.linear("spk.head.conv_in", 9, c);
    for (size_t i = 0; i < s.strides.size(); ++i) {
        const std::string at = "spk.head.blk." + std::to_string(i) + ".";
        w.linear(at + "conv1", 9 * c, c);
        w.linear(at + "conv2", 9 * c, c);
        if (s.strides[i] > 1) w.linear(at + "shortcut", c, c);
    }
    w.linear("spk.head.conv_out", 9 * c, c);
}

void add_speaker(Writer& w) {
    const SpeakerEncoderConfig s = tiny_speaker_config();
    const std::string key = "minicpmo.spk.";
    w.integer(key + "sample_rate", 16000);
    w.integer(key + "n_mel", s.n_mel);
    w.integer(key + "embedding_length", s.n_embd);
    w.integer(key + "head.channels", s.n_channel);
    w.list(key + "head.strides", s.strides);
    w.integer(key + "tdnn.embedding_length", s.n_tdnn);
    w.integer(key + "tdnn.kernel", s.tdnn_taps);
    w.integer(key + "tdnn.stride", s.tdnn_stride);
    w.integer(key + "growth", s.n_growth);
    w.integer(key + "bottleneck", s.n_bottleneck);
    w.integer(key + "gate_length", s.n_gate);
    w.integer(key + "kernel", s.n_tap);
    w.integer(key + "segment_length", s.segment);
    w.list(key + "block_layers", s.block_layers);
    w.list(key + "block_dilations", s.block_dilations);
    add_image(w, s);
    w.linear("spk.tdnn", s.tdnn_taps * s.n_channel * 2, s.n_tdnn);  // 10 mels end as 2 frequencies
    int n = s.n_tdnn;
    for (size_t b = 0; b < s.block_layers.size(); ++b) {
        for (int i = 0; i < s.block_layers[b]; ++i, n += s.n_growth) {
            const std::string at = "spk.block." + std::to_string(b) + ".layer." + std::to_string(i) + ".";
            w.norm(at + "norm", n, "scale", "shift");
            w.linear(at + "bottleneck", n, s.n_bottleneck);
            w.linear(at + "local", s.n_tap * s.n_bottleneck, s.n_growth, false);
            w.linear(at + "gate1", s.n_bottleneck, s.n_gate);
            w.linear(at + "gate2", s.n_gate, s.n_growth);
        }
        const std::string at = "spk.transit." + std::to_string(b);
        w.norm(at + ".norm", n, "scale", "shift");
        w.linear(at, n, n / 2);
        n /= 2;
    }
    w.linear("spk.dense", 2 * n, s.n_embd);
}

void add_decoder_mel(Writer& w) {
    const std::string key = "minicpmo.t2w.";
    w.integer(key + "vocab_size", tiny_tokenizer_config().n_vocab());
    w.integer(key + "n_mel", 12);
    w.integer(key + "up_rate", 2);
    w.integer(key + "speaker_length", tiny_speaker_config().n_embd);
    w.integer(key + "sample_rate", 24000);
    w.integer(key + "mel.n_fft", 1920);
    w.integer(key + "mel.win_length", 1920);
    w.integer(key + "mel.hop_length", 480);
    w.number(key + "mel.f_min", 0.0F);
    w.number(key + "mel.f_max", 8000.0F);
}

}  // namespace

SpeechTokenizerConfig tiny_tokenizer_config() {
    SpeechTokenizerConfig t;
    t.n_layer = 2;
    t.n_embd = 32;
    t.n_ff = 48;
    t.n_head = 2;
    t.n_mel = 20;
    t.fsmn_taps = 7;
    t.n_position = 300;
    t.n_digit = 3;
    return t;
}

SpeakerEncoderConfig tiny_speaker_config() {
    SpeakerEncoderConfig s;
    s.n_mel = 10;
    s.n_embd = 6;
    s.n_channel = 4;
    s.strides = {2, 1, 2};
    s.n_tdnn = 8;
    s.n_growth = 4;
    s.n_bottleneck = 6;
    s.n_gate = 3;
    s.segment = 10;
    s.block_layers = {2, 1};
    s.block_dilations = {1, 2};
    return s;
}

TinyVoice tiny_voice() {
    TinyVoice voice;
    Writer writer(voice);
    add_tokenizer(writer);
    add_speaker(writer);
    add_decoder_mel(writer);
    return voice;
}

}  // namespace minicpmo
