#include "engine/vocoder_config.h"

#include <vector>

#include "core/metadata_keys.h"

namespace minicpmo {

namespace {

constexpr int64_t kMaxTaps = 1 << 10;
constexpr int64_t kMaxDilation = 64;
constexpr int64_t kMaxStages = 8;
constexpr int64_t kMaxBlocks = 16;
constexpr int64_t kMaxRate = 1 << 10;
constexpr int64_t kMaxFrameLength = 1 << 14;

// Reads the lists of numbers that the vocoders have beside single keys.
class VocoderKeys : public Keys {
public:
    using Keys::Keys;

    void require(bool holds, const std::string& what) const {
        check<ModelFileError>(holds, "[config] keys {}*: expected {}, got others ({})", prefix(), what,
                              file().path().string());
    }
    std::vector<int> list(const std::string& key, int64_t low, int64_t high, size_t least,
                          size_t most) const {
        const auto values = file().get<std::vector<int64_t>>(prefix() + key);
        require(values.size() >= least && values.size() <= most,
                format("{} to {} values of {}", least, most, key));
        std::vector<int> numbers;
        for (const int64_t value : values) {
            require(value >= low && value <= high, format("{} within {} and {}", key, low, high));
            numbers.push_back(static_cast<int>(value));
        }
        return numbers;
    }
    std::vector<int> list(const std::string& key, int64_t low, int64_t high, size_t n) const {
        return list(key, low, high, n, n);
    }
};

std::vector<ResBlockConfig> read_blocks(const VocoderKeys& keys, const std::string& name, size_t least,
                                        size_t most) {
    const std::vector<int> kernels = keys.list(name + "_kernels", 1, kMaxTaps, least, most);
    const std::vector<int> dilations =
        keys.list(name + "_dilations", 1, kMaxDilation, kernels.size(), kernels.size() * kMaxBlocks);
    const size_t n = dilations.size() / kernels.size();
    keys.require(n * kernels.size() == dilations.size(), "as many " + name + "_dilations for each kernel");
    std::vector<ResBlockConfig> blocks;
    for (size_t i = 0; i < kernels.size(); ++i) {
        keys.require(kernels[i] % 2 == 1, "odd " + name + "_kernels");
        const auto first = dilations.begin() + static_cast<std::ptrdiff_t>(i * n);
        blocks.push_back({kernels[i], {first, first + static_cast<std::ptrdiff_t>(n)}});
    }
    return blocks;
}

// The excitation's spectrum must come down to exactly the frames of the stage.
void check_down(const VocoderKeys& keys, const HiftConfig& hift) {
    int rate = 1;
    for (size_t i = 0; i < hift.stages.size(); ++i) {
        const HiftStageConfig& stage = hift.stages[i];
        rate *= stage.up_rate;
        const bool is_last = i + 1 == hift.stages.size();
        const int seen = hift.is_causal ? stage.down_left : 2 * stage.down_left;
        const int kernel = seen + 1 + (is_last ? 0 : stage.down_stride);
        keys.require(stage.down_stride * rate == hift.up_rate() && stage.down_kernel == kernel,
                     "source_down_strides, _kernels and _left that fit upsample_rates");
        keys.require(!hift.is_causal || stage.up_right == 0, "no upsample_right where causal");
    }
}

HiftConfig read_hift(const VocoderKeys& keys) {
    HiftConfig hift;
    hift.is_causal = keys.file().get<bool>(keys.prefix() + "causal");
    hift.n_mel = keys.integer("n_mel", 1, kMaxWidth);
    hift.n_embd = keys.integer("embedding_length", 1, kMaxWidth);
    const std::vector<ResBlockConfig> sources = read_blocks(keys, "source_resblock", 1, kMaxStages);
    const size_t n = sources.size();
    const auto channels = keys.list("channels", 1, kMaxWidth, n);
    const auto rates = keys.list("upsample_rates", 1, kMaxRate, n);
    const auto left = keys.list("upsample_left", 0, kMaxTaps, n);
    const auto right = keys.list("upsample_right", 0, kMaxTaps, n);
    const auto down_kernels = keys.list("source_down_kernels", 1, kMaxTaps, n);
    const auto down_strides = keys.list("source_down_strides", 1, kMaxTaps, n);
    const auto down_left = keys.list("source_down_left", 0, kMaxTaps, n);
    int64_t rate = 1;
    for (size_t i = 0; i < n; ++i) {
        hift.stages.push_back({channels[i], rates[i], left[i], right[i], down_kernels[i], down_strides[i],
                               down_left[i], sources[i]});
        rate *= rates[i];
        keys.require(rate <= kMaxFrameLength,
                     format("upsample_rates whose product is at most {}", kMaxFrameLength));
    }
    check_down(keys, hift);
    hift.blocks = read_blocks(keys, "resblock", 1, kMaxBlocks);
    hift.pre_kernel = keys.integer("conv_pre_kernel", 1, kMaxTaps);
    hift.post_kernel = keys.integer("conv_post_kernel", 1, kMaxTaps);
    hift.n_lookahead = keys.integer("look_right", 0, kMaxTaps);
    const int looked = (hift.pre_kernel - 1) / (hift.is_causal ? 1 : 2);
    keys.require(hift.n_lookahead == looked && hift.post_kernel % 2 == 1 &&
                     (hift.is_causal || hift.pre_kernel % 2 == 1),
                 "conv_pre_kernel and conv_post_kernel that fit look_right");
    hift.slope = keys.number("slope", 0, 1);
    hift.final_slope = keys.number("final_slope", 0, 1);
    return hift;
}

F0PredictorConfig read_f0(const VocoderKeys& keys, const HiftConfig& hift) {
    F0PredictorConfig f0;
    f0.is_causal = hift.is_causal;
    f0.n_mel = hift.n_mel;
    f0.n_embd = keys.integer("f0.embedding_length", 1, kMaxWidth);
    f0.kernels = keys.list("f0.kernels", 1, kMaxTaps, 1, kMaxBlocks);
    f0.n_lookahead = keys.integer("f0.look_right", 0, kMaxTaps);
    for (const int kernel : f0.kernels) keys.require(f0.is_causal || kernel % 2 == 1, "odd f0.kernels");
    const int looked = (f0.kernels.front() - 1) / (f0.is_causal ? 1 : 2);
    keys.require(f0.n_lookahead == looked, "f0.kernels that fit f0.look_right");
    return f0;
}

}  // namespace

std::string vocoder_prefix(VocoderKind kind) { return kind == VocoderKind::causal ? "hift_causal" : "hift"; }

std::optional<VocoderConfig> read_vocoder_config(const GgufFile& file, VocoderKind kind) {
    const VocoderKeys keys(file, "minicpmo." + vocoder_prefix(kind) + ".");
    if (!file.has(keys.prefix() + "causal")) return std::nullopt;
    VocoderConfig config;
    config.hift = read_hift(keys);
    keys.require(config.is_causal() == (kind == VocoderKind::causal), "`causal` where the name says so");
    config.f0 = read_f0(keys, config.hift);
    config.n_fft = keys.integer("n_fft", 4, Stft::kMaxSize);
    config.hop_length = keys.integer("hop_length", 1, config.n_fft / 4);
    keys.require(config.n_fft % (2 * config.hop_length) == 0, "an n_fft of an even number of hop_length");
    config.hift.n_spectrum = config.n_fft + 2;
    HarmonicSourceConfig& source = config.source;
    source.is_causal = config.is_causal();
    source.n_harmonic = keys.integer("harmonics", 1, 64);
    source.sample_rate_hz = keys.integer("sample_rate", 1, kMaxTokens);
    source.frame_length = keys.integer("frame_length", config.n_fft, kMaxFrameLength);
    keys.require(source.frame_length == config.hift.up_rate() * config.hop_length,
                 "a frame_length that is the product of upsample_rates and hop_length");
    source.amplitude = keys.number("sine_amplitude", 0, 1);
    source.noise_sigma = keys.number("noise_sigma", 0, 1);
    source.voiced_threshold_hz = keys.number("voiced_threshold", 0, 1e6);
    config.n_delay = keys.integer("delay_frames", 1, kMaxTaps);
    const int delay = config.f0.n_lookahead + config.hift.n_lookahead + 1;
    keys.require(!config.is_causal() || config.n_delay == delay, "delay_frames that fit look_right");
    config.audio_limit = keys.number("audio_limit", 0, 1);
    return config;
}

}  // namespace minicpmo
