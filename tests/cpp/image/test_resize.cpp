#include "image/resize.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"

using minicpmo::ArgumentError;
using minicpmo::Image;
using minicpmo::ImageView;
using minicpmo::resize_bicubic;

namespace {

// A picture without symmetry: all values, all channels different.
Image make_picture(int width, int height) {
    Image image(width, height);
    size_t i = 0;
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            for (int c = 0; c < 3; ++c) {
                image.pixels[i++] = static_cast<uint8_t>(31 * x + 17 * y + 101 * c + 7 * x * y);
            }
        }
    }
    return image;
}

Image make_grey(int width, int height, const std::vector<uint8_t>& values) {
    Image image(width, height);
    for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = values[i / 3];
    return image;
}

std::vector<uint8_t> red_of(const Image& image) {
    std::vector<uint8_t> red;
    for (size_t i = 0; i < image.pixels.size(); i += 3) red.push_back(image.pixels[i]);
    return red;
}

uint32_t fnv1a(const std::vector<uint8_t>& bytes) {
    uint32_t hash = 2166136261U;
    for (const uint8_t byte : bytes) hash = (hash ^ byte) * 16777619U;
    return hash;
}

double mean(const Image& image) {
    return std::accumulate(image.pixels.begin(), image.pixels.end(), 0.0) /
           static_cast<double>(image.pixels.size());
}

}  // namespace

TEST_CASE("a picture of the wanted size is copied") {
    const Image image = make_picture(17, 9);
    const Image same = resize_bicubic(image.view(), 17, 9);
    CHECK(same.width == 17);
    CHECK(same.height == 9);
    CHECK(same.pixels == image.pixels);
}

TEST_CASE("a picture of one colour stays of that colour at any size") {
    for (const int value : {0, 1, 127, 254, 255}) {
        const Image image = make_grey(13, 29, std::vector<uint8_t>(13 * 29, static_cast<uint8_t>(value)));
        for (const auto& [width, height] :
             {std::pair{1, 1}, {5, 100}, {100, 5}, {40, 40}, {13, 7}, {6, 29}}) {
            const Image resized = resize_bicubic(image.view(), width, height);
            REQUIRE(resized.pixels.size() == static_cast<size_t>(width * height * 3));
            CHECK(std::all_of(resized.pixels.begin(), resized.pixels.end(),
                              [&](uint8_t v) { return v == value; }));
        }
    }
}

TEST_CASE("a row is resampled as Pillow does it, overshoot clipped") {
    const Image ramp = make_grey(3, 1, {0, 100, 255});
    CHECK(red_of(resize_bicubic(ramp.view(), 5, 1)) == std::vector<uint8_t>{0, 28, 100, 205, 255});
    CHECK(red_of(resize_bicubic(ramp.view(), 2, 1)) == std::vector<uint8_t>{29, 205});
    const Image stripes = make_grey(8, 1, {0, 255, 0, 255, 0, 255, 10, 20});
    CHECK(red_of(resize_bicubic(stripes.view(), 3, 1)) == std::vector<uint8_t>{112, 134, 71});
}

TEST_CASE("a column is resampled like a row") {
    const Image ramp = make_grey(1, 3, {0, 100, 255});
    CHECK(red_of(resize_bicubic(ramp.view(), 1, 5)) == std::vector<uint8_t>{0, 28, 100, 205, 255});
    CHECK(red_of(resize_bicubic(ramp.view(), 1, 2)) == std::vector<uint8_t>{29, 205});
}

TEST_CASE("a small picture shrinks and grows to Pillow's values") {
    const Image image = make_picture(4, 3);
    CHECK(resize_bicubic(image.view(), 2, 2).pixels ==
          std::vector<uint8_t>{25, 125, 165, 86, 191, 42, 53, 161, 113, 132, 157, 67});
    CHECK(resize_bicubic(image.view(), 5, 4).pixels ==
          std::vector<uint8_t>{0,  99,  200, 19, 120, 249, 46,  147, 127, 71,  172, 0,  92,  193, 38,
                               8,  109, 217, 32, 133, 125, 62,  162, 46,  91,  197, 31, 116, 236, 62,
                               22, 123, 236, 51, 152, 55,  86,  193, 6,   121, 195, 68, 150, 151, 96,
                               33, 134, 246, 64, 165, 82,  103, 221, 33,  142, 167, 88, 173, 0,   119});
}

