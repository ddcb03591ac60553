#include "models/speech/speaker_encoder.h"

#include <algorithm>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr int kImageTaps = 3;  // over frequency and over time
constexpr int kOutStride = 2;  // over frequency, of the image network's last convolution
constexpr size_t kNodesPerLayer = 40;
constexpr size_t kOtherNodes = 512;

int strided(int n, int stride) { return (n - 1) / stride + 1; }

nn::Linear bind_image_conv(const WeightScope& scope, int64_t n_in, int64_t n_out) {
    return nn::bind_linear(scope, kImageTaps * kImageTaps * n_in, n_out);
}

// Every stride-th frequency from `first`: x [n_channel, n_frequency, n] -> [n_channel, n_out, n], a view.
Tensor every(Graph& g, Tensor x, int64_t first, int stride, int64_t n_out) {
    return ggml_view_3d(g.ctx(), x, x->ne[0], n_out, x->ne[2], x->nb[1] * static_cast<size_t>(stride),
                        x->nb[2], x->nb[1] * static_cast<size_t>(first));
}

Tensor relu(Graph& g, Tensor x) { return ggml_relu(g.ctx(), x); }

// x [n_in, n_frequency, n] -> [n_out, n_frequency / stride, n], zeros around it. Three neighbours in
// frequency are put together; with frequencies and time as one line, neighbours in time are then a dilation
// apart.
Tensor image_conv(Graph& g, const nn::Linear& w, Tensor x, int stride) {
    ggml_context* ctx = g.ctx();
    const int n_freq = strided(static_cast<int>(x->ne[1]), stride);
    const int64_t n = x->ne[2];
    const Tensor padded = ggml_pad_ext(ctx, x, 0, 0, 1, 1, 0, 0, 0, 0);  // [n_in, n_frequency + 2, n]
    Tensor seen = every(g, padded, 0, stride, n_freq);
    for (int tap = 1; tap < kImageTaps; ++tap)
        seen = ggml_concat(ctx, seen, every(g, padded, tap, stride, n_freq), 0);  // [3 * n_in, n_freq, n]
    seen = ggml_reshape_2d(ctx, seen, seen->ne[0], n_freq * n);
    const Tensor y =
        nn::conv1d(g, {w, kImageTaps}, seen, {.dilation = n_freq, .pad_left = n_freq, .pad_right = n_freq});
    return ggml_reshape_3d(ctx, y, y->ne[0], n_freq, n);
}

// The mean of a segment and the mean of all, as one weight for every step: [n, n_segment].
std::vector<float> segment_means(int n, int segment) {
    std::vector<float> weights;
    for (int begin = 0; begin < n; begin += segment) {
        const int end = std::min(begin + segment, n);
        for (int t = 0; t < n; ++t) {
            const float own = t >= begin && t < end ? 1.0F / static_cast<float>(end - begin) : 0.0F;
            weights.push_back(1.0F / static_cast<float>(n) + own);
        }
    }
    return weights;
}

// x [n_feature, n] -> its means over time and its deviations from them, without bias: [2 * n_feature]
Tensor statistics(Graph& g, Tensor x) {
    ggml_context* ctx = g.ctx();
    const Tensor rows = ggml_cont(ctx, ggml_transpose(ctx, x));  // [n, n_feature]
    const Tensor mean = ggml_mean(ctx, rows);                    // [1, n_feature]
    const Tensor squares = ggml_sqr(ctx, ggml_sub(ctx, rows, mean));
    const float scale = 1.0F / static_cast<float>(x->ne[1] - 1);
    const Tensor deviation = ggml_sqrt(ctx, ggml_scale(ctx, ggml_sum_rows(ctx, squares), scale));
    const auto flat = [&](Tensor y) { return ggml_reshape_1d(ctx, y, x->ne[0]); };
    return ggml_concat(ctx, flat(mean), flat(deviation), 0);
}

}  // namespace

SpeakerEncoder::SpeakerEncoder(const SpeakerEncoderConfig& config, const WeightScope& scope)
    : config_(config), max_nodes_(kOtherNodes) {
    bind_image(scope / "head");
    int64_t n_feature = config.n_tdnn;
    for (size_t i = 0; i < config.block_layers.size(); ++i) {
        blocks_.push_back(bind_block(scope, static_cast<int>(i), n_feature));
        max_nodes_ += blocks_.back().layers.size() * kNodesPerLayer;
        n_feature = blocks_.back().transit.weight->ne[1];
    }
    int n_freq = config.n_mel;
    for (const int stride : config.strides) n_freq = strided(n_freq, stride);
    n_freq = strided(n_freq, kOutStride);
    max_nodes_ += config.strides.size() * kNodesPerLayer;
    tdnn_ =
        nn::bind_conv1d(scope / "tdnn", int64_t{n_freq} * config.n_channel, config.n_tdnn, config.tdnn_taps);
    dense_ = nn::bind_linear(scope / "dense", 2 * n_feature, config.n_embd);
}

void SpeakerEncoder::bind_image(const WeightScope& scope) {
    const int64_t n = config_.n_channel;
    conv_in_ = bind_image_conv(scope / "conv_in", 1, n);
    for (size_t i = 0; i < config_.strides.size(); ++i) {
        const WeightScope blk = scope / "blk" / static_cast<int>(i);
        ImageBlock block{config_.strides[i],
                         bind_image_conv(blk / "conv1", n, n),
                         bind_image_conv(blk / "conv2", n, n),
                         {}};
        if (block.stride > 1) block.shortcut = nn::bind_linear(blk / "shortcut", n, n);
        image_blocks_.push_back(block);
    }
    conv_out_ = bind_image_conv(scope / "conv_out", n, n);
}

