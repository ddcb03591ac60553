#include "models/speech/f0_predictor.h"

#include "base/error.h"

namespace minicpmo {

F0Predictor::F0Predictor(const F0PredictorConfig& config, const WeightScope& scope)
    : config_(config), layout_(config.is_causal) {
    int n_in = config.n_mel;
    for (int i = 0; i < static_cast<int>(config.kernels.size()); ++i) {
        const int n_tap = config.kernels[static_cast<size_t>(i)];
        const int around = (n_tap - 1) / 2;
        nn::Conv1dShape shape = {.pad_left = around, .pad_right = around};
        if (config.is_causal) shape = {.pad_left = i == 0 ? n_tap - 1 - config.n_lookahead : n_tap - 1};
        convs_.push_back(layout_.bind(scope / "conv" / i, n_in, config.n_embd, n_tap, shape));
        n_in = config.n_embd;
    }
    out_ = nn::bind_linear(scope / "out", n_in, 1);
}

Tensor F0Predictor::predict(Graph& g, Tensor mel, Tensor past) const {
    Tensor x = mel;  // [n_mel, n]
    for (const nn::CausalConv1d& conv : convs_)
        x = ggml_elu_inplace(g.ctx(), conv.apply(g, conv.behind_past(g, x, past)));  // [n_embd, n]
    return ggml_abs(g.ctx(), nn::linear(g, out_, x));                                // [1, n]
}

std::vector<float> F0Predictor::predict(const Array<float>& mel, std::vector<float>& past,
                                        Workspace& workspace) const {
    const int64_t n = mel.dim(1) - (config_.is_causal ? config_.n_lookahead : 0);
    check<ArgumentError>(mel.dim(0) == config_.n_mel && n >= 1,
                         "[f0] expected frames of {} bands, got {} of {}", config_.n_mel, mel.dim(1),
                         mel.dim(0));
    GraphRunner& runner = workspace.runner("f0", layout_.max_nodes());
    runner.prepare({mel.dim(1), config_.is_causal}, [&](Graph& g) {
        const Tensor frames = g.input("mel", GGML_TYPE_F32, {mel.dim(0), mel.dim(1)});
        g.output("f0", predict(g, frames, layout_.input(g)));
    });
    runner.set("mel", mel.data);
    layout_.set(runner, past);
    runner.compute();
    layout_.read(runner, past);
    std::vector<float> f0(static_cast<size_t>(n));
    runner.read("f0", f0);
    return f0;
}

}  // namespace minicpmo