TEST_CASE("larger pictures hash to what Pillow 13 makes of them") {
    struct Case {
        std::array<int, 2> from;
        std::array<int, 2> to;
        uint32_t hash;
    };
    const Case cases[] = {
        {{97, 61}, {560, 350}, 0x4D9401DAU}, {{200, 150}, {86, 42}, 0x4AF517A0U},
        {{30, 90}, {25, 77}, 0xA7754D38U},   {{90, 30}, {77, 25}, 0x219C85FAU},
        {{64, 300}, {70, 14}, 0x34C80921U},  {{300, 64}, {14, 70}, 0x674045ECU},
        {{60, 70}, {55, 60}, 0x1B05A201U},  // ten rows and five columns less: width first
        {{60, 71}, {55, 60}, 0xB7CC37F4U},  // one row more: height first
        {{1, 50}, {14, 700}, 0x96E14127U},   {{33, 33}, {33, 14}, 0x9B483422U},
        {{33, 33}, {14, 33}, 0xA6F4DAEFU},
    };
    for (const Case& c : cases) {
        CAPTURE(c.from);
        CAPTURE(c.to);
        const Image image = make_picture(c.from[0], c.from[1]);
        CHECK(fnv1a(resize_bicubic(image.view(), c.to[0], c.to[1]).pixels) == c.hash);
    }
}

TEST_CASE("shrinking keeps the mean") {
    const Image image = make_picture(240, 180);
    for (const auto& [width, height] : {std::pair{120, 90}, {60, 45}, {77, 31}, {24, 180}, {240, 20}}) {
        CHECK(mean(resize_bicubic(image.view(), width, height)) ==
              doctest::Approx(mean(image)).epsilon(0.01));
    }
}

TEST_CASE("extreme shapes can be resized") {
    const Image flat = make_picture(20000, 10);
    CHECK(resize_bicubic(flat.view(), 20006, 14).pixels.size() == 20006U * 14U * 3U);
    const Image tall = make_picture(1, 20000);
    CHECK(resize_bicubic(tall.view(), 14, 63350).pixels.size() == 14U * 63350U * 3U);
    CHECK(resize_bicubic(tall.view(), 1, 1).pixels.size() == 3U);
    const Image dot = make_picture(1, 1);
    CHECK(resize_bicubic(dot.view(), 448, 448).pixels[448 * 448 * 3 - 1] == dot.pixels[2]);
}

TEST_CASE("empty and absurd sizes are refused before anything is allocated") {
    const Image image = make_picture(2, 2);
    constexpr int kMax = std::numeric_limits<int>::max();
    for (const auto& [width, height] : {std::pair{0, 5},
                                        {5, 0},
                                        {-1, 5},
                                        {5, -7},
                                        {kMax, kMax},
                                        {kMax, 1},
                                        {1, kMax},
                                        {8001, 8000},
                                        {minicpmo::kMaxResizedSide + 1, 1}}) {
        CHECK_THROWS_AS(resize_bicubic(image.view(), width, height), ArgumentError);
    }
    CHECK_THROWS_AS(resize_bicubic(ImageView{}, 4, 4), ArgumentError);
    CHECK_THROWS_AS(resize_bicubic(ImageView{nullptr, 2, 2}, 4, 4), ArgumentError);
    CHECK_THROWS_AS(resize_bicubic(ImageView{image.pixels.data(), -2, 2}, 4, 4), ArgumentError);
    CHECK_THROWS_WITH(resize_bicubic(image.view(), 0, 3),
                      "[image] expected a new size of at most 64000000 pixels, got 0 x 3");
}
