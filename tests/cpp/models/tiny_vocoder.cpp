#include "models/tiny_vocoder.h"

#include <cmath>

#include "base/rng.h"

namespace minicpmo {

namespace {

std::string prefix_of(const TinyVocoderOptions& options) {
    return options.is_causal ? "hift_causal." : "hift.";
}

class KeyWriter {
public:
    KeyWriter(GgufBuilder& builder, const TinyVocoderOptions& options)
        : builder_(builder), options_(options) {}

    void number(const std::string& key, int value) {
        builder_.add(name(key), static_cast<uint32_t>(value + odd(key)));
    }
    void number(const std::string& key, float value) { builder_.add(name(key), value); }
    void list(const std::string& key, const std::vector<int>& values) {
        std::vector<uint32_t> numbers(values.begin(), values.end());
        numbers.front() += static_cast<uint32_t>(odd(key));
        builder_.array(name(key), numbers);
    }
    std::string name(const std::string& key) const { return "minicpmo." + prefix_of(options_) + key; }

private:
    int odd(const std::string& key) const { return key == options_.odd_key ? 1 : 0; }

    GgufBuilder& builder_;
    const TinyVocoderOptions& options_;
};

template <class Field>
std::vector<int> of_stages(const HiftConfig& hift, Field HiftStageConfig::* field) {
    std::vector<int> values;
    for (const HiftStageConfig& stage : hift.stages) values.push_back(stage.*field);
    return values;
}

void add_blocks(KeyWriter& keys, const std::string& name, const std::vector<ResBlockConfig>& blocks) {
    std::vector<int> kernels;
    std::vector<int> dilations;
    for (const ResBlockConfig& block : blocks) {
        kernels.push_back(block.n_tap);
        dilations.insert(dilations.end(), block.dilations.begin(), block.dilations.end());
    }
    keys.list(name + "_kernels", kernels);
    keys.list(name + "_dilations", dilations);
}

void add_keys(GgufBuilder& builder, const TinyVocoderOptions& options, const VocoderConfig& config) {
    KeyWriter keys(builder, options);
    const HiftConfig& hift = config.hift;
    builder.add(keys.name("causal"), hift.is_causal);
    keys.number("n_mel", hift.n_mel);
    keys.number("embedding_length", hift.n_embd);
    keys.number("conv_pre_kernel", hift.pre_kernel);
    keys.number("conv_post_kernel", hift.post_kernel);
    keys.number("look_right", hift.n_lookahead);
    keys.list("channels", of_stages(hift, &HiftStageConfig::n_embd));
    keys.list("upsample_rates", of_stages(hift, &HiftStageConfig::up_rate));
    keys.list("upsample_left", of_stages(hift, &HiftStageConfig::up_left));
    keys.list("upsample_right", of_stages(hift, &HiftStageConfig::up_right));
    keys.list("source_down_kernels", of_stages(hift, &HiftStageConfig::down_kernel));
    keys.list("source_down_strides", of_stages(hift, &HiftStageConfig::down_stride));
    keys.list("source_down_left", of_stages(hift, &HiftStageConfig::down_left));
    std::vector<ResBlockConfig> sources;
    for (const HiftStageConfig& stage : hift.stages) sources.push_back(stage.source);
    add_blocks(keys, "source_resblock", sources);
    add_blocks(keys, "resblock", hift.blocks);
    keys.number("slope", hift.slope);
    keys.number("final_slope", hift.final_slope);
    keys.list("f0.kernels", config.f0.kernels);
    keys.number("f0.look_right", config.f0.n_lookahead);
    keys.number("f0.embedding_length", config.f0.n_embd);
    keys.number("harmonics", config.source.n_harmonic);
    keys.number("sample_rate", config.source.sample_rate_hz);
    keys.number("frame_length", config.source.frame_length);
    keys.number("sine_amplitude", config.source.amplitude);
    keys.number("noise_sigma", config.source.noise_sigma);
    keys.number("voiced_threshold", config.source.voiced_threshold_hz);
    keys.number("n_fft", config.n_fft);
    keys.number("hop_length", config.hop_length);
    keys.number("delay_frames", config.n_delay);
    keys.number("audio_limit", config.audio_limit);
}

class TensorWriter {
public:
    TensorWriter(GgufBuilder& builder, std::string prefix) : builder_(builder), prefix_(std::move(prefix)) {}

