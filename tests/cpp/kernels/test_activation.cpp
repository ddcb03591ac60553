#include "kernels/activation.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "core/graph_runner.h"

using namespace minicpmo;

namespace {

using Activation = Tensor (*)(Graph&, Tensor);

std::vector<float> run(Activation activation, const std::vector<float>& x, int n_threads) {
    Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", n_threads}));
    GraphRunner& runner = workspace.runner("test", 16);
    runner.prepare({1}, [&](Graph& g) {
        g.output("y", activation(g, g.input("x", GGML_TYPE_F32, {static_cast<int64_t>(x.size())})));
    });
    runner.set("x", x);
    runner.compute();
    std::vector<float> y(x.size());
    runner.read("y", y);
    return y;
}

std::vector<float> grid(double begin, double end, int n) {
    std::vector<float> x;
    for (int i = 0; i <= n; ++i) x.push_back(static_cast<float>(begin + (end - begin) * i / n));
    return x;
}

double exact_gelu(float x) {
    return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
}  // erfc keeps the tail's digits

double exact_gelu_tanh(float x) {
    const double u = std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * std::pow(x, 3));
    return x / (1 + std::exp(-2 * u));
}

}  // namespace

TEST_CASE("gelu with erf is exact to a few units in the last place, down into the tail") {
    const auto x = grid(-13, 13, 2'000'000);
    const auto y = run(kernels::gelu_erf, x, 2);
    double largest = 0;
    double largest_tail = 0;   // relative, where the value itself is next to nothing
    double largest_small = 0;  // absolute, around zero and in the tail
    for (size_t i = 0; i < x.size(); ++i) {
        const double expected = exact_gelu(x[i]);
        const double error = std::abs(y[i] - expected);
        if (std::abs(expected) > 1e-3) largest = std::max(largest, error / std::abs(expected));
        if (x[i] < 0 && x[i] > -12.7F) largest_tail = std::max(largest_tail, error / std::abs(expected));
        if (std::abs(expected) <= 1e-3) largest_small = std::max(largest_small, error);
    }
    CAPTURE(largest);
    CAPTURE(largest_tail);
    // A unit in the last place is up to 1.2e-7; polynomial, quotient, exponential and product round once or
    // twice each.
    CHECK(largest < 5e-7);
    CHECK(largest_tail < 5e-7);
    CHECK(largest_small < 5e-10);
}

TEST_CASE("gelu with erf of small numbers is half of them, and of zero nothing") {
    for (const float x : {1e-30F, -1e-30F, 1e-10F, -1e-10F}) {
        CHECK(run(kernels::gelu_erf, {x}, 1)[0] == doctest::Approx(0.5 * x).epsilon(1e-6));
    }
    CHECK(run(kernels::gelu_erf, {0.0F}, 1)[0] == 0.0F);
}

TEST_CASE("gelu of far numbers is the number or nothing, and no number stays none") {
    const float infinity = std::numeric_limits<float>::infinity();
    for (const float x : {20.0F, 1e10F, 3e38F, infinity}) {
        for (const Activation activation : {kernels::gelu_erf, kernels::gelu_tanh}) {
            CHECK(run(activation, {x}, 1)[0] == x);
            CHECK(std::isnan(run(activation, {std::nanf("")}, 1)[0]));
        }
        if (x != infinity) CHECK(std::abs(run(kernels::gelu_erf, {-x}, 1)[0]) < 1e-30F);
    }
}

TEST_CASE("gelu with tanh agrees with double arithmetic") {
    const auto x = grid(-8, 8, 100'000);
    const auto y = run(kernels::gelu_tanh, x, 1);
    double largest = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        const double expected = exact_gelu_tanh(x[i]);
        if (std::abs(expected) > 1e-3)
            largest = std::max(largest, std::abs(y[i] - expected) / std::abs(expected));
    }
    CHECK(largest < 2e-6);  // the exponential doubles the rounding of its argument, up to 8 here
}

TEST_CASE("the number of threads does not change an activation") {
    const auto x = grid(-5, 5, 1000);
    for (const int n_threads : {2, 3})
        CHECK(run(kernels::gelu_erf, x, n_threads) == run(kernels::gelu_erf, x, 1));
}
