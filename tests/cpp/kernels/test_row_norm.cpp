#include "kernels/row_norm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "core/graph_runner.h"

using namespace minicpmo;

namespace {

std::vector<float> random_values(int64_t n, uint64_t seed, float middle = 0.0F, float range = 1.0F) {
    Rng rng{seed, 0};
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = middle + range * (static_cast<float>(rng.uniform()) * 2 - 1);
    return values;
}

struct Problem {
    int64_t n = 64;
    int64_t n_row = 7;
    int64_t n_turn = 1;  // rows after which the vectors begin anew
    int64_t n_context = 0;
    bool has_vectors = true;
    bool mish = false;
    float eps = 1e-5F;
};

std::vector<float> expected_rows(const Problem& p, const std::vector<float>& x,
                                 const std::vector<float>& bias, const std::vector<float>& weight,
                                 const std::vector<float>& shift, std::vector<float> y) {
    const auto n = static_cast<size_t>(p.n);
    for (size_t row = 0; row < static_cast<size_t>(p.n_row); ++row) {
        const auto part = [&](const std::vector<float>& all, size_t i) {
            return static_cast<double>(all[(row * n + i) % all.size()]);
        };
        const auto value = [&](size_t i) {
            return static_cast<double>(x[row * n + i]) + (p.has_vectors ? part(bias, i) : 0.0);
        };
        double mean = 0.0;
        for (size_t i = 0; i < n; ++i) mean += value(i) / static_cast<double>(n);
        double variance = 0.0;
        for (size_t i = 0; i < n; ++i) variance += std::pow(value(i) - mean, 2) / static_cast<double>(n);
        for (size_t i = 0; i < n; ++i) {
            double v = (value(i) - mean) / std::sqrt(variance + static_cast<double>(p.eps));
            if (p.has_vectors) v = v * part(weight, i) + part(shift, i);
            if (p.mish) v *= std::tanh(std::log1p(std::exp(v)));
            y.push_back(static_cast<float>(v));
        }
    }
    return y;
}

double largest_error(const Problem& p, bool on_cpu, int n_threads) {
    const std::vector<float> x = random_values(p.n * p.n_row, 1, 3.0F, 5.0F);
    const std::vector<float> bias = random_values(p.n * p.n_turn, 2);
    const std::vector<float> weight = random_values(p.n * p.n_turn, 3, 0.0F, 4.0F);
    const std::vector<float> shift = random_values(p.n * p.n_turn, 4, 0.0F, 8.0F);
    const std::vector<float> context = random_values(p.n * p.n_context, 5);
    const Backend backend({"cpu", n_threads});
    const std::vector<ggml_backend_ptr> handles = backend.make_handles();
    GraphRunner runner(handles, 32, on_cpu);
    runner.prepare({1}, [&](Graph& g) {
        const auto vector = [&](const char* name) { return g.input(name, GGML_TYPE_F32, {p.n * p.n_turn}); };
        kernels::RowNorm norm{.eps = p.eps, .mish = p.mish};
        if (p.has_vectors) {
            norm.bias = vector("bias");
            norm.weight = vector("weight");
            norm.shift = vector("shift");
        }
        if (p.n_context > 0) norm.context = g.input("context", GGML_TYPE_F32, {p.n, p.n_context});
        g.output("y", kernels::row_norm(g, g.input("x", GGML_TYPE_F32, {p.n, p.n_row}), norm));
    });
    runner.set("x", x);
    if (p.has_vectors) {
        runner.set("bias", bias);
        runner.set("weight", weight);
        runner.set("shift", shift);
    }
    if (p.n_context > 0) runner.set("context", context);
    runner.compute();
    const std::vector<float> expected = expected_rows(p, x, bias, weight, shift, context);
    std::vector<float> y(expected.size());
    runner.read("y", y);
    double largest = 0.0;
    for (size_t i = 0; i < y.size(); ++i) {
        const double error = std::abs(static_cast<double>(y[i]) - static_cast<double>(expected[i]));
        largest = std::isnan(error) ? INFINITY : std::max(largest, error);
    }
    return largest;
}

constexpr double kTolerance = 1e-5;  // values up to about 15

}  // namespace

TEST_CASE("rows of any length are normalised, by the kernel and by ggml's operations") {
    for (const bool on_cpu : {true, false}) {
        CAPTURE(on_cpu);
        for (const int64_t n : {2, 5, 31, 32, 33, 64, 100, 512}) {
            CAPTURE(n);
            CHECK(largest_error({.n = n}, on_cpu, 2) < kTolerance);
            CHECK(largest_error({.n = n, .has_vectors = false}, on_cpu, 3) < kTolerance);
        }
    }
}

TEST_CASE("a row takes its turn of longer vectors") {
    for (const bool on_cpu : {true, false})
        CHECK(largest_error({.n = 24, .n_row = 21, .n_turn = 3}, on_cpu, 2) < kTolerance);
}

TEST_CASE("mish follows, and a context stands in front untouched") {
    for (const bool on_cpu : {true, false}) {
        CHECK(largest_error({.n = 48, .mish = true}, on_cpu, 2) < kTolerance);
        CHECK(largest_error({.n = 48, .n_row = 1, .n_context = 4, .mish = true}, on_cpu, 3) < kTolerance);
    }
}

TEST_CASE("an epsilon of 1e-12 leaves a small row as large as any other") {
    const Problem p{.n = 32, .n_row = 1, .has_vectors = false, .eps = 1e-12F};
    CHECK(largest_error(p, true, 1) < kTolerance);
}

TEST_CASE("a gated branch is added where it belongs, with its bias and without") {
    for (const bool on_cpu : {true, false}) {
        for (const bool has_bias : {true, false}) {
            const int64_t n = 40;
            const int64_t n_row = 9;
            const Backend backend({"cpu", 2});
            const std::vector<ggml_backend_ptr> handles = backend.make_handles();
            GraphRunner runner(handles, 32, on_cpu);
            const std::vector<float> x = random_values(n * n_row, 1);
            const std::vector<float> y = random_values(n * n_row, 2);
            const std::vector<float> gate = random_values(n, 3);
            const std::vector<float> bias = random_values(n, 4);
            runner.prepare({1}, [&](Graph& g) {
                const Tensor rows = ggml_scale(g.ctx(), g.input("x", GGML_TYPE_F32, {n, n_row}), 1.0F);
                g.output("sum", kernels::gated_add(g, rows, g.input("y", GGML_TYPE_F32, {n, n_row}),
                                                   has_bias ? g.input("bias", GGML_TYPE_F32, {n}) : nullptr,
                                                   g.input("gate", GGML_TYPE_F32, {n})));
            });
            runner.set("x", x);
            runner.set("y", y);
            runner.set("gate", gate);
            if (has_bias) runner.set("bias", bias);
            runner.compute();
            std::vector<float> sum(x.size());
            runner.read("sum", sum);
            for (size_t i = 0; i < sum.size(); ++i) {
                const size_t j = i % static_cast<size_t>(n);
                CHECK(sum[i] ==
                      doctest::Approx(x[i] + gate[j] * (y[i] + (has_bias ? bias[j] : 0.0F))).epsilon(1e-6));
            }
        }
    }
}
