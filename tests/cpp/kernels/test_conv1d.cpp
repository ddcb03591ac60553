#include "kernels/conv1d.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "core/graph_runner.h"
#include "core/quantize.h"
#include "kernels/cpu_features.h"

using namespace minicpmo;
using kernels::Conv1dShape;

namespace {

struct Problem {
    ggml_type type = GGML_TYPE_F32;
    int64_t n_in = 1;
    int64_t n_out = 1;
    int n_tap = 1;
    int64_t n = 1;
    Conv1dShape shape;
    int n_threads = 1;
    int64_t step_gap = 0;  // values between the steps of x
};

std::vector<float> random_values(int64_t n, uint64_t seed) {
    Rng rng{seed, 0};
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = static_cast<float>(rng.uniform() * 2 - 1);
    return values;
}

struct Operands {
    std::vector<std::byte> w_bytes;
    std::vector<float> w;  // [n_out][n_tap][n_in], as rounded to the type
    std::vector<float> x;  // [n][n_in + step_gap]
};

Operands make_operands(const Problem& p) {
    Operands operands;
    operands.w_bytes = quantize(p.type, random_values(p.n_tap * p.n_in * p.n_out, 1), p.n_tap * p.n_in, 1);
    operands.w = dequantize(p.type, operands.w_bytes, p.n_tap * p.n_in, 1);
    operands.x = random_values((p.n_in + p.step_gap) * p.n, 2);
    return operands;
}

std::vector<float> run_kernel(const Problem& p, const Operands& operands) {
    Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", p.n_threads}));
    GraphRunner& runner = workspace.runner("test", 16);
    Tensor weight = nullptr;
    int64_t n_y = 0;
    runner.prepare({1}, [&](Graph& g) {
        weight = g.input("w", p.type, {p.n_tap * p.n_in, p.n_out});
        const Tensor whole = g.input("x", GGML_TYPE_F32, {p.n_in + p.step_gap, p.n});
        const Tensor x = ggml_view_2d(g.ctx(), whole, p.n_in, p.n, whole->nb[1], 0);
        REQUIRE(kernels::conv1d_supports(weight, x, p.n_tap));
        const Tensor y = kernels::conv1d(g, weight, x, p.n_tap, p.shape);
        n_y = ggml_nelements(y);
        g.output("y", y);
    });
    ggml_backend_tensor_set(weight, operands.w_bytes.data(), 0, operands.w_bytes.size());
    runner.set("x", operands.x);
    std::vector<float> y(static_cast<size_t>(n_y));
    // The second run starts from memory that the first has written.
    for (int run = 0; run < 2; ++run) runner.compute();
    runner.read("y", y);
    return y;
}

// What the definition says, over an input with its zeros written out.
std::vector<double> convolve(const Problem& p, const Operands& operands) {
    const int64_t n_padded = p.shape.pad_left + p.n + p.shape.pad_right;
    std::vector<double> padded(static_cast<size_t>(n_padded * p.n_in));
    for (int64_t t = 0; t < p.n; ++t) {
        for (int64_t i = 0; i < p.n_in; ++i) {
            padded[static_cast<size_t>((t + p.shape.pad_left) * p.n_in + i)] =
                operands.x[static_cast<size_t>(t * (p.n_in + p.step_gap) + i)];
        }
    }
    std::vector<double> y;
    for (int64_t t = 0; t + p.shape.dilation * (p.n_tap - 1) < n_padded; t += p.shape.stride) {
        for (int64_t o = 0; o < p.n_out; ++o) {
            double sum = 0;
            for (int64_t k = 0; k < p.n_tap; ++k) {
                const double* x = padded.data() + (t + k * p.shape.dilation) * p.n_in;
                const float* w = operands.w.data() + (o * p.n_tap + k) * p.n_in;
                for (int64_t i = 0; i < p.n_in; ++i) sum += x[i] * w[i];
            }
            y.push_back(sum);
        }
    }
    return y;
}

// The largest error against double arithmetic on the same rounded weights, relative to the size such sums
// have.
double largest_error(const Problem& p) {
    const Operands operands = make_operands(p);
    const auto expected = convolve(p, operands);
    const auto y = run_kernel(p, operands);
    REQUIRE(y.size() == expected.size());
    double largest = 0;
    for (size_t i = 0; i < y.size(); ++i) {
        const double error = std::abs(y[i] - expected[i]);
        largest = std::isnan(error) ? INFINITY : std::max(largest, error);
    }
    return largest / std::sqrt(static_cast<double>(p.n_tap * p.n_in));
}

constexpr double kTolerance = 4e-6;  // float32 sums; inputs rounded to half precision would cost 1e-4

}  // namespace

TEST_CASE("convolutions of random sizes agree with the definition in double arithmetic") {
    if (!kernels::has_avx512_vnni()) return;
    Rng rng{7, 0};
    const auto between = [&](int a, int b) {
        return a + std::min(b - a, static_cast<int>(rng.uniform() * (b - a + 1)));
    };
    int n_checked = 0;
    while (n_checked < 600) {
        constexpr ggml_type kTypes[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16};
        const Problem p = {.type = kTypes[n_checked % 3],
                           .n_in = between(1, 100),
                           .n_out = between(1, 120),
                           .n_tap = between(1, 11),
                           .n = between(1, 70),
                           .shape = {between(1, 3), between(1, 5), between(0, 12), between(0, 12)},
                           .n_threads = between(1, 2)};
        if (kernels::conv1d_steps(p.n, p.n_tap, p.shape) == 0) continue;
        ++n_checked;
        CAPTURE(n_checked);
        CHECK(largest_error(p) < kTolerance);
    }
}

