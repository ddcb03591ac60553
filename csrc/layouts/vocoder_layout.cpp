#include <array>

#include "base/error.h"
#include "core/mapped_file.h"
#include "layouts/adapters.h"
#include "layouts/name_pairs.h"

namespace minicpmo {

namespace {

// No published file states these: the reference's configuration.
constexpr int64_t kSampleRate = 24000;
constexpr int64_t kFrameLength = 480;
constexpr std::array<int64_t, 3> kDilations = {1, 3, 5};  // of each block's three convolutions
constexpr int64_t kCachedFrames = 8;
constexpr int64_t kMaxTaps = 1 << 10;
constexpr int kCausalKernel = 4;  // of the other vocoder's first convolution of pitches

constexpr NamePair kNames[] = {
    {"conv_pre", "conv_pre", Form::convolution},
    {"conv_post", "conv_post", Form::convolution},
    {"f0_predictor.condnet.0", "f0.conv.0", Form::convolution},
    {"f0_predictor.condnet.2", "f0.conv.1", Form::convolution},
    {"f0_predictor.condnet.4", "f0.conv.2", Form::convolution},
    {"f0_predictor.condnet.6", "f0.conv.3", Form::convolution},
    {"f0_predictor.condnet.8", "f0.conv.4", Form::convolution},
    {"f0_predictor.classifier", "f0.out"},
    {"m_source.l_linear", "source"},
};
constexpr NamePair kBlockNames[] = {
    {"convs1.0", "conv1.0", Form::convolution},
    {"convs1.1", "conv1.1", Form::convolution},
    {"convs1.2", "conv1.2", Form::convolution},
    {"convs2.0", "conv2.0", Form::convolution},
    {"convs2.1", "conv2.1", Form::convolution},
    {"convs2.2", "conv2.2", Form::convolution},
    {"activations1.0.alpha", "snake1.0.alpha", Form::as_stored},
    {"activations1.1.alpha", "snake1.1.alpha", Form::as_stored},
    {"activations1.2.alpha", "snake1.2.alpha", Form::as_stored},
    {"activations2.0.alpha", "snake2.0.alpha", Form::as_stored},
    {"activations2.1.alpha", "snake2.1.alpha", Form::as_stored},
    {"activations2.2.alpha", "snake2.2.alpha", Form::as_stored},
};

constexpr NamePair kDownName[] = {{"", "", Form::convolution}};

using Numbers = std::vector<int64_t>;

// A convolution's weight, whose kernel is of a bearable size.
const TensorInfo& convolution(const GgufFile& file, const std::string& name) {
    const TensorInfo& weight = find_tensor(file, name + ".weight", 3);
    check<ModelFileError>(weight.ne[0] <= kMaxTaps,
                          "[layout] expected {}.weight of at most {} taps, got {} ({})", name, kMaxTaps,
                          weight.ne[0], utf8_path(file.path()));
    return weight;
}

// What follows from shapes.
struct Shapes {
    Numbers channels, up_kernels, up_rates, down_kernels, down_strides, source_kernels, kernels, f0_kernels;
    int64_t hop_length = 1;
    int n_stage = 0;
    int n_block = 0;
};

void require(bool holds, const GgufFile& file, const char* what) {
    check<ModelFileError>(holds, "[layout] expected a vocoder with {}, got other shapes ({})", what,
                          utf8_path(file.path()));
}

// The excitation comes down to the rate of each stage: by a kernel of twice the stride, or by none.
void read_rates(const GgufFile& file, Shapes& shapes) {
    for (const int64_t kernel : shapes.down_kernels)
        shapes.down_strides.push_back(std::max<int64_t>(1, kernel / 2));
    const Numbers& strides = shapes.down_strides;
    const int64_t n_sample = kFrameLength / shapes.hop_length;
    require(strides.back() == 1 && strides.front() <= n_sample, file, "480 samples a frame");
    shapes.up_rates.push_back(n_sample / strides.front());
    for (size_t i = 1; i < strides.size(); ++i) shapes.up_rates.push_back(strides[i - 1] / strides[i]);
    int64_t product = shapes.hop_length;
    for (size_t i = 0; i < strides.size(); ++i) {
        const int64_t rate = shapes.up_rates[i], kernel = shapes.up_kernels[i];
        require(rate >= 1 && kernel >= rate && (kernel - rate) % 2 == 0, file, "padded upsampling kernels");
        product *= rate;
    }
    require(product == kFrameLength, file, "480 samples a frame");
}

Shapes read_shapes(const GgufFile& file) {
    Shapes shapes;
    shapes.n_stage = count_layers(file, "ups.", ".weight");
    shapes.n_block = count_layers(file, "resblocks.", ".convs1.0.weight");
    require(shapes.n_block % shapes.n_stage == 0, file, "as many blocks for each stage");
    const int64_t n_bin = convolution(file, "conv_post").ne[2];
    require(n_bin >= 6 && n_bin % 2 == 0, file, "a spectrum of pairs");
    shapes.hop_length = (n_bin - 2) / 4;
    for (int i = 0; i < shapes.n_stage; ++i) {
        const std::string number = std::to_string(i);
        const TensorInfo& up = convolution(file, "ups." + number);
        shapes.channels.push_back(up.ne[1]);
        shapes.up_kernels.push_back(up.ne[0]);
        shapes.down_kernels.push_back(convolution(file, "source_downs." + number).ne[0]);
        shapes.source_kernels.push_back(convolution(file, "source_resblocks." + number + ".convs1.0").ne[0]);
    }
    for (int i = 0; i < shapes.n_block / shapes.n_stage; ++i)
        shapes.kernels.push_back(convolution(file, "resblocks." + std::to_string(i) + ".convs1.0").ne[0]);
    for (const int i : {0, 2, 4, 6, 8})
        shapes.f0_kernels.push_back(convolution(file, "f0_predictor.condnet." + std::to_string(i)).ne[0]);
    read_rates(file, shapes);
    return shapes;
}

Numbers dilations(size_t n_block) {
    Numbers all;
    for (size_t i = 0; i < n_block; ++i) all.insert(all.end(), kDilations.begin(), kDilations.end());
    return all;
}

void set_keys(Container& container, const GgufFile& file, const Shapes& shapes) {
    const auto set = [&](const char* key, MetaValue value) {
        container.set(std::string("minicpmo.hift.") + key, std::move(value));
    };
    const TensorInfo& pre = convolution(file, "conv_pre");
    const TensorInfo& post = convolution(file, "conv_post");
    const TensorInfo& f0 = convolution(file, "f0_predictor.condnet.0");
    set("causal", false);
    set("n_mel", pre.ne[1]);
    set("sample_rate", kSampleRate);
    set("frame_length", kFrameLength);
    set("embedding_length", pre.ne[2]);
    set("conv_pre_kernel", pre.ne[0]);
    set("conv_post_kernel", post.ne[0]);
    set("look_right", (pre.ne[0] - 1) / 2);
    set("f0.look_right", (f0.ne[0] - 1) / 2);
    set("f0.embedding_length", f0.ne[2]);
    set("harmonics", find_tensor(file, "m_source.l_linear.weight", 2).ne[0]);
    set("n_fft", post.ne[2] - 2);
    set("hop_length", shapes.hop_length);
    set("delay_frames", kCachedFrames);
    Numbers left, right, down_left;
    for (size_t i = 0; i < shapes.channels.size(); ++i) {
        const Reach reach =
            transposed_reach(static_cast<int>(shapes.up_kernels[i]), static_cast<int>(shapes.up_rates[i]));
        left.push_back(reach.left);
        right.push_back(reach.right);
        down_left.push_back(shapes.down_strides[i] / 2);
    }
    set("channels", shapes.channels);
    set("upsample_rates", shapes.up_rates);
    set("upsample_left", left);
    set("upsample_right", right);
    set("source_down_kernels", shapes.down_kernels);
    set("source_down_strides", shapes.down_strides);
    set("source_down_left", down_left);
    set("resblock_kernels", shapes.kernels);
    set("source_resblock_kernels", shapes.source_kernels);
    set("resblock_dilations", dilations(shapes.kernels.size()));
    set("source_resblock_dilations", dilations(shapes.source_kernels.size()));
    set("f0.kernels", shapes.f0_kernels);
    set("sine_amplitude", 0.1);
    set("noise_sigma", 0.003);
    set("voiced_threshold", 10.0);
    set("slope", 0.1);
    set("final_slope", 0.01);
    set("audio_limit", 0.99);
}

}  // namespace

void add_vocoder(Container& container, const GgufFile& file) {
    const int64_t f0_kernel = convolution(file, "f0_predictor.condnet.0").ne[0];
    check<UnsupportedModelError>(
        f0_kernel != kCausalKernel,
        "[layout] expected the original vocoder, got the causal one ({}); the single "
        "file of the converter holds it",
        utf8_path(file.path()));
    const Shapes shapes = read_shapes(file);
    set_keys(container, file, shapes);
    const std::string ours = "t2w.hift.";
    add_tensors(container, file, kNames, {"", ours});
    for (int i = 0; i < shapes.n_stage; ++i) {
        const std::string number = std::to_string(i);
        const auto rate = static_cast<int>(shapes.up_rates[static_cast<size_t>(i)]);
        container.add(fold_transposed(convolution(file, "ups." + number), rate),
                      ours + "up." + number + ".weight");
        container.add(repeated(find_tensor(file, "ups." + number + ".bias", 1), rate),
                      ours + "up." + number + ".bias");
        add_tensors(container, file, kDownName, {"source_downs." + number, ours + "source_down." + number});
        add_tensors(container, file, kBlockNames, layer_prefix("source_resblocks", ours + "source_res", i));
    }
    for (int i = 0; i < shapes.n_block; ++i)
        add_tensors(container, file, kBlockNames, layer_prefix("resblocks", ours + "res", i));
}

}  // namespace minicpmo
