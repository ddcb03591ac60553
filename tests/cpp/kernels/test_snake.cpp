#include "kernels/snake.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "core/graph_runner.h"

using namespace minicpmo;

namespace {

struct Problem {
    int64_t n_feature = 1;
    int64_t n = 1;
    int64_t n_past = 0;
    bool has_bias = false;
    float size = 1.0F;  // of x
    int n_threads = 2;
    std::vector<float> x = {}, alpha = {}, bias = {}, past = {};

    void draw() {
        Rng rng{4, 0};
        const auto fill = [&](std::vector<float>& values, int64_t count, double low, double high) {
            values.resize(static_cast<size_t>(count));
            for (float& v : values) v = static_cast<float>(low + (high - low) * rng.uniform());
        };
        fill(x, n_feature * n, -size, size);
        fill(alpha, n_feature, 0.05, 3.0);
        fill(bias, n_feature, -1.0, 1.0);
        fill(past, n_feature * n_past, -1.0, 1.0);
    }
};

std::vector<float> run(const Problem& p) {
    Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", p.n_threads}));
    GraphRunner& runner = workspace.runner("test", 16);
    runner.prepare({1}, [&](Graph& g) {
        const Tensor x = g.input("x", GGML_TYPE_F32, {p.n_feature, p.n});
        const Tensor alpha = g.input("alpha", GGML_TYPE_F32, {p.n_feature});
        const Tensor bias = p.has_bias ? g.input("bias", GGML_TYPE_F32, {p.n_feature}) : nullptr;
        const Tensor past = p.n_past > 0 ? g.input("past", GGML_TYPE_F32, {p.n_feature, p.n_past}) : nullptr;
        g.output("y", kernels::snake(g, x, bias, alpha, past));
    });
    runner.set("x", p.x);
    runner.set("alpha", p.alpha);
    if (p.has_bias) runner.set("bias", p.bias);
    if (p.n_past > 0) runner.set("past", p.past);
    runner.compute();
    std::vector<float> y(static_cast<size_t>(p.n_feature * (p.n_past + p.n)));
    runner.read("y", y);
    return y;
}

double exact_snake(double x, double alpha) {
    const double sine = std::sin(alpha * x);
    return x + sine * sine / (alpha + 1e-9);
}

}  // namespace

TEST_CASE("snake is exact for small and large angles") {
    for (const float size : {1e-3F, 1.0F, 30.0F, 500.0F, 3000.0F}) {
        CAPTURE(size);
        Problem p{.n_feature = 7, .n = 20'000, .size = size};
        p.draw();
        const auto y = run(p);
        double largest = 0;  // of the squared sine, beyond what rounding the angle and the sum explains
        for (size_t i = 0; i < y.size(); ++i) {
            const float alpha = p.alpha[i % 7];
            const double angle = static_cast<double>(alpha * p.x[i]);
            const double squared = std::pow(std::sin(angle), 2);
            const double rounding = std::abs(p.x[i]) * 6e-8;
            const double expected = p.x[i] + squared / (double{alpha} + 1e-9);
            largest = std::max(largest, (std::abs(y[i] - expected) - rounding) * alpha);
        }
        CHECK(largest < 1e-6);
    }
}

TEST_CASE("snake takes a bias in and stands behind the past") {
    for (const bool has_bias : {false, true}) {
        for (const int64_t n_past : {0, 5}) {
            for (const int n_threads : {1, 3}) {
                CAPTURE(has_bias);
                CAPTURE(n_past);
                CAPTURE(n_threads);
                Problem p{
                    .n_feature = 19, .n = 11, .n_past = n_past, .has_bias = has_bias, .n_threads = n_threads};
                p.draw();
                const auto y = run(p);
                const size_t n_before = p.past.size();
                CHECK(std::equal(p.past.begin(), p.past.end(), y.begin()));
                for (size_t i = 0; i < p.x.size(); ++i) {
                    const double x = p.x[i] + (has_bias ? p.bias[i % 19] : 0.0F);
                    REQUIRE(y[n_before + i] ==
                            doctest::Approx(exact_snake(x, p.alpha[i % 19])).epsilon(1e-6));
                }
            }
        }
    }
}

TEST_CASE("two tensors and a bias are added up") {
    Problem p{.n_feature = 5, .n = 9};
    p.draw();
    Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", 2}));
    GraphRunner& runner = workspace.runner("test", 16);
    runner.prepare({1}, [&](Graph& g) {
        const Tensor x = g.input("x", GGML_TYPE_F32, {5, 9});
        const Tensor y = ggml_scale(g.ctx(), x, 2.0F);
        g.output("sum", kernels::add_biased(g, x, y, g.input("bias", GGML_TYPE_F32, {5})));
    });
    runner.set("x", p.x);
    runner.set("bias", p.bias);
    runner.compute();
    std::vector<float> sum(p.x.size());
    runner.read("sum", sum);
    for (size_t i = 0; i < sum.size(); ++i) CHECK(sum[i] == doctest::Approx(3 * p.x[i] + p.bias[i % 5]));
}