    void conv(const std::string& name, int n_in, int n_out, int n_tap, float bias = 0.0F) {
        const int n = n_in * n_tap;
        values(name + ".weight", {n, n_out}, 0.0F, 1.2F / std::sqrt(static_cast<float>(n)));
        values(name + ".bias", {n_out}, bias, 0.1F);
    }
    void block(const std::string& name, int n_embd, const ResBlockConfig& block) {
        for (size_t j = 0; j < block.dilations.size(); ++j) {
            for (const std::string part : {"1.", "2."}) {
                conv(name + ".conv" + part + std::to_string(j), n_embd, n_embd, block.n_tap);
                values(name + ".snake" + part + std::to_string(j) + ".alpha", {n_embd}, 1.0F, 0.5F);
            }
        }
    }

private:
    void values(const std::string& name, const std::vector<int>& dims, float middle, float range) {
        BuilderTensor tensor{.name = prefix_ + name, .dims = {}, .type = GGML_TYPE_F32, .data = {}};
        int n = 1;
        for (const int extent : dims) n *= extent;
        for (int i = 0; i < n; ++i)
            tensor.data += le(middle + range * static_cast<float>(2 * rng_.uniform() - 1));
        for (const int extent : dims) tensor.dims.push_back(static_cast<uint64_t>(extent));
        builder_.tensor(std::move(tensor));
    }

    GgufBuilder& builder_;
    std::string prefix_;
    Rng rng_{17, 0};
};

}  // namespace

VocoderConfig tiny_vocoder_config(const TinyVocoderOptions& options) {
    const bool is_causal = options.is_causal;
    const int left = is_causal ? 2 : 1;
    const int right = is_causal ? 0 : 1;
    VocoderConfig config;
    config.hift.is_causal = config.f0.is_causal = config.source.is_causal = is_causal;
    config.hift.n_mel = config.f0.n_mel = options.n_mel;
    config.hift.n_embd = 12;
    config.hift.stages = {{10, 8, left, right, 30, 15, is_causal ? 14 : 7, {3, {1, 3}}},
                          {8, 5, left, right, 6, 3, is_causal ? 2 : 1, {5, {1, 2}}},
                          {4, 3, left, right, 1, 1, 0, {7, {1, 2}}}};
    config.hift.blocks = {{3, {1, 3}}, {5, {1, 5}}};
    config.hift.pre_kernel = is_causal ? 5 : 7;
    config.hift.n_lookahead = is_causal ? 4 : 3;
    config.f0.n_embd = 8;
    config.f0.kernels = {is_causal ? 4 : 3, 3, 3};
    config.f0.n_lookahead = is_causal ? 3 : 1;
    config.source.n_harmonic = 3;
    return config;
}

void add_tiny_vocoder(GgufBuilder& builder, const TinyVocoderOptions& options) {
    const VocoderConfig config = tiny_vocoder_config(options);
    add_keys(builder, options, config);
    TensorWriter w(builder, "t2w." + prefix_of(options));
    const HiftConfig& hift = config.hift;
    w.conv("conv_pre", hift.n_mel, hift.n_embd, hift.pre_kernel);
    int n_in = hift.n_embd;
    for (size_t i = 0; i < hift.stages.size(); ++i) {
        const HiftStageConfig& stage = hift.stages[i];
        const auto name = [i](const char* part) { return part + std::to_string(i); };
        w.conv(name("up."), n_in, stage.up_rate * stage.n_embd, stage.up_left + 1 + stage.up_right);
        w.conv(name("source_down."), hift.n_spectrum, stage.n_embd, stage.down_kernel);
        w.block(name("source_res."), stage.n_embd, stage.source);
        for (size_t j = 0; j < hift.blocks.size(); ++j)
            w.block("res." + std::to_string(i * hift.blocks.size() + j), stage.n_embd, hift.blocks[j]);
        n_in = stage.n_embd;
    }
    w.conv("conv_post", n_in, hift.n_spectrum, hift.post_kernel, -3.0F);
    for (size_t i = 0; i < config.f0.kernels.size(); ++i)
        w.conv("f0.conv." + std::to_string(i), i == 0 ? hift.n_mel : config.f0.n_embd, config.f0.n_embd,
               config.f0.kernels[i]);
    w.conv("f0.out", config.f0.n_embd, 1, 1, 150.0F);
    w.conv("source", config.source.n_harmonic, 1, 1);
}

}  // namespace minicpmo
