#include "kernels/int8/int8_product.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "kernels/each_isa.h"
#include "kernels/evex_vnni.h"

using namespace minicpmo;
using kernels::BlockRow;
using kernels::BlockType;
using kernels::Int8Kernels;
using kernels::Isa;
using kernels::SuperblockRow;

namespace {

struct Named {
    const char* name;
    const Int8Kernels& kernels;
};

// Of every instruction set that this processor has.
std::vector<Named> all_kernels() {
    std::vector<Named> all;
    const auto add = [&](const char* name, Isa set) {
        if (kernels::has(set)) all.push_back({name, *kernels::int8_kernels(set)});
    };
    add("avx2", Isa::avx2);
    add("avx_vnni", Isa::avx_vnni);
    add("avx512_vnni", Isa::avx512_vnni);
    add("dotprod", Isa::dotprod);
    add("i8mm", Isa::i8mm);
    if (const Int8Kernels* kernels = evex_vnni()) all.push_back({"avx_vnni by EVEX", *kernels});
    return all;
}

constexpr BlockType kTypes[] = {BlockType::q4_k, BlockType::q5_k, BlockType::q6_k, BlockType::q8_0,
                                BlockType::q4_0};

size_t block_bytes(BlockType type) {
    if (type == BlockType::q4_k) return sizeof(kernels::BlockQ4K);
    if (type == BlockType::q5_k) return sizeof(kernels::BlockQ5K);
    if (type == BlockType::q6_k) return sizeof(kernels::BlockQ6K);
    if (type == BlockType::q8_0) return sizeof(kernels::BlockQ8_0);
    return sizeof(kernels::BlockQ4_0);
}

double half_value(uint16_t bits) {  // normal numbers only
    const double size = std::ldexp(1024 + (bits & 1023), (bits >> 10 & 31) - 25);
    return (bits & 0x8000) != 0 ? -size : size;
}

// Where the scales of a block are, as offsets of float16 numbers.
std::vector<size_t> scales_of(BlockType type) {
    if (type == BlockType::q4_k || type == BlockType::q5_k) return {0, 2};
    if (type == BlockType::q6_k) return {208};
    return {0};
}

// Bytes by chance or all `fill`, with scales near 0.05 of either sign.
std::vector<char> weights(BlockType type, int64_t n_weight, uint64_t seed, int fill) {
    const size_t n_byte = block_bytes(type);
    const auto n_block = static_cast<size_t>(n_weight / block_weights(type));
    std::vector<char> bytes(n_block * n_byte);
    Rng rng{seed, 0};
    for (char& b : bytes) b = static_cast<char>(fill >= 0 ? fill : static_cast<int>(rng.next() & 255));
    for (size_t i = 0; i < n_block; ++i) {
        for (const size_t at : scales_of(type)) {
            const auto d = static_cast<uint16_t>(0x2a00 | (rng.next() & 0x81ff));
            std::memcpy(bytes.data() + i * n_byte + at, &d, 2);
        }
    }
    return bytes;
}

// Weight k of a block, by the definition of its format.
double weight(BlockType type, const char* block, int k) {
    const auto* b = reinterpret_cast<const uint8_t*>(block);
    const auto half = [&](size_t at) {
        uint16_t bits;
        std::memcpy(&bits, b + at, 2);
        return half_value(bits);
    };
    const auto nibble = [](int byte, int high) { return high != 0 ? byte >> 4 : byte & 15; };
    if (type == BlockType::q8_0) return half(0) * static_cast<int8_t>(b[2 + k]);
    if (type == BlockType::q4_0) return half(0) * (nibble(b[2 + k % 16], k / 16) - 8);
    if (type == BlockType::q6_k) {
        const int in_half = k % 128;
        const int low = nibble(b[64 * (k / 128) + in_half % 64], in_half / 64);
        const int high = b[128 + 32 * (k / 128) + k % 32] >> (2 * (in_half / 32)) & 3;
        return half(208) * static_cast<int8_t>(b[192 + k / 16]) * ((low | high << 4) - 32);
    }
    const int sub = k / 32;
    const uint8_t* packed = b + 4;
    int scale = packed[sub % 4] & 63;
    int min = packed[sub % 4 + 4] & 63;
    if (sub >= 4) {
        scale = (packed[sub + 4] & 15) | (packed[sub - 4] >> 6) << 4;
        min = (packed[sub + 4] >> 4) | (packed[sub] >> 6) << 4;
    }
    const size_t nibbles = type == BlockType::q4_k ? 16 : 48;
    int q = nibble(b[nibbles + static_cast<size_t>(32 * (sub / 2) + k % 32)], sub % 2);
    if (type == BlockType::q5_k) q |= (b[16 + k % 32] >> sub & 1) << 4;
    return half(0) * scale * q - half(2) * min;
}

struct Problem {
    BlockType type;
    int64_t n_in;
    int64_t n_out;
    int64_t n;
    int fill = -1;       // of the weights' bytes, or by chance
    size_t row_gap = 0;  // bytes between the rows
};

struct Activations {
    size_t stride;
    std::vector<char> rows;
    std::vector<double> values;  // what the rows stand for
};

// The step of value i of a row.
double step_of(BlockType weights, const char* row, int64_t n_in, int64_t i) {
    if (block_weights(weights) == 32) return BlockRow(row, n_in).scales[i / 32];
    const SuperblockRow parts(row, n_in);
    return std::ldexp(parts.scales[i / 256], parts.exponents[i / 32] >> 23);
}

Activations quantized(const Int8Kernels& k, BlockType weights, const std::vector<float>& x, int64_t n_in) {
    Activations a = {kernels::int8_row_bytes(weights, n_in), {}, {}};
    const size_t n = x.size() / static_cast<size_t>(n_in);
    a.rows.resize(n * a.stride);
    for (size_t t = 0; t < n; ++t) {
        char* row = a.rows.data() + t * a.stride;
        k.quantize(weights)(x.data() + t * static_cast<size_t>(n_in), row, n_in);
        for (int64_t i = 0; i < n_in; ++i) {
            const int value = reinterpret_cast<const int8_t*>(row)[i];
            a.values.push_back(value * step_of(weights, row, n_in, i));
        }
    }
    return a;
}

std::vector<float> random_values(int64_t n, uint64_t seed) {
    Rng rng{seed, 0};
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = static_cast<float>(rng.uniform() * 2 - 1);
    return values;
}

// The largest error of all products, relative to the sizes of what was added up, against double arithmetic on
// the same rounded weights and activations.
double largest_error(const Int8Kernels& k, const Problem& p, const std::vector<float>& x) {
    const int64_t n_block = block_weights(p.type);
    const size_t row_bytes = static_cast<size_t>(p.n_in / n_block) * block_bytes(p.type);
    const size_t stride = row_bytes + p.row_gap;
    const std::vector<char> packed = weights(p.type, p.n_in * p.n_out, 1, p.fill);
    std::vector<char> w(stride * static_cast<size_t>(p.n_out));
    for (size_t row = 0; row < static_cast<size_t>(p.n_out); ++row)
        std::copy_n(packed.data() + row * row_bytes, row_bytes, w.data() + row * stride);
    const Activations a = quantized(k, p.type, x, p.n_in);
    std::vector<float> y(static_cast<size_t>(p.n * p.n_out), 1e30F);
    const kernels::Int8Product product = {.kernels = k,
                                          .type = p.type,
                                          .w = w.data(),
                                          .w_stride = stride,
                                          .has_gaps = p.row_gap != 0,
                                          .n_in = p.n_in,
                                          .n_out = p.n_out,
                                          .x = {a.rows.data(), a.stride, p.n_in},
                                          .n = p.n,
                                          .y = y.data()};
    for (int64_t i = product.n_piece() - 1; i >= 0; --i) product.compute(i, 2);
    const kernels::DotsFunction dots = k.dots == nullptr ? nullptr : k.dots(p.type);
    std::vector<float> single(static_cast<size_t>(dots == nullptr ? 0 : p.n * p.n_out), 1e30F);
    for (int64_t t = 0; t < p.n && dots != nullptr; ++t)
        dots(w.data(), stride, p.n_out, product.x[t], p.n_in, single.data() + t * p.n_out);
    double largest = 0;
    for (int64_t row = 0; row < p.n_out; ++row) {
        const char* first = w.data() + static_cast<size_t>(row) * stride;
        std::vector<double> values;
        for (int64_t i = 0; i < p.n_in; ++i)
            values.push_back(weight(p.type, first + static_cast<size_t>(i / n_block) * block_bytes(p.type),
                                    static_cast<int>(i % n_block)));
        for (int64_t t = 0; t < p.n; ++t) {
            double sum = 0;
            double size = 0;
            for (int64_t i = 0; i < p.n_in; ++i) {
                const double v =
                    values[static_cast<size_t>(i)] * a.values[static_cast<size_t>(t * p.n_in + i)];
                sum += v;
                size += std::abs(v);
            }
            std::vector<double> results = {y[static_cast<size_t>(t * p.n_out + row)]};
            if (dots != nullptr) results.push_back(single[static_cast<size_t>(t * p.n_out + row)]);
            for (const double result : results) {
                const double error = std::abs(result - sum) / (size > 0 ? size : 1);
                largest = std::isnan(error) ? INFINITY : std::max(largest, error);
            }
        }
    }
    return largest;
}

// Sums in float32, of weights that are differences of two parts of up to eight times their size.
constexpr double kTolerance = 4e-6;

}  // namespace

