#include "image/slicing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cfenv>
#include <limits>

#include "base/error.h"
#include "image/resize.h"

using minicpmo::ArgumentError;
using minicpmo::choose_grid;
using minicpmo::Grid;
using minicpmo::Image;
using minicpmo::Size;
using minicpmo::slice_image;
using minicpmo::slice_sizes;
using minicpmo::SliceConfig;

namespace {

SliceConfig with_max(int max_slices) {
    SliceConfig config;
    config.max_slices = max_slices;
    return config;
}

Image make_picture(int width, int height) {
    Image image(width, height);
    for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * i / 7 + i);
    return image;
}

}  // namespace

TEST_CASE("pictures are split and scaled as the reference does it") {
    struct Case {
        Size image;
        int max_slices;
        Grid grid;
        Size overview;
        Size slice;
    };
    const Case cases[] = {
        {{448, 448}, 9, {}, {448, 448}, {}},
        {{100, 60}, 9, {}, {574, 350}, {}},
        {{640, 480}, 9, {2, 1}, {518, 392}, {364, 546}},
        {{800, 600}, 2, {2, 1}, {518, 392}, {364, 546}},
        {{1280, 720}, 9, {3, 2}, {602, 336}, {490, 406}},
        {{1920, 1080}, 9, {4, 2}, {602, 336}, {420, 476}},
        {{1080, 1920}, 9, {2, 4}, {336, 602}, {476, 420}},
        {{1920, 1080}, 1, {}, {602, 336}, {}},
        {{3000, 2000}, 9, {4, 2}, {546, 364}, {392, 518}},
        {{1344, 1344}, 9, {3, 3}, {448, 448}, {448, 448}},
        {{4000, 300}, 9, {7, 1}, {1624, 126}, {616, 322}},
        {{448, 449}, 9, {1, 2}, {448, 448}, {630, 322}},
        {{30, 900}, 9, {}, {84, 2450}, {}},
        {{1, 1}, 9, {}, {448, 448}, {}},
        {{20000, 10}, 9, {}, {20006, 14}, {}},
        {{20000, 11}, 9, {3, 1}, {18186, 14}, {10906, 14}},
        {{1080, 30000}, 9, {1, 9}, {84, 2366}, {252, 784}},
        {{1, 20000}, 9, {}, {14, 63350}, {}},
    };
    for (const Case& c : cases) {
        CAPTURE(c.image.width);
        CAPTURE(c.image.height);
        const SliceConfig config = with_max(c.max_slices);
        CHECK(choose_grid(c.image, config) == c.grid);
        const std::vector<Size> sizes = slice_sizes(c.image, config);
        CHECK(sizes.size() == static_cast<size_t>(1 + c.grid.cols * c.grid.rows));
        CHECK(sizes.front() == c.overview);
        CHECK(std::all_of(sizes.begin() + 1, sizes.end(), [&](Size s) { return s == c.slice; }));
    }
}

TEST_CASE("area alone decides whether a picture is split") {
    CHECK(choose_grid({448, 448}, {}) == Grid{});
    CHECK(choose_grid({449, 448}, {}) != Grid{});
    CHECK(choose_grid({200704, 1}, {}) == Grid{});
    CHECK(choose_grid({200705, 1}, {}) == Grid{3, 1});
    CHECK(choose_grid({900, 100}, {}) == Grid{});
    CHECK(choose_grid({9000, 9000}, with_max(1)) == Grid{});
}

TEST_CASE("a grid never has more slices than allowed and never is one by one") {
    for (int max_slices = 2; max_slices <= 30; ++max_slices) {
        for (const Size image : {Size{449, 448}, {900, 800}, {5000, 400}, {400, 5000}, {4000, 3000}}) {
            const Grid grid = choose_grid(image, with_max(max_slices));
            CHECK(grid.cols * grid.rows > 1);
            CHECK(grid.cols * grid.rows <= max_slices);
        }
    }
}

TEST_CASE("of equally fitting grids the one with fewer columns is taken") {
    CHECK(choose_grid({500, 500}, with_max(2)) == Grid{1, 2});
}

TEST_CASE("all slice sides are multiples of the patch size") {
    for (int width = 1; width < 3000; width += 97) {
        for (int height = 1; height < 3000; height += 89) {
            for (const Size size : slice_sizes({width, height}, {})) {
                REQUIRE(size.width > 0);
                REQUIRE(size.width % 14 == 0);
                REQUIRE(size.height > 0);
                REQUIRE(size.height % 14 == 0);
            }
        }
    }
}

