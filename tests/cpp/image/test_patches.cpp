#include "image/patches.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <map>

#include "base/error.h"

using minicpmo::ArgumentError;
using minicpmo::Image;
using minicpmo::make_patches;
using minicpmo::PatchConfig;
using minicpmo::PatchedImage;
using minicpmo::position_buckets;
using minicpmo::position_ids;

TEST_CASE("pixels are normalised in float32: divided by 255, less the mean, divided by the deviation") {
    PatchConfig config;
    config.patch_size = 1;
    Image image(256, 1);
    for (size_t i = 0; i < 768; ++i) image.pixels[i] = static_cast<uint8_t>(i / 3);
    const PatchedImage patched = make_patches(image.view(), config);
    REQUIRE(patched.pixels.shape == std::vector<int64_t>{3, 256});
    CHECK(patched.pixels.data[0] == -1.0F);
    CHECK(patched.pixels.data[767] == 1.0F);
    for (size_t i = 0; i < 256; ++i) {
        volatile float value = static_cast<float>(i) / 255.0F;  // volatile: every step rounded to float32
        value = value - 0.5F;
        value = value / 0.5F;
        CHECK(patched.pixels.data[3 * i] == value);
    }
}

TEST_CASE("each channel has its own mean and deviation") {
    PatchConfig config;
    config.patch_size = 1;
    config.mean = {0.0F, 0.25F, 1.0F};
    config.std = {1.0F, 0.5F, 0.25F};
    const Image image = [] {
        Image white(1, 1);
        white.pixels = {255, 255, 255};
        return white;
    }();
    CHECK(make_patches(image.view(), config).pixels.data == std::vector<float>{1.0F, 1.5F, 0.0F});
}

TEST_CASE("patches follow row by row, inside a patch channel, then row, then column") {
    PatchConfig config;
    config.patch_size = 2;
    config.mean = {0.0F, 0.0F, 0.0F};
    config.std = {1.0F / 255, 1.0F / 255, 1.0F / 255};  // back to the pixel values
    Image image(6, 4);                                  // 2 x 3 patches
    for (int y = 0; y < 4; ++y) {
        for (int x = 0; x < 6; ++x) {
            for (int c = 0; c < 3; ++c) {
                image.pixels[static_cast<size_t>((y * 6 + x) * 3 + c)] =
                    static_cast<uint8_t>(100 * c + 10 * y + x);
            }
        }
    }
    const PatchedImage patched = make_patches(image.view(), config);
    CHECK(patched.rows == 2);
    CHECK(patched.cols == 3);
    REQUIRE(patched.pixels.shape == std::vector<int64_t>{12, 6});
    const std::map<int64_t, std::vector<int>> expected = {
        {0, {0, 1, 10, 11, 100, 101, 110, 111, 200, 201, 210, 211}},
        {1, {2, 3, 12, 13, 102, 103, 112, 113, 202, 203, 212, 213}},
        {5, {24, 25, 34, 35, 124, 125, 134, 135, 224, 225, 234, 235}},
    };
    for (const auto& [patch, values] : expected) {
        for (size_t i = 0; i < values.size(); ++i) {
            CHECK(patched.pixels.row(patch)[i] == doctest::Approx(values[i]).epsilon(1e-6));
        }
    }
}

TEST_CASE("slices that are not made of whole patches and unusable settings are refused") {
    const Image image(28, 14);
    CHECK(make_patches(image.view(), {}).cols == 2);
    CHECK_THROWS_AS(make_patches(Image(27, 14).view(), {}), ArgumentError);
    CHECK_THROWS_AS(make_patches(Image(28, 15).view(), {}), ArgumentError);
    CHECK_THROWS_AS(make_patches({nullptr, 28, 14}, {}), ArgumentError);
    CHECK_THROWS_AS(make_patches({image.pixels.data(), 0, 14}, {}), ArgumentError);
    PatchConfig config;
    for (const int patch_size : {0, -14}) {
        config.patch_size = patch_size;
        CHECK_THROWS_AS(make_patches(image.view(), config), ArgumentError);
    }
    config = {};
    config.std[1] = 0.0F;
    CHECK_THROWS_AS(make_patches(image.view(), config), ArgumentError);
    config = {};
    config.mean[2] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(make_patches(image.view(), config), ArgumentError);
}

TEST_CASE("position buckets are those of PyTorch on x86 for 1 to 130 patches") {
    // Where PyTorch's bucket is one below floor(70 * i / n).
    const std::map<int, std::vector<int>> below = {
        {25, {5, 10, 15, 20}},
        {49, {7, 14, 35, 42}},
        {50, {5, 10, 15, 20, 30, 40}},
        {55, {11, 22, 33, 44}},
        {58, {29}},
        {77, {55}},
        {82, {41}},
        {86, {43}},
        {94, {47}},
        {98, {7, 14, 35, 42, 56, 70, 84}},
        {100, {10, 20, 30, 40, 80}},
        {110, {11, 22, 33, 44, 66, 88}},
        {115, {23, 46, 69, 92}},
    };
    for (int n = 1; n <= 130; ++n) {
        std::vector<int32_t> expected;
        for (int i = 0; i < n; ++i) expected.push_back(70 * i / n);
        if (const auto found = below.find(n); found != below.end()) {
            for (const int i : found->second) --expected[static_cast<size_t>(i)];
        }
        CAPTURE(n);
        CHECK(position_buckets(n, 70) == expected);
    }
}

TEST_CASE("buckets never decrease and stay inside the table, at any count") {
    for (const int grid : {1, 2, 3, 35, 49, 70, 4096}) {
        for (const int n : {1, 2, 15, 16, 17, 175, 1429, 4525, 16384}) {
            const std::vector<int32_t> buckets = position_buckets(n, grid);
            REQUIRE(buckets.size() == static_cast<size_t>(n));
            CHECK(buckets.front() == 0);
            CHECK(buckets.back() < grid);
            CHECK(std::is_sorted(buckets.begin(), buckets.end()));
        }
    }
}

TEST_CASE("a position id is the row's bucket times the grid plus the column's bucket") {
    CHECK(position_ids(2, 3, 70) == std::vector<int32_t>{0, 23, 46, 2450, 2473, 2496});
    const std::vector<int32_t> ids = position_ids(25, 41, 70);  // a picture of 574 x 350
    REQUIRE(ids.size() == 25 * 41);
    CHECK(ids[5 * 41] == 13 * 70);  // not 14
}

TEST_CASE("absurd patch counts and grids are refused") {
    constexpr int kMax = std::numeric_limits<int>::max();
    for (const int n : {0, -1, kMax}) {
        CHECK_THROWS_AS(position_buckets(n, 70), ArgumentError);
        CHECK_THROWS_AS(position_buckets(10, n), ArgumentError);
        CHECK_THROWS_AS(position_ids(n, 10, 70), ArgumentError);
        CHECK_THROWS_AS(position_ids(10, n, 70), ArgumentError);
    }
    CHECK_THROWS_AS(position_ids(16384, 2, 70), ArgumentError);
    CHECK(position_ids(16384, 1, 70).size() == 16384);
}
