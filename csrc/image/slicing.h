#pragma once
// How one picture becomes an overview and up to max_slices slices.
// Reference: MiniCPMVImageProcessor, slice_image and get_sliced_grid.

#include <vector>

#include "image/image.h"

namespace minicpmo {

// A slice has about (scale_resolution / patch_size)^2 patches, 1024 by default. More arise only where the
// short side has to be rounded up to one patch: a picture of 1 x 20000 pixels makes 4525.
inline constexpr int64_t kMaxSlicePatches = 16384;
inline constexpr int64_t kMaxSlices = 256;  // the reference asks for 9

struct SliceConfig {
    int scale_resolution = 448;  // pixels; a slice has about scale_resolution^2 of them
    int patch_size = 14;         // pixels
    int max_slices = 9;          // 1: never split
};

struct Size {
    int width = 0;
    int height = 0;
    bool operator==(const Size&) const = default;
};

struct Grid {  // slices beside the overview; 0 x 0 when the picture is not split
    int cols = 0;
    int rows = 0;
    bool operator==(const Grid&) const = default;
};

// All three throw ArgumentError on an empty picture, settings out of range, and a picture so narrow or
// settings so large that the limits above or kMaxResizedPixels are exceeded.
Grid choose_grid(Size image, const SliceConfig& config);
// Sizes in pixels, multiples of patch_size: the overview first, then cols * rows equal slices row by row.
std::vector<Size> slice_sizes(Size image, const SliceConfig& config);

struct SlicedImage {
    Grid grid;
    std::vector<Image> slices;  // overview first
};
SlicedImage slice_image(const ImageView& image, const SliceConfig& config);

}  // namespace minicpmo