TEST_CASE("halves round to the even multiple, whatever the rounding mode") {
    for (const int mode : {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD}) {
        std::fesetround(mode);
        const Size down = slice_sizes({100, 230}, {}).front();  // 679 = 48.5 * 14 rows
        const Size up = slice_sizes({100, 110}, {}).front();    // 469 = 33.5 * 14 rows
        std::fesetround(FE_TONEAREST);
        CHECK(down == Size{294, 48 * 14});
        CHECK(up == Size{420, 34 * 14});
    }
}

TEST_CASE("the overview and the slices are cut from the resized original") {
    const Image image = make_picture(640, 480);
    const minicpmo::SlicedImage sliced = slice_image(image.view(), {});
    REQUIRE(sliced.grid == Grid{2, 1});
    REQUIRE(sliced.slices.size() == 3);
    CHECK(sliced.slices[0].pixels == minicpmo::resize_bicubic(image.view(), 518, 392).pixels);
    const Image refined = minicpmo::resize_bicubic(image.view(), 728, 546);
    for (size_t i = 0; i < 2; ++i) {
        const Image& slice = sliced.slices[1 + i];
        REQUIRE(Size{slice.width, slice.height} == Size{364, 546});
        for (size_t y = 0; y < 546; ++y) {
            const auto row = slice.pixels.begin() + static_cast<std::ptrdiff_t>(y * 364 * 3);
            const auto source = refined.pixels.begin() + static_cast<std::ptrdiff_t>((y * 728 + i * 364) * 3);
            REQUIRE(std::equal(row, row + 364 * 3, source));
        }
    }
}

TEST_CASE("slices come row by row") {
    Image image(1000, 1000);  // one colour per quarter
    for (int y = 0; y < 1000; ++y) {
        for (int x = 0; x < 1000; ++x) {
            const auto value = static_cast<uint8_t>(50 * (1 + (x >= 500) + 2 * (y >= 500)));
            std::fill_n(image.pixels.begin() + (y * 1000 + x) * 3, 3, value);
        }
    }
    const minicpmo::SlicedImage sliced = slice_image(image.view(), with_max(4));
    REQUIRE(sliced.grid == Grid{2, 2});
    REQUIRE(sliced.slices.size() == 5);
    for (size_t i = 0; i < 4; ++i) {
        const Image& slice = sliced.slices[1 + i];
        const auto centre = static_cast<size_t>((slice.height / 2 * slice.width + slice.width / 2) * 3);
        CHECK(slice.pixels[centre] == 50 * (i + 1));
    }
}

TEST_CASE("a small picture is enlarged and not split") {
    const Image image = make_picture(28, 28);
    const minicpmo::SlicedImage sliced = slice_image(image.view(), {});
    CHECK(sliced.grid == Grid{});
    REQUIRE(sliced.slices.size() == 1);
    CHECK(Size{sliced.slices[0].width, sliced.slices[0].height} == Size{448, 448});
}

TEST_CASE("hostile sizes are refused") {
    constexpr int kMax = std::numeric_limits<int>::max();
    for (const Size image : {Size{0, 5}, {5, 0}, {-3, 5}, {5, -3}, {0, 0}}) {
        CHECK_THROWS_AS(choose_grid(image, {}), ArgumentError);
        CHECK_THROWS_AS(slice_sizes(image, {}), ArgumentError);
        CHECK_THROWS_AS(slice_image({nullptr, image.width, image.height}, {}), ArgumentError);
    }
    CHECK_THROWS_AS(slice_image({nullptr, 10, 10}, {}), ArgumentError);
    CHECK_THROWS_AS(slice_sizes({1, kMax}, {}), ArgumentError);
    CHECK_THROWS_AS(slice_sizes({1, 1000000}, with_max(1)), ArgumentError);
    CHECK_THROWS_AS(slice_sizes({kMax, kMax}, with_max(kMax)), ArgumentError);
    CHECK(slice_sizes({kMax, kMax}, {}).size() == 10);
}

TEST_CASE("settings out of range are refused") {
    for (const int value : {0, -1, std::numeric_limits<int>::min()}) {
        SliceConfig config;
        config.max_slices = value;
        CHECK_THROWS_AS(choose_grid({640, 480}, config), ArgumentError);
        config = {};
        config.patch_size = value;
        CHECK_THROWS_AS(choose_grid({640, 480}, config), ArgumentError);
        config = {};
        config.scale_resolution = value;
        CHECK_THROWS_AS(choose_grid({640, 480}, config), ArgumentError);
    }
    SliceConfig config;
    config.scale_resolution = std::numeric_limits<int>::max();
    CHECK_THROWS_AS(slice_sizes({640, 480}, config), ArgumentError);
    config = {};
    config.patch_size = std::numeric_limits<int>::max();
    CHECK_THROWS_AS(slice_sizes({640, 480}, config), ArgumentError);
    CHECK_THROWS_AS(slice_sizes({40000, 30000}, with_max(100000)), ArgumentError);
}