TEST_CASE("kernels deeper than a block of the cache add up, wherever its border falls in a tap") {
    if (!kernels::has_avx512_vnni()) return;
    for (const int64_t n_in : {500, 1024, 1153, 2500}) {
        CAPTURE(n_in);
        CHECK(largest_error({GGML_TYPE_F16, n_in, 100, 3, 21, {2, 1, 1, 1}, 2}) <
              2 * kTolerance);  // longer sums, more rounding
    }
}

TEST_CASE("long inputs with few outputs are shared in pieces of time without a gap") {
    if (!kernels::has_avx512_vnni()) return;
    for (const int64_t n : {511, 1024, 2051}) {
        for (const int64_t n_out : {1, 48, 64, 130}) {
            CAPTURE(n);
            CAPTURE(n_out);
            CHECK(largest_error({GGML_TYPE_F32, 9, n_out, 3, n, {1, 3, 6, 0}, 3}) < kTolerance);
        }
    }
}

TEST_CASE("the number of threads does not change a convolution") {
    if (!kernels::has_avx512_vnni()) return;
    Problem p = {GGML_TYPE_F16, 70, 200, 5, 1500, {1, 2, 8, 0}, 1};
    const Operands operands = make_operands(p);
    const auto expected = run_kernel(p, operands);
    for (const int n_threads : {2, 3}) {
        p.n_threads = n_threads;
        CHECK(run_kernel(p, operands) == expected);
    }
}

TEST_CASE("steps that see only padding are zeros") {
    if (!kernels::has_avx512_vnni()) return;
    const Problem p = {GGML_TYPE_F32, 3, 50, 2, 1,
                       {1, 1, 12, 5}, 2};  // steps 0..16, of which 11 and 12 see x
    const auto y = run_kernel(p, make_operands(p));
    REQUIRE(y.size() == 17 * 50);
    for (size_t t = 0; t < 17; ++t) {
        for (size_t o = 0; o < 50; ++o) CHECK((y[t * 50 + o] == 0.0F) == (t != 11 && t != 12));
    }
    // No tap ever meets the input: a stride of 3 steps over it.
    const Problem none = {GGML_TYPE_F32, 3, 5, 1, 1, {3, 1, 1, 4}, 1};
    for (const float v : run_kernel(none, make_operands(none))) CHECK(v == 0.0F);
}

TEST_CASE("a value that is no number reaches the steps that see it and no other") {
    if (!kernels::has_avx512_vnni()) return;
    const Problem p = {GGML_TYPE_F32, 4, 20, 3, 30, {1, 2, 4, 0}, 1};
    Operands operands = make_operands(p);
    operands.x[10 * 4] = std::numeric_limits<float>::quiet_NaN();
    const auto y = run_kernel(p, operands);
    for (size_t t = 0; t < 30; ++t) CHECK(std::isnan(y[t * 20]) == (t == 10 || t == 12 || t == 14));
}

TEST_CASE("steps of the input may lie apart") {
    if (!kernels::has_avx512_vnni()) return;
    CHECK(largest_error({GGML_TYPE_F16, 33, 60, 3, 40, {2, 2, 3, 1}, 2, 5}) < kTolerance);
}

TEST_CASE("steps are counted as torch counts them") {
    CHECK(kernels::conv1d_steps(3000, 3, {2, 1, 1, 1}) == 1500);
    CHECK(kernels::conv1d_steps(7200, 11, {1, 5, 50, 0}) == 7200);
    CHECK(kernels::conv1d_steps(5, 3, {2, 2, 0, 0}) == 1);
    CHECK(kernels::conv1d_steps(4, 3, {2, 2, 0, 0}) == 0);
    CHECK(kernels::conv1d_steps(1, 11, {3, 5, 0, 0}) == 0);
}

TEST_CASE("quantised weights, other taps and inputs of another order are left to ggml") {
    Graph g(16, true);
    const Tensor weight = g.input("w", GGML_TYPE_F16, {3 * 64, 8});
    const Tensor x = g.input("x", GGML_TYPE_F32, {64, 9});
    CHECK(kernels::conv1d_supports(weight, x, 3) == kernels::has_avx512_vnni());
    CHECK(!kernels::conv1d_supports(weight, x, 2));
    CHECK(!kernels::conv1d_supports(g.input("q", GGML_TYPE_Q8_0, {3 * 64, 8}), x, 3));
    CHECK(!kernels::conv1d_supports(weight, g.input("x3", GGML_TYPE_F32, {64, 9, 2}), 3));
    const Tensor time_first = g.input("t", GGML_TYPE_F32, {9, 64});
    CHECK(!kernels::conv1d_supports(weight, ggml_transpose(g.ctx(), time_first), 3));
}
