#include "models/speech/hift.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/snake.h"

namespace minicpmo {

namespace {

nn::Conv1dShape around(int n_tap, int dilation, bool is_causal) {
    const int reach = (n_tap - 1) * dilation;
    if (is_causal) return {.dilation = dilation, .pad_left = reach};
    return {.dilation = dilation, .pad_left = reach / 2, .pad_right = reach / 2};
}

// The second frame before the first.
Tensor mirror_first(Graph& g, Tensor x) {
    const Tensor second = ggml_view_2d(g.ctx(), x, x->ne[0], 1, x->nb[1], x->nb[1]);
    return ggml_concat(g.ctx(), second, x, 1);
}

}  // namespace

int HiftConfig::up_rate() const {
    int rate = 1;
    for (const HiftStageConfig& stage : stages) rate *= stage.up_rate;
    return rate;
}

int HiftConfig::n_spectrum_past() const {
    if (!is_causal) return 0;
    int n = 0;
    for (const HiftStageConfig& stage : stages) n = std::max(n, stage.down_left + 1);
    return n;
}

Hift::Hift(const HiftConfig& config, const WeightScope& scope) : config_(config), layout_(config.is_causal) {
    const bool is_causal = config.is_causal;
    const auto pre_shape = is_causal ? nn::Conv1dShape{} : around(config.pre_kernel, 1, false);
    pre_ = layout_.bind(scope / "conv_pre", config.n_mel, config.n_embd, config.pre_kernel, pre_shape);
    int n_in = config.n_embd;
    for (int i = 0; i < static_cast<int>(config.stages.size()); ++i) {
        const HiftStageConfig& c = config.stages[static_cast<size_t>(i)];
        Stage stage;
        stage.up = layout_.bind(scope / "up" / i, n_in, int64_t{c.up_rate} * c.n_embd,
                                c.up_left + 1 + c.up_right, {.pad_left = c.up_left, .pad_right = c.up_right});
        const int pad = is_causal ? 0 : c.down_left;
        stage.source_down =
            layout_.bind(scope / "source_down" / i, config.n_spectrum, c.n_embd, c.down_kernel,
                         {.stride = c.down_stride, .pad_left = pad, .pad_right = pad});
        stage.source = bind_block(scope / "source_res" / i, c.n_embd, c.source);
        const auto n_block = static_cast<int>(config.blocks.size());
        for (int j = 0; j < n_block; ++j)
            stage.blocks.push_back(bind_block(scope / "res" / (i * n_block + j), c.n_embd,
                                              config.blocks[static_cast<size_t>(j)]));
        stages_.push_back(std::move(stage));
        n_in = c.n_embd;
    }
    post_ = layout_.bind(scope / "conv_post", n_in, config.n_spectrum, config.post_kernel,
                         around(config.post_kernel, 1, is_causal));
}

Hift::ResBlock Hift::bind_block(const WeightScope& scope, int n_embd, const ResBlockConfig& block) {
    ResBlock layers;
    for (int j = 0; j < static_cast<int>(block.dilations.size()); ++j) {
        const int dilation = block.dilations[static_cast<size_t>(j)];
        const auto conv = [&](const char* name, int step) {
            return layout_.bind(scope / name / j, n_embd, n_embd, block.n_tap,
                                around(block.n_tap, step, config_.is_causal));
        };
        layers.push_back({
            .alpha1 = (scope / "snake1" / j).get_f32("alpha", {n_embd}),
            .alpha2 = (scope / "snake2" / j).get_f32("alpha", {n_embd}),
            .conv1 = conv("conv1", dilation),
            .conv2 = conv("conv2", 1),
        });
    }
    return layers;
}

Array<float> Hift::decode(const Array<float>& mel, const Array<float>& spectrum, Past& past,
                          Workspace& workspace) const {
    const bool is_causal = config_.is_causal;
    const int64_t n = mel.dim(1) - (is_causal ? config_.n_lookahead : 0);
    const int64_t n_new = n * config_.up_rate();
    const int64_t n_spectrum = is_causal ? config_.n_spectrum_past() + n_new : n_new + 1;
    check<Error>(n >= 1 && mel.dim(0) == config_.n_mel && spectrum.dim(0) == config_.n_spectrum &&
                     spectrum.dim(1) == n_spectrum,
                 "[hift] expected a frame and its spectra, got [{}, {}] and [{}, {}]", mel.dim(0), mel.dim(1),
                 spectrum.dim(0), spectrum.dim(1));
    const bool is_first = !is_causal || past.is_first;
    GraphRunner& runner = workspace.runner("hift", layout_.max_nodes());
    runner.prepare({n, is_causal, is_first}, [&](Graph& g) {
        const Inputs in = {g.input("mel", GGML_TYPE_F32, {mel.dim(0), mel.dim(1)}),
                           g.input("spectrum", GGML_TYPE_F32, {spectrum.dim(0), spectrum.dim(1)}),
                           layout_.input(g), is_first};
        g.output("out", decode(g, in));
    });
    runner.set("mel", mel.data);
    runner.set("spectrum", spectrum.data);
    layout_.set(runner, past.inputs);
    runner.compute();
    layout_.read(runner, past.inputs);
    past.is_first = false;
    Array<float> out({config_.n_spectrum, n_new + (is_first ? 1 : 0)});
    runner.read("out", out.data);
    return out;
}

Tensor Hift::decode(Graph& g, const Inputs& in) const {
    Tensor x = pre_.apply(g, in.mel);  // [n_embd, n]
    for (size_t i = 0; i < stages_.size(); ++i) x = stage(g, i, x, in);
    x = ggml_leaky_relu(g.ctx(), x, config_.final_slope, true);
    return post_.apply(g, post_.behind_past(g, x, in.past));  // [n_spectrum, up_rate * n]
}

// x [n_embd of the stage before, n] -> [n_embd, up_rate * n], in the last stage one more at the start
Tensor Hift::stage(Graph& g, size_t index, Tensor x, const Inputs& in) const {
    ggml_context* ctx = g.ctx();
    const Stage& w = stages_[index];
    const HiftStageConfig& c = config_.stages[index];
    const int64_t n = x->ne[1] * c.up_rate;
    x = ggml_leaky_relu(ctx, x, config_.slope, true);
    x = w.up.apply(g, w.up.behind_past(g, x, in.past));  // [up_rate * n_embd, n / up_rate]
    x = ggml_reshape_2d(ctx, x, c.n_embd, n);
    if (index + 1 == stages_.size() && in.is_first) x = mirror_first(g, x);
    x = ggml_add(ctx, x, source(g, index, in));
    Tensor sum = nullptr;
    for (const ResBlock& block : w.blocks) {
        const Tensor y = res_block(g, block, x, in.past);
        sum = sum == nullptr ? y : ggml_add_inplace(ctx, sum, y);
    }
    return g.name(ggml_scale_inplace(ctx, sum, 1.0F / static_cast<float>(w.blocks.size())), "hift.stage",
                  static_cast<int>(index));
}

// The excitation as the stage hears it -> [n_embd, as many as its frames]
Tensor Hift::source(Graph& g, size_t index, const Inputs& in) const {
    const Stage& w = stages_[index];
    Tensor x = in.spectrum;
    if (config_.is_causal) {
        // The spectrum begins with what the stage that sees most of the past needs. The last stage is a frame
        // late: what stands first in a stream is a mirrored frame, and spectra of both have been given.
        const bool is_last = index + 1 == stages_.size();
        const int n_past = config_.stages[index].down_left + (is_last && !in.is_first ? 0 : 1);
        const int64_t begin = config_.n_spectrum_past() - n_past;
        x = ggml_view_2d(g.ctx(), x, x->ne[0], x->ne[1] - begin, x->nb[1],
                         x->nb[1] * static_cast<size_t>(begin));
    }
    return res_block(g, w.source, w.source_down.apply(g, x), in.past);
}

Tensor Hift::res_block(Graph& g, const ResBlock& block, Tensor x, Tensor past) const {
    for (const ResLayer& w : block) {
        Tensor y = kernels::snake(g, x, nullptr, w.alpha1, w.conv1.past_of(g, past));
        y = w.conv1.apply_without_bias(g, y);
        y = kernels::snake(g, y, w.conv1.bias(), w.alpha2, w.conv2.past_of(g, past));
        y = w.conv2.apply_without_bias(g, y);
        x = kernels::add_biased(g, x, y, w.conv2.bias());
    }
    return x;  // [n_embd, n]
}

}  // namespace minicpmo