TEST_CASE("integer products of every instruction set agree with double arithmetic for any sizes") {
    for (const auto& [name, k] : all_kernels()) {
        CAPTURE(name);
        for (const BlockType type : kTypes) {
            CAPTURE(static_cast<int>(type));
            for (const int64_t n_in : {256, 512, 1280}) {
                for (const int64_t n_out : {1, 7, 16, 17, 33, 70}) {
                    for (const int64_t n : {1, 2, 3, 5, 8, 13}) {
                        CAPTURE(n_in);
                        CAPTURE(n_out);
                        CAPTURE(n);
                        CHECK(largest_error(k, {type, n_in, n_out, n}, random_values(n_in * n, 2)) <
                              kTolerance);
                    }
                }
            }
        }
        for (const BlockType type : {BlockType::q8_0, BlockType::q4_0}) {
            for (const int64_t n_in : {32, 96, 1120, 2080}) {  // odd numbers of blocks
                CAPTURE(n_in);
                CHECK(largest_error(k, {type, n_in, 40, 9}, random_values(n_in * 9, 3)) < kTolerance);
            }
        }
    }
}

TEST_CASE("the largest weights and activations of every instruction set overflow nothing") {
    for (const auto& [name, k] : all_kernels()) {
        CAPTURE(name);
        for (const BlockType type : kTypes) {
            CAPTURE(static_cast<int>(type));
            for (const int fill : {0x00, 0x7f, 0x80, 0xff}) {
                CAPTURE(fill);
                for (const float sign : {1.0F, -1.0F}) {
                    const std::vector<float> x(512 * 7, sign);
                    CHECK(largest_error(k, {type, 512, 35, 7, fill}, x) < kTolerance);
                }
            }
        }
    }
}

