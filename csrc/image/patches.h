#pragma once
// A slice as the vision tower reads it: normalised patches in row-major order, and where each belongs.
// Reference: MiniCPMVImageProcessor.reshape_by_patch, SiglipVisionEmbeddings (NaViT) forward.

#include <array>
#include <cstdint>
#include <vector>

#include "base/array.h"
#include "image/image.h"

namespace minicpmo {

struct PatchConfig {
    int patch_size = 14;                             // pixels
    std::array<float, 3> mean = {0.5F, 0.5F, 0.5F};  // of pixel values in 0 .. 1
    std::array<float, 3> std = {0.5F, 0.5F, 0.5F};
};

struct PatchedImage {
    // [patch_size * patch_size * 3, n_patch]; inside a patch: channel, then row, then column
    Array<float> pixels;
    int rows = 0;  // patches
    int cols = 0;
};

// The sides of the slice are multiples of patch_size.
PatchedImage make_patches(const ImageView& slice, const PatchConfig& config);

// Bucket of each of n patches along one axis of a grid x grid table, as torch.bucketize of torch.arange gives
// it on x86: float32 comparisons, not floor(grid * i / n). Several patches share a bucket where n > grid.
std::vector<int32_t> position_buckets(int n, int grid);
// [rows * cols]: bucket(row) * grid + bucket(col)
std::vector<int32_t> position_ids(int rows, int cols, int grid);

}  // namespace minicpmo
