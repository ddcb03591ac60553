#include "kernels/gemm_float.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "core/graph_runner.h"
#include "core/quantize.h"
#include "kernels/cpu_features.h"

using namespace minicpmo;

namespace {

struct Problem {
    ggml_type type = GGML_TYPE_F32;
    int64_t n_in = 1;
    int64_t n_out = 1;
    int64_t n = 1;
    int n_threads = 1;
    int64_t row_gap = 0;  // values between the rows of w
};

std::vector<float> random_values(int64_t n, uint64_t seed) {
    Rng rng{seed, 0};
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = static_cast<float>(rng.uniform() * 2 - 1);
    return values;
}

double dot(const float* a, const float* b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
    return sum;
}

// The largest error against double arithmetic on the same rounded weights, relative to the size such sums
// have.
double largest_error(const Problem& p) {
    const int64_t n_stride = p.n_in + p.row_gap;
    const auto bytes = quantize(p.type, random_values(n_stride * p.n_out, 1), n_stride, 1);
    const auto w = dequantize(p.type, bytes, n_stride, 1);
    const auto x = random_values(p.n_in * p.n, 2);

    Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", p.n_threads}));
    GraphRunner& runner = workspace.runner("test", 64);
    Tensor weight = nullptr;
    runner.prepare({1}, [&](Graph& g) {
        weight = g.input("w", p.type, {n_stride, p.n_out});
        const Tensor rows = ggml_view_2d(g.ctx(), weight, p.n_in, p.n_out, weight->nb[1], 0);
        const Tensor tokens = g.input("x", GGML_TYPE_F32, {p.n_in, p.n});
        REQUIRE(kernels::gemm_float_supports(rows, tokens));
        g.output("y", kernels::gemm_float(g, rows, tokens));
    });
    ggml_backend_tensor_set(weight, bytes.data(), 0, bytes.size());
    runner.set("x", x);
    runner.compute();
    std::vector<float> y(static_cast<size_t>(p.n_out * p.n));
    runner.read("y", y);

    double largest = 0;
    for (int64_t t = 0; t < p.n; ++t) {
        for (int64_t row = 0; row < p.n_out; ++row) {
            const double expected = dot(w.data() + row * n_stride, x.data() + t * p.n_in, p.n_in);
            const double error = std::abs(y[static_cast<size_t>(t * p.n_out + row)] - expected);
            largest = std::isnan(error) ? INFINITY : std::max(largest, error);
        }
    }
    return largest / std::sqrt(static_cast<double>(p.n_in));
}

constexpr double kTolerance = 4e-6;  // float32 sums; tokens rounded to half precision would cost 1e-4

}  // namespace

TEST_CASE("float products agree with double arithmetic for any sizes and threads") {
    if (!kernels::has_avx512_vnni()) return;
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}) {
        CAPTURE(std::string(ggml_type_name(type)));
        for (const int64_t n_in : {1, 15, 72, 513, 1153}) {
            for (const int64_t n_out : {1, 16, 47, 48, 49, 210}) {
                for (const int64_t n : {1, 2, 7, 8, 21}) {
                    CAPTURE(n_in);
                    CAPTURE(n_out);
                    CAPTURE(n);
                    const int n_threads = 1 + static_cast<int>((n_in + n_out + n) % 3);
                    CHECK(largest_error({type, n_in, n_out, n, n_threads}) < kTolerance);
                }
            }
        }
    }
}

TEST_CASE("products deeper than a block of the cache add up") {
    if (!kernels::has_avx512_vnni()) return;
    for (const int64_t n_in : {2304, 2305, 4304}) {
        CAPTURE(n_in);
        CHECK(largest_error({GGML_TYPE_F16, n_in, 100, 9, 2}) <
              2 * kTolerance);  // longer sums, more rounding
    }
}

TEST_CASE("every number of tokens in a tile agrees with double arithmetic") {
    if (!kernels::has_avx512_vnni()) return;
    for (int64_t n = 1; n <= 17; ++n) {
        for (const int64_t n_out : {5, 20, 40}) {
            CAPTURE(n);
            CAPTURE(n_out);
            CHECK(largest_error({GGML_TYPE_F16, 40, n_out, n, 1}) < kTolerance);
        }
    }
}

TEST_CASE("rows of weights may lie apart") {
    if (!kernels::has_avx512_vnni()) return;
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}) {
        CHECK(largest_error({type, 70, 50, 9, 2, 5}) < kTolerance);
    }
}

TEST_CASE("more threads than rows share them without a gap") {
    if (!kernels::has_avx512_vnni()) return;
    for (const int64_t n_out : {1, 17, 33})
        CHECK(largest_error({GGML_TYPE_F32, 30, n_out, 10, 5}) < kTolerance);
}

TEST_CASE("tokens of several sequences keep their shape") {
    if (!kernels::has_avx512_vnni()) return;
    const auto w = random_values(12 * 20, 3);
    const auto x = random_values(12 * 5 * 3 * 2, 4);
    Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", 2}));
    GraphRunner& runner = workspace.runner("test", 64);
    runner.prepare({1}, [&](Graph& g) {
        const Tensor weight = g.input("w", GGML_TYPE_F32, {12, 20});
        const Tensor y = kernels::gemm_float(g, weight, g.input("x", GGML_TYPE_F32, {12, 5, 3, 2}));
        CHECK(y->ne[0] == 20);
        CHECK(y->ne[1] == 5);
        CHECK(y->ne[2] == 3);
        CHECK(y->ne[3] == 2);
        g.output("y", y);
    });
    runner.set("w", w);
    runner.set("x", x);
    runner.compute();
    std::vector<float> y(20 * 5 * 3 * 2);
    runner.read("y", y);
    for (int64_t t = 0; t < 30; ++t) {
        for (int64_t row = 0; row < 20; ++row) {
            const double expected = dot(w.data() + row * 12, x.data() + t * 12, 12);
            CHECK(std::abs(y[static_cast<size_t>(t * 20 + row)] - expected) < kTolerance * 4);
        }
    }
}

TEST_CASE("quantised weights and strided tokens are left to others") {
    Graph g(16, true);
    const Tensor quantised = g.input("q", GGML_TYPE_Q8_0, {64, 8});
    const Tensor weight = g.input("w", GGML_TYPE_F32, {64, 8});
    const Tensor x = g.input("x", GGML_TYPE_F32, {64, 9});
    CHECK(!kernels::gemm_float_supports(quantised, x));
    CHECK(
        !kernels::gemm_float_supports(weight, ggml_transpose(g.ctx(), g.input("t", GGML_TYPE_F32, {9, 64}))));
    CHECK(kernels::gemm_float_supports(weight, x) == kernels::has_avx512_vnni());
}
