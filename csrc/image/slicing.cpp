#include "image/slicing.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "image/resize.h"

namespace minicpmo {

namespace {

// Sides before they are known to be sane. The reference computes in double precision, and truncation shows
// the difference to float.
struct RealSize {
    double width = 0;
    double height = 0;
};

struct SlicePlan {
    Grid grid;
    Size overview;
    Size refined;  // the picture that is cut into grid.cols x grid.rows slices; empty without a grid
    Size slice;
};

int64_t area(Size size) { return int64_t{size.width} * size.height; }

bool is_split(Grid grid) { return grid.cols > 0; }

void check_arguments(Size image, const SliceConfig& config) {
    constexpr int kMaxSide = 8000;  // its square is kMaxResizedPixels
    check<ArgumentError>(image.width > 0 && image.height > 0,
                         "[image] expected a picture of at least 1 x 1 pixels, got {} x {}", image.width,
                         image.height);
    check<ArgumentError>(config.patch_size > 0 && config.patch_size <= kMaxSide,
                         "[image] expected 1 to {}, got {} (patch_size)", kMaxSide, config.patch_size);
    check<ArgumentError>(config.scale_resolution > 0 && config.scale_resolution <= kMaxSide,
                         "[image] expected 1 to {}, got {} (scale_resolution)", kMaxSide,
                         config.scale_resolution);
    check<ArgumentError>(config.max_slices > 0, "[image] expected at least 1, got {} (max_slices)",
                         config.max_slices);
}

// Python's round(): halves go to the even neighbour, whatever the rounding mode of the process is.
double round_half_even(double x) {
    const double below = std::floor(x);
    const double rest = x - below;
    if (rest != 0.5) return rest < 0.5 ? below : below + 1;
    return std::fmod(below, 2.0) == 0.0 ? below : below + 1;
}

// At least one step.
double nearest_multiple(double length, int step) {
    return std::max(round_half_even(length / step) * step, static_cast<double>(step));
}

// The size of the same aspect ratio whose area is scale_resolution^2.
RealSize fit(RealSize size, const SliceConfig& config) {
    const double aspect = size.width / size.height;
    const double height = std::trunc(config.scale_resolution / std::sqrt(aspect));
    return {std::trunc(height * aspect), height};  // from the truncated height
}

Size to_patch_multiples(RealSize size, const SliceConfig& config) {
    const double width = nearest_multiple(size.width, config.patch_size);
    const double height = nearest_multiple(size.height, config.patch_size);
    // Far below the largest int: the limits of check_arguments keep both under 8000 * sqrt(2^31) + 8000.
    return {static_cast<int>(width), static_cast<int>(height)};
}

// NOTE: the reference scales the overview of a split picture down only; a split picture is always above the
// target.
Size overview_size(Size image, const SliceConfig& config) {
    const RealSize size{static_cast<double>(image.width), static_cast<double>(image.height)};
    return to_patch_multiples(fit(size, config), config);
}

Size grid_slice_size(Size image, Grid grid, const SliceConfig& config) {
    const RealSize cell{nearest_multiple(image.width, grid.cols) / grid.cols,
                        nearest_multiple(image.height, grid.rows) / grid.rows};
    return to_patch_multiples(fit(cell, config), config);
}

void check_limits(Size slice, int64_t n_slices, Size image, const SliceConfig& config) {
    const int64_t n_patch = area(slice) / config.patch_size / config.patch_size;
    check<ArgumentError>(
        n_patch <= kMaxSlicePatches,
        "[image] expected at most {} patches in a slice, got {} (a picture of {} x {} pixels is "
        "too narrow, or scale_resolution {} too large)",
        kMaxSlicePatches, n_patch, image.width, image.height, config.scale_resolution);
    check<ArgumentError>(area(slice) * n_slices <= kMaxResizedPixels,
                         "[image] expected at most {} pixels after scaling, got {} x {} x {} slices (lower "
                         "max_slices or scale_resolution)",
                         kMaxResizedPixels, slice.width, slice.height, n_slices);
}

SlicePlan plan_slices(Size image, const SliceConfig& config) {
    SlicePlan plan;
    plan.grid = choose_grid(image, config);
    plan.overview = overview_size(image, config);
    check_limits(plan.overview, 1, image, config);
    if (is_split(plan.grid)) {
        plan.slice = grid_slice_size(image, plan.grid, config);
        check_limits(plan.slice, plan.grid.cols * plan.grid.rows, image, config);
        plan.refined = {plan.slice.width * plan.grid.cols, plan.slice.height * plan.grid.rows};
    }
    return plan;
}

Image cut(const Image& image, int left, int top, Size size) {
    Image slice(size.width, size.height);
    const size_t row_bytes = static_cast<size_t>(size.width) * kImageChannels;
    for (int y = 0; y < size.height; ++y) {
        const size_t pixel =
            static_cast<size_t>(top + y) * static_cast<size_t>(image.width) + static_cast<size_t>(left);
        std::memcpy(slice.pixels.data() + static_cast<size_t>(y) * row_bytes,
                    image.pixels.data() + pixel * kImageChannels, row_bytes);
    }
    return slice;
}

}  // namespace

Grid choose_grid(Size image, const SliceConfig& config) {
    check_arguments(image, config);
    const double target = static_cast<double>(config.scale_resolution) * config.scale_resolution;
    const double wanted = std::ceil(static_cast<double>(area(image)) / target);
    const auto n_wanted = static_cast<int64_t>(std::min<double>(wanted, config.max_slices));
    if (n_wanted <= 1) return {};
    check<ArgumentError>(n_wanted <= kMaxSlices,
                         "[image] expected at most {} slices, got {} (lower max_slices)", kMaxSlices,
                         n_wanted);
    const double log_aspect = std::log(static_cast<double>(image.width) / image.height);
    Grid best{1, 1};
    double best_error = std::numeric_limits<double>::infinity();
    for (int n = static_cast<int>(n_wanted) - 1; n <= n_wanted + 1; ++n) {
        if (n == 1 || n > config.max_slices) continue;
        for (int cols = 1; cols <= n; ++cols) {
            if (n % cols != 0) continue;
            const Grid grid{cols, n / cols};
            const double error = std::abs(log_aspect - std::log(static_cast<double>(grid.cols) / grid.rows));
            if (error >= best_error) continue;  // of equals the first wins
            best = grid;
            best_error = error;
        }
    }
    return best;
}

std::vector<Size> slice_sizes(Size image, const SliceConfig& config) {
    const SlicePlan plan = plan_slices(image, config);
    std::vector<Size> sizes{plan.overview};
    sizes.resize(1 + static_cast<size_t>(plan.grid.cols * plan.grid.rows), plan.slice);
    return sizes;
}

SlicedImage slice_image(const ImageView& image, const SliceConfig& config) {
    check_image(image);
    const SlicePlan plan = plan_slices({image.width, image.height}, config);
    SlicedImage sliced;
    sliced.grid = plan.grid;
    sliced.slices.push_back(resize_bicubic(image, plan.overview.width, plan.overview.height));
    if (!is_split(plan.grid)) return sliced;
    const Image refined = resize_bicubic(image, plan.refined.width, plan.refined.height);
    for (int row = 0; row < plan.grid.rows; ++row) {
        for (int col = 0; col < plan.grid.cols; ++col) {
            sliced.slices.push_back(
                cut(refined, col * plan.slice.width, row * plan.slice.height, plan.slice));
        }
    }
    return sliced;
}

}  // namespace minicpmo