SpeakerEncoder::Block SpeakerEncoder::bind_block(const WeightScope& scope, int index, int64_t n_in) const {
    const auto bind_norm = [](const WeightScope& at, int64_t n) {
        return Norm{at.get_f32("scale", {n}), at.get_f32("shift", {n})};
    };
    const auto place = static_cast<size_t>(index);
    Block block;
    block.dilation = config_.block_dilations[place];
    int64_t n = n_in;
    for (int i = 0; i < config_.block_layers[place]; ++i, n += config_.n_growth) {
        const WeightScope at = scope / "block" / index / "layer" / i;
        block.layers.push_back({
            .norm = bind_norm(at / "norm", n),
            .bottleneck = nn::bind_linear(at / "bottleneck", n, config_.n_bottleneck),
            .local = nn::bind_conv1d(at / "local", config_.n_bottleneck, config_.n_growth, config_.n_tap,
                                     nn::Bias::no),
            .gate1 = nn::bind_linear(at / "gate1", config_.n_bottleneck, config_.n_gate),
            .gate2 = nn::bind_linear(at / "gate2", config_.n_gate, config_.n_growth),
        });
    }
    const WeightScope transit = scope / "transit" / index;
    block.norm = bind_norm(transit / "norm", n);
    block.transit = nn::bind_linear(transit, n, n / 2);
    return block;
}

int SpeakerEncoder::n_steps(int n_frame) const {
    return (n_frame + 2 * (config_.tdnn_taps / 2) - config_.tdnn_taps) / config_.tdnn_stride + 1;
}

Array<float> SpeakerEncoder::encode(const Array<float>& features, Workspace& workspace) const {
    const auto n_frame = static_cast<int>(features.dim(1));
    const int n = n_frame > 0 ? n_steps(n_frame) : 0;
    check<ArgumentError>(features.dim(0) == config_.n_mel && n >= 2,
                         "[speaker encoder] expected {} features of at least 2 steps of time, got {} of {}",
                         config_.n_mel, features.dim(0), n);
    const int n_segment = strided(n, config_.segment);
    GraphRunner& runner = workspace.runner(kRunner, max_nodes_);
    runner.prepare({n_frame}, [&](Graph& g) {
        const Segments segments{g.input("means", GGML_TYPE_F32, {n, n_segment}),
                                g.input("segment", GGML_TYPE_I32, {n})};
        Tensor x = image(g, g.input("features", GGML_TYPE_F32, {1, config_.n_mel, n_frame}));
        const int pad = config_.tdnn_taps / 2;
        x = relu(g,
                 nn::conv1d(g, tdnn_, x, {.stride = config_.tdnn_stride, .pad_left = pad, .pad_right = pad}));
        for (const Block& block : blocks_) {
            for (const Layer& w : block.layers) x = layer(g, w, block.dilation, segments, x);
            x = ggml_add(g.ctx(), ggml_mul(g.ctx(), x, block.norm.scale), block.norm.shift);
            x = nn::linear(g, block.transit, relu(g, x));
        }
        g.output("speaker", nn::linear(g, dense_, statistics(g, relu(g, x))));
    });
    std::vector<int32_t> segment_of;
    for (int t = 0; t < n; ++t) segment_of.push_back(t / config_.segment);
    runner.set("features", features.data);
    runner.set("means", segment_means(n, config_.segment));
    runner.set("segment", segment_of);
    runner.compute();
    Array<float> speaker({config_.n_embd});
    runner.read("speaker", speaker.data);
    return speaker;
}

// features [1, n_mel, n] -> [n_channel * n_frequency, n]
Tensor SpeakerEncoder::image(Graph& g, Tensor features) const {
    Tensor x = relu(g, image_conv(g, conv_in_, features, 1));
    for (const ImageBlock& block : image_blocks_) {
        Tensor y = relu(g, image_conv(g, block.conv1, x, block.stride));
        y = image_conv(g, block.conv2, y, 1);
        if (block.stride > 1) {
            x = ggml_cont(g.ctx(), every(g, x, 0, block.stride, y->ne[1]));
            x = nn::linear(g, block.shortcut, x);
        }
        x = relu(g, ggml_add(g.ctx(), y, x));
    }
    x = relu(g, image_conv(g, conv_out_, x, kOutStride));
    return ggml_reshape_2d(g.ctx(), x, x->ne[0] * x->ne[1], x->ne[2]);
}

// x [n_feature, n] -> [n_feature + n_growth, n]. The gate is the same for all steps of a segment.
Tensor SpeakerEncoder::layer(Graph& g, const Layer& w, int dilation, const Segments& segments,
                             Tensor x) const {
    ggml_context* ctx = g.ctx();
    Tensor y = relu(g, ggml_add(ctx, ggml_mul(ctx, x, w.norm.scale), w.norm.shift));
    y = relu(g, nn::linear(g, w.bottleneck, y));  // [n_bottleneck, n]
    const int pad = dilation * (config_.n_tap / 2);
    const Tensor local = nn::conv1d(g, w.local, y, {.dilation = dilation, .pad_left = pad, .pad_right = pad});
    const Tensor rows = ggml_cont(ctx, ggml_transpose(ctx, y));      // [n, n_bottleneck]
    const Tensor context = ggml_mul_mat(ctx, rows, segments.means);  // [n_bottleneck, n_segment]
    Tensor gate = nn::linear(g, w.gate2, relu(g, nn::linear(g, w.gate1, context)));
    gate = ggml_get_rows(ctx, ggml_sigmoid(ctx, gate), segments.index);  // [n_growth, n]
    return ggml_concat(ctx, x, ggml_mul(ctx, local, gate), 0);
}

}  // namespace minicpmo
