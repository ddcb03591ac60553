#pragma once
// Bicubic resizing of 8-bit pictures, bit for bit as Pillow does it.
// Reference: Pillow 13, ImagingResample (src/libImaging/Resample.c), filter BICUBIC (a = -0.5) with
// antialiasing: two passes in 22-bit fixed point, uint8 in between.
//
// NOTE: Pillow before version 13 always resizes the width first. Pictures that lose clearly more rows than
// columns differ from those versions by a few levels.

#include "image/image.h"

namespace minicpmo {

// The slicer at its default settings stays below 3 megapixels.
inline constexpr int64_t kMaxResizedPixels = 64'000'000;
inline constexpr int kMaxResizedSide = 1'000'000;

// Throws ArgumentError on an empty picture and on a new size that is empty or above the limits.
Image resize_bicubic(const ImageView& image, int width, int height);

}  // namespace minicpmo
