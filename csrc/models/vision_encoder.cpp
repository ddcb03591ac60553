#include "models/vision_encoder.h"

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr size_t kNodesPerLayer = 64;

size_t max_nodes(const Siglip& tower) {
    return kNodesPerLayer * static_cast<size_t>(tower.config().n_layer + 2);
}

void check_slice(const VisionInput& slice, const SiglipConfig& config) {
    const int64_t n_patch = int64_t{slice.rows} * slice.cols;
    check<ArgumentError>(slice.rows > 0 && slice.cols > 0 && slice.pixels.dim(1) == n_patch &&
                             static_cast<int64_t>(slice.position_ids.size()) == n_patch &&
                             slice.pixels.dim(0) == int64_t{3} * config.patch_size * config.patch_size,
                         "[vision] expected {} x {} patches of {} values, got {} of {}", slice.rows,
                         slice.cols, 3 * config.patch_size * config.patch_size, slice.pixels.dim(1),
                         slice.pixels.dim(0));
}

}  // namespace

VisionEncoder::VisionEncoder(const SiglipConfig& tower, const ResamplerConfig& resampler,
                             const WeightScope& scope)
    : tower_(tower, scope / "v"), resampler_(resampler, scope / "resampler") {}

Array<float> VisionEncoder::encode(const VisionInput& slice, Workspace& workspace) const {
    check_slice(slice, tower_.config());
    GraphRunner& runner = workspace.runner("vision", max_nodes(tower_));
    runner.prepare({slice.rows, slice.cols}, [&](Graph& g) {
        const int64_t n_patch = slice.pixels.dim(1);
        const Tensor pixels = g.input("pixels", GGML_TYPE_F32, {slice.pixels.dim(0), n_patch});
        const Tensor ids = g.input("position_ids", GGML_TYPE_I32, {n_patch});
        const Tensor positions = g.input("positions", GGML_TYPE_F32, {n_embd(), n_patch});
        g.output("embeddings", resampler_.resample(g, tower_.encode(g, pixels, ids), positions));
    });
    runner.set("pixels", slice.pixels.data);
    runner.set("position_ids", slice.position_ids);
    runner.set("positions", resampler_.positions(slice.rows, slice.cols).data);
    runner.compute();
    Array<float> embeddings({n_embd(), n_query()});
    runner.read("embeddings", embeddings.data);
    return embeddings;
}

Array<float> VisionEncoder::encode_patches(const VisionInput& slice, Workspace& workspace) const {
    check_slice(slice, tower_.config());
    GraphRunner& runner = workspace.runner("vision_tower", max_nodes(tower_));
    const int64_t n_patch = slice.pixels.dim(1);
    runner.prepare({slice.rows, slice.cols}, [&](Graph& g) {
        const Tensor pixels = g.input("pixels", GGML_TYPE_F32, {slice.pixels.dim(0), n_patch});
        const Tensor ids = g.input("position_ids", GGML_TYPE_I32, {n_patch});
        g.output("patches", tower_.encode(g, pixels, ids));
    });
    runner.set("pixels", slice.pixels.data);
    runner.set("position_ids", slice.position_ids);
    runner.compute();
    Array<float> patches({tower_.config().n_embd, n_patch});
    runner.read("patches", patches.data);
    return patches;
}

Array<float> VisionEncoder::encode_frames(std::span<const VisionInput> frames, std::span<const int32_t> times,
                                          Workspace& workspace) const {
    check<ArgumentError>(!frames.empty() && frames.size() == times.size(),
                         "[vision] expected a time for each of at least one frame, got {} and {}",
                         times.size(), frames.size());
    Array<float> patches({tower_.config().n_embd, 0});
    Array<float> positions({n_embd(), 0});
    const auto append = [](Array<float>& all, const Array<float>& some) {
        all.data.insert(all.data.end(), some.data.begin(), some.data.end());
        all.shape[1] += some.dim(1);
    };
    for (size_t i = 0; i < frames.size(); ++i) {
        append(patches, encode_patches(frames[i], workspace));
        append(positions, resampler_.positions(frames[i].rows, frames[i].cols, times[i]));
    }
    GraphRunner& runner = workspace.runner("resampler", 2 * kNodesPerLayer);
    const int64_t n_patch = patches.dim(1);
    runner.prepare({n_patch}, [&](Graph& g) {
        const Tensor input = g.input("patches", GGML_TYPE_F32, {patches.dim(0), n_patch});
        const Tensor places = g.input("positions", GGML_TYPE_F32, {n_embd(), n_patch});
        g.output("embeddings", resampler_.resample(g, input, places));
    });
    runner.set("patches", patches.data);
    runner.set("positions", positions.data);
    runner.compute();
    Array<float> embeddings({n_embd(), n_query()});
    runner.read("embeddings", embeddings.data);
    return embeddings;
}

}  // namespace minicpmo