TEST_CASE("rows of weights may lie apart") {
    for (const auto& [name, k] : all_kernels()) {
        CAPTURE(name);
        for (const BlockType type : kTypes)
            CHECK(largest_error(k, {type, 512, 37, 6, -1, 54}, random_values(512 * 6, 4)) < kTolerance);
    }
}

TEST_CASE("activations are rounded to the nearest of 255 steps, and their sums are exact") {
    constexpr int64_t n_in = 96;
    std::vector<float> x = random_values(n_in, 5);
    std::fill_n(x.begin() + 32, 32, 0.0F);
    x[70] = -3.0F;  // the largest of its block is negative
    for (const auto& [name, k] : all_kernels()) {
        CAPTURE(name);
        const Activations a = quantized(k, BlockType::q8_0, x, n_in);
        const BlockRow row(a.rows.data(), n_in);
        CHECK(row.values[70] == -127);
        for (int64_t i = 0; i < n_in; ++i) {
            const double error = std::abs(a.values[static_cast<size_t>(i)] - x[static_cast<size_t>(i)]);
            CHECK(error <= 0.50001 * row.scales[i / 32]);
        }
        for (int64_t block = 0; block < n_in / 32; ++block) {
            int sum = 0;
            for (int64_t i = 0; i < 32; ++i) sum += row.values[block * 32 + i];
            CHECK(row.less8[block] == -8 * sum);
            CHECK(row.less128[block] == -128 * sum);
        }
    }
}

