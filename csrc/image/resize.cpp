#include "image/resize.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr int kFractionBits = 22;  // 32 bits less 8 of the pixel and 2 for overshoot
constexpr int32_t kHalf = 1 << (kFractionBits - 1);
constexpr double kSupport = 2.0;  // the kernel is zero from here on, in pixels of the coarser side
constexpr double kCubic = -0.5;   // the kernel's slope parameter

// What one output sample reads: `count` input samples from `first`, weighted by weights[offset ...].
struct Window {
    int first = 0;
    int count = 0;
    size_t offset = 0;
};

struct Filter {
    std::vector<Window> windows;  // one for each output sample; `first` never decreases
    std::vector<int32_t> weights;
};

double cubic(double x) {
    x = std::abs(x);
    if (x < 1.0) return ((kCubic + 2.0) * x - (kCubic + 3.0)) * x * x + 1;
    if (x < kSupport) return (((x - 5) * x + 8) * x - 4) * kCubic;
    return 0.0;
}

int32_t to_fixed(double weight) {
    return static_cast<int32_t>(weight * (1 << kFractionBits) + (weight < 0 ? -0.5 : 0.5));
}

Filter make_filter(int in_size, int out_size) {
    const double scale = static_cast<double>(in_size) / out_size;
    const double kernel_scale = std::max(scale, 1.0);  // widened only when shrinking: antialiasing
    const double inverse = 1.0 / kernel_scale;
    const double support = kSupport * kernel_scale;
    Filter filter;
    filter.windows.reserve(static_cast<size_t>(out_size));
    std::vector<double> weights;
    for (int o = 0; o < out_size; ++o) {
        const double center = (o + 0.5) * scale;
        // A truncating cast, as in the reference: it differs from floor on the negative side, which becomes
        // 0.
        const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
        const int64_t end = std::min<int64_t>(static_cast<int64_t>(center + support + 0.5), in_size);
        weights.clear();
        double sum = 0;
        for (int64_t i = first; i < end; ++i) {
            weights.push_back(cubic((static_cast<double>(i) - center + 0.5) * inverse));
            sum += weights.back();
        }
        filter.windows.push_back(
            {static_cast<int>(first), static_cast<int>(end - first), filter.weights.size()});
        for (const double w : weights) filter.weights.push_back(to_fixed(sum != 0.0 ? w / sum : w));
    }
    return filter;
}

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255)); }

// One row to a new width.
void resample_row(const uint8_t* in, const Filter& filter, uint8_t* out) {
    for (const Window& window : filter.windows) {
        const uint8_t* pixel = in + static_cast<size_t>(window.first) * kImageChannels;
        const int32_t* weight = filter.weights.data() + window.offset;
        int32_t red = kHalf;
        int32_t green = kHalf;
        int32_t blue = kHalf;
        for (int k = 0; k < window.count; ++k, pixel += kImageChannels) {
            red += weight[k] * pixel[0];
            green += weight[k] * pixel[1];
            blue += weight[k] * pixel[2];
        }
        *out++ = to_byte(red);
        *out++ = to_byte(green);
        *out++ = to_byte(blue);
    }
}

void add_weighted(std::vector<int32_t>& sums, const uint8_t* row, int32_t weight) {
    for (size_t x = 0; x < sums.size(); ++x) sums[x] += weight * row[x];
}

// One output row from the rows of its window; row_at(y) is row y of the input. `sums` is as long as a row.
template <class RowAt>
void blend_rows(const Filter& filter, const Window& window, RowAt row_at, std::vector<int32_t>& sums,
                uint8_t* out) {
    std::fill(sums.begin(), sums.end(), kHalf);
    const int32_t* weight = filter.weights.data() + window.offset;
    for (int k = 0; k < window.count; ++k) add_weighted(sums, row_at(window.first + k), weight[k]);
    std::transform(sums.begin(), sums.end(), out, to_byte);
}

size_t row_bytes(int width) { return static_cast<size_t>(width) * kImageChannels; }

const uint8_t* row_of(const ImageView& image, int y) {
    return image.pixels + static_cast<size_t>(y) * row_bytes(image.width);
}

uint8_t* row_of(Image& image, int y) {
    return image.pixels.data() + static_cast<size_t>(y) * row_bytes(image.width);
}

void resize_width(const ImageView& image, Image& out) {
    const Filter across = make_filter(image.width, out.width);
    for (int y = 0; y < out.height; ++y) resample_row(row_of(image, y), across, row_of(out, y));
}

void resize_height(const ImageView& image, Image& out) {
    const Filter down = make_filter(image.height, out.height);
    std::vector<int32_t> sums(row_bytes(out.width));
    const auto row_at = [&](int y) { return row_of(image, y); };
    for (int y = 0; y < out.height; ++y) {
        blend_rows(down, down.windows[static_cast<size_t>(y)], row_at, sums, row_of(out, y));
    }
}

void resize_height_then_width(const ImageView& image, Image& out) {
    const Filter down = make_filter(image.height, out.height);
    const Filter across = make_filter(image.width, out.width);
    std::vector<int32_t> sums(row_bytes(image.width));
    std::vector<uint8_t> blended(sums.size());
    const auto row_at = [&](int y) { return row_of(image, y); };
    for (int y = 0; y < out.height; ++y) {
        blend_rows(down, down.windows[static_cast<size_t>(y)], row_at, sums, blended.data());
        resample_row(blended.data(), across, row_of(out, y));
    }
}

// Resampled rows are kept for as long as a window needs them, row y in place y % n_kept: memory follows the
// output and not the height of the input.
void resize_width_then_height(const ImageView& image, Image& out) {
    const Filter down = make_filter(image.height, out.height);
    const Filter across = make_filter(image.width, out.width);
    int n_kept = 0;
    for (const Window& window : down.windows) n_kept = std::max(n_kept, window.count);
    Image kept(out.width, n_kept);
    std::vector<int32_t> sums(row_bytes(out.width));
    const auto row_at = [&](int y) { return row_of(kept, y % n_kept); };
    int next = 0;  // the first row not yet resampled
    for (int y = 0; y < out.height; ++y) {
        const Window& window = down.windows[static_cast<size_t>(y)];
        for (next = std::max(next, window.first); next < window.first + window.count; ++next) {
            resample_row(row_of(image, next), across, row_at(next));
        }
        blend_rows(down, window, row_at, sums, row_of(out, y));
    }
}

// The order of the passes shows in the last bits. Pillow starts with the height where it loses more than
// twice as many pixels as the width.
bool is_height_first(const ImageView& image, int width, int height) {
    const int64_t lost_rows = int64_t{image.height} - height;
    const int64_t lost_cols = int64_t{image.width} - width;
    return lost_rows > 0 && lost_rows > 2 * lost_cols;
}

}  // namespace

Image resize_bicubic(const ImageView& image, int width, int height) {
    check_image(image);
    check<ArgumentError>(width > 0 && height > 0 && width <= kMaxResizedSide && height <= kMaxResizedSide &&
                             int64_t{width} * height <= kMaxResizedPixels,
                         "[image] expected a new size of at most {} pixels, got {} x {}", kMaxResizedPixels,
                         width, height);
    Image out(width, height);
    if (width == image.width && height == image.height) {
        std::copy_n(image.pixels, out.pixels.size(), out.pixels.begin());
    } else if (height == image.height) {
        resize_width(image, out);
    } else if (width == image.width) {
        resize_height(image, out);
    } else if (is_height_first(image, width, height)) {
        resize_height_then_width(image, out);
    } else {
        resize_width_then_height(image, out);
    }
    return out;
}

}  // namespace minicpmo
