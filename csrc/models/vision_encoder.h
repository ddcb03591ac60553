#pragma once
// VisionEncoder: patches of one slice to embeddings that the LLM reads. Composes Siglip and Resampler in one
// graph. Reference: modeling_minicpmo.py, MiniCPMO.get_vision_embedding.

#include <span>

#include "base/array.h"
#include "core/graph_runner.h"
#include "models/resampler.h"
#include "models/siglip.h"

namespace minicpmo {

struct VisionInput {
    const Array<float>& pixels;             // [3 * patch_size^2, n_patch]
    std::span<const int32_t> position_ids;  // [n_patch]
    int rows = 0;                           // patches
    int cols = 0;
};

class VisionEncoder {
public:
    VisionEncoder(const SiglipConfig& tower, const ResamplerConfig& resampler, const WeightScope& scope);

    Array<float> encode(const VisionInput& slice, Workspace& workspace) const;  // -> [n_embd, n_query]
    Array<float> encode_patches(const VisionInput& slice, Workspace& workspace) const;  // the tower alone
    // Frames of a video, each at its time in tenths of a second (-1: at none), as one picture.
    Array<float> encode_frames(std::span<const VisionInput> frames, std::span<const int32_t> times,
                               Workspace& workspace) const;  // -> [n_embd, n_query]
    int n_query() const { return resampler_.config().n_query; }
    int n_embd() const { return resampler_.config().n_embd; }

private:
    Siglip tower_;
    Resampler resampler_;
};

}  // namespace minicpmo