TEST_CASE("a step of activations for 256 weights fits its 32 values, down to an eighth of the largest") {
    constexpr int64_t n_in = 768;
    std::vector<float> x = random_values(n_in, 5);
    std::fill_n(x.begin() + 256, 256, 0.0F);
    // One part for each exponent, an eighth of the largest of all and a size far below it.
    const float sizes[] = {8.0F, -4.1F, 4.0F, 2.1F, -2.0F, 1.1F, 1.0F, 1e-4F};
    for (size_t part = 0; part < 8; ++part) {
        for (size_t i = 0; i < 32; ++i) x[512 + part * 32 + i] = sizes[part] * (i == 7 ? 1.0F : 0.3F);
    }
    const int exponents[] = {3, 3, 2, 2, 1, 1, 0, 0};
    for (const auto& [name, k] : all_kernels()) {
        CAPTURE(name);
        const Activations a = quantized(k, BlockType::q4_k, x, n_in);
        const SuperblockRow row(a.rows.data(), n_in);
        CHECK(row.scales[1] == 0.0F);
        CHECK(row.scales[2] == 8.0F / 1016.0F);
        CHECK(row.values[512 + 7] == 127);
        CHECK(row.values[512 + 32 + 7] == -65);
        for (int64_t part = 0; part < 8; ++part) CHECK(row.exponents[16 + part] == exponents[part] << 23);
        for (int64_t i = 0; i < n_in; ++i) {
            const double error = std::abs(a.values[static_cast<size_t>(i)] - x[static_cast<size_t>(i)]);
            CHECK(error <= 0.50001 * step_of(BlockType::q4_k, a.rows.data(), n_in, i));
        }
        for (int64_t block = 0; block < n_in / 16; ++block) {
            int sum = 0;
            for (int64_t i = 0; i < 16; ++i) sum += row.values[block * 16 + i];
            CHECK(row.less32[block] == -32 * sum);
            if (block % 2 == 0) {
                for (int64_t i = 16; i < 32; ++i) sum += row.values[block * 16 + i];
                CHECK(row.sums[block / 2] == sum << (row.exponents[block / 2] >> 23));
            }
        }
    }
}

TEST_CASE("a value that is no number takes its block along, and an infinite one too") {
    for (const auto& [name, k] : all_kernels()) {
        CAPTURE(name);
        for (const float bad : {std::numeric_limits<float>::quiet_NaN(), INFINITY, -INFINITY}) {
            for (size_t at = 0; at < 256; ++at) {
                std::vector<float> x(512, 0.5F);
                x[at] = bad;
                x[at ^ 16] = 1e30F;  // may be passed over beside what is no number
                const Activations a = quantized(k, BlockType::q8_0, x, 512);
                const BlockRow row(a.rows.data(), 512);
                for (int64_t block = 0; block < 16; ++block) {
                    if (block == static_cast<int64_t>(at) / 32)
                        CHECK(!std::isfinite(row.scales[block]));
                    else
                        CHECK(row.scales[block] == 0.5F / 127.0F);
                }
                const Activations b = quantized(k, BlockType::q4_k, x, 512);
                const SuperblockRow super(b.rows.data(), 512);
                CHECK(!std::isfinite(super.scales[0]));
                CHECK(super.scales[1] == 0.5F / 1016.0F);
                for (int64_t i = 0; i < 512; ++i) {
                    CHECK(row.values[i] >= -127);
                    CHECK(super.values[i] >= -127);
                }
            }
        }
    }
}

TEST_CASE("the kernels in use are those that were asked for") {
    const Isa best = kernels::isa();
    with_each_isa([&](Isa set) {
        CHECK(set <= best);
        CHECK(kernels::isa() == set);
        CHECK(kernels::int8_kernels() == kernels::int8_kernels(set));
        CHECK((kernels::int8_kernels() == nullptr) == (set == Isa::none));
    });
    CHECK(kernels::isa() == best);
}
