#include "models/speech/vocos.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr float kMaxMagnitude = 100.0F;  // of a bin; reference: ISTFTHead.forward
constexpr size_t kOtherNodes = 64;

}  // namespace

Vocos::Vocos(const VocosConfig& config, const WeightScope& scope)
    : config_(config),
      embed_(nn::bind_conv1d(scope / "conv", config.n_mel, config.block.n_embd, config.block.n_tap)),
      norm_(nn::bind_layer_norm(scope / "ln", config.block.n_embd, config.block.norm_eps)),
      output_norm_(nn::bind_layer_norm(scope / "output_norm", config.block.n_embd, config.block.norm_eps)),
      out_(nn::bind_linear(scope / "out", config.block.n_embd, config.n_fft + 2)),
      frames_(config.n_fft, config.hop_length) {
    for (int i = 0; i < config.n_block; ++i)
        blocks_.push_back(nn::bind_convnext(scope / "blk" / i, config.block));
}

std::vector<std::complex<float>> Vocos::spectra(const Array<float>& mel, Workspace& workspace) const {
    const int64_t n = mel.dim(1);
    const int around = config_.block.n_tap / 2;
    GraphRunner& runner = workspace.runner("vocos", nn::kConvNextNodes * blocks_.size() + kOtherNodes);
    runner.prepare({n}, [&](Graph& g) {
        const Tensor frames = g.input("mel", GGML_TYPE_F32, {config_.n_mel, n});
        Tensor x = nn::conv1d(g, embed_, frames, {.pad_left = around, .pad_right = around});
        x = nn::layer_norm(g, norm_, x);  // [n_embd, n]
        for (const nn::ConvNext& block : blocks_) x = nn::convnext(g, block, x);
        g.output("spectrum", nn::linear(g, out_, nn::layer_norm(g, output_norm_, x)));  // [n_fft + 2, n]
    });
    runner.set("mel", mel.data);
    runner.compute();
    Array<float> spectrum({config_.n_fft + 2, n});
    runner.read("spectrum", spectrum.data);
    const auto n_bin = static_cast<size_t>(frames_.n_bin());
    std::vector<std::complex<float>> bins(n_bin * static_cast<size_t>(n));
    for (size_t i = 0; i < bins.size(); ++i) {
        const size_t at = i / n_bin * 2 * n_bin + i % n_bin;
        const float magnitude = std::min(std::exp(spectrum.data[at]), kMaxMagnitude);
        const float phase = spectrum.data[at + n_bin];
        bins[i] = {magnitude * std::cos(phase), magnitude * std::sin(phase)};
    }
    return bins;
}

std::vector<float> Vocos::generate(const Array<float>& mel, Workspace& workspace) const {
    check<ArgumentError>(mel.dim(0) == config_.n_mel && mel.dim(1) >= 1 && mel.dim(1) <= kMaxFrames,
                         "[vocos] expected 1 to {} frames of {} bands, got {} of {}", kMaxFrames,
                         config_.n_mel, mel.dim(1), mel.dim(0));
    return frames_.inverse(spectra(mel, workspace));
}

}  // namespace minicpmo
