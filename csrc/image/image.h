#pragma once
// ImageView: borrowed pixels, interleaved RGB uint8, rows top to bottom; decoding files is the caller's.
// Reference: the PIL image that MiniCPMVImageProcessor works on after convert("RGB").

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"

namespace minicpmo {

inline constexpr int kImageChannels = 3;  // red, green, blue

struct ImageView {
    const uint8_t* pixels = nullptr;  // [height][width][3]
    int width = 0;
    int height = 0;
};

struct Image {
    std::vector<uint8_t> pixels;  // [height][width][3]
    int width = 0;
    int height = 0;

    Image() = default;
    Image(int width_, int height_)
        : pixels(static_cast<size_t>(width_) * static_cast<size_t>(height_) * kImageChannels),
          width(width_),
          height(height_) {}
    ImageView view() const { return {pixels.data(), width, height}; }
};

// Throws ArgumentError on missing pixels or an empty size.
inline void check_image(const ImageView& image) {
    check<ArgumentError>(image.width > 0 && image.height > 0,
                         "[image] expected a picture of at least 1 x 1 pixels, got {} x {}", image.width,
                         image.height);
    check<ArgumentError>(image.pixels != nullptr, "[image] expected pixels, got none ({} x {})", image.width,
                         image.height);
}

}  // namespace minicpmo
