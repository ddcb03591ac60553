#include "image/patches.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "image/slicing.h"

namespace minicpmo {

namespace {

using ByteTable = std::array<float, 256>;  // the normalised value of each pixel value

ByteTable normalised_bytes(float mean, float std) {
    ByteTable table{};
    for (size_t i = 0; i < table.size(); ++i) {
        const float unit = static_cast<float>(i) / 255.0F;
        const float centred = unit - mean;
        table[i] = centred / std;
    }
    return table;
}

void check_patches(const ImageView& slice, const PatchConfig& config) {
    check_image(slice);
    check<ArgumentError>(config.patch_size > 0, "[image] expected at least 1, got {} (patch_size)",
                         config.patch_size);
    check<ArgumentError>(slice.width % config.patch_size == 0 && slice.height % config.patch_size == 0,
                         "[image] expected sides that are multiples of {}, got {} x {}", config.patch_size,
                         slice.width, slice.height);
    for (size_t c = 0; c < kImageChannels; ++c) {
        check<ArgumentError>(std::isfinite(config.mean[c]), "[image] expected a finite number, got {} (mean)",
                             config.mean[c]);
        check<ArgumentError>(std::isfinite(config.std[c]) && config.std[c] > 0,
                             "[image] expected a positive number, got {} (std)", config.std[c]);
    }
}

// torch.arange(start, end, step) in float32 on an x86 CPU. Blocks of 16 are computed as two vectors of 8
// whose first value is rounded before multiples of the step are added to it; the rest is computed value by
// value.
std::vector<float> torch_arange(double start, double end, double step) {
    constexpr int64_t kLanes = 8;
    const auto n = static_cast<int64_t>(std::ceil((end - start) / step));
    std::vector<float> values(static_cast<size_t>(n));
    const int64_t n_in_blocks = n / (2 * kLanes) * (2 * kLanes);
    for (int64_t i = 0; i < n; ++i) {
        const int64_t lane = i < n_in_blocks ? i % kLanes : 0;
        const auto base = static_cast<float>(start + step * static_cast<double>(i - lane));
        values[static_cast<size_t>(i)] = static_cast<float>(base + static_cast<double>(lane) * step);
    }
    return values;
}

}  // namespace

PatchedImage make_patches(const ImageView& slice, const PatchConfig& config) {
    check_patches(slice, config);
    const auto side = static_cast<size_t>(config.patch_size);
    const auto width = static_cast<size_t>(slice.width);
    PatchedImage patched;
    patched.rows = slice.height / config.patch_size;
    patched.cols = slice.width / config.patch_size;
    patched.pixels = Array<float>({int64_t{kImageChannels} * config.patch_size * config.patch_size,
                                   int64_t{patched.rows} * patched.cols});
    const std::array<ByteTable, kImageChannels> tables = {normalised_bytes(config.mean[0], config.std[0]),
                                                          normalised_bytes(config.mean[1], config.std[1]),
                                                          normalised_bytes(config.mean[2], config.std[2])};
    float* out = patched.pixels.data.data();
    for (size_t top = 0; top < static_cast<size_t>(slice.height); top += side) {
        for (size_t left = 0; left < width; left += side) {
            for (size_t c = 0; c < kImageChannels; ++c) {
                for (size_t y = top; y < top + side; ++y) {
                    const uint8_t* row = slice.pixels + (y * width + left) * kImageChannels + c;
                    for (size_t x = 0; x < side; ++x) *out++ = tables[c][row[x * kImageChannels]];
                }
            }
        }
    }
    return patched;
}

std::vector<int32_t> position_buckets(int n, int grid) {
    constexpr int kMaxGrid = 4096;  // its square is the number of rows of a position table
    check<ArgumentError>(n > 0 && n <= kMaxSlicePatches, "[image] expected 1 to {} patches, got {}",
                         kMaxSlicePatches, n);
    check<ArgumentError>(grid > 0 && grid <= kMaxGrid, "[image] expected a position grid of 1 to {}, got {}",
                         kMaxGrid, grid);
    const std::vector<float> boundaries = torch_arange(1.0 / grid, 1.0, 1.0 / grid);
    const float step = 1.0F / static_cast<float>(n);  // the reference divides by an int32 tensor: float32
    const std::vector<float> coords = torch_arange(0.0, 1 - 1e-6, step);
    std::vector<int32_t> buckets;
    for (const float coord : coords) {
        const auto above = std::upper_bound(boundaries.begin(), boundaries.end(), coord);
        buckets.push_back(static_cast<int32_t>(above - boundaries.begin()));
    }
    return buckets;
}

std::vector<int32_t> position_ids(int rows, int cols, int grid) {
    const std::vector<int32_t> row_buckets = position_buckets(rows, grid);
    const std::vector<int32_t> col_buckets = position_buckets(cols, grid);
    check<ArgumentError>(int64_t{rows} * cols <= kMaxSlicePatches,
                         "[image] expected at most {} patches, got {} x {}", kMaxSlicePatches, rows, cols);
    std::vector<int32_t> ids;
    ids.reserve(row_buckets.size() * col_buckets.size());
    for (const int32_t row : row_buckets) {
        for (const int32_t col : col_buckets) ids.push_back(row * grid + col);
    }
    return ids;
}

}  // namespace minicpmo
