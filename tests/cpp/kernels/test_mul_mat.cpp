#include "kernels/mul_mat.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>

#include "base/rng.h"
#include "core/graph_runner.h"
#include "core/quantize.h"
#include "kernels/each_isa.h"
#include "kernels/gemm_int8.h"

using namespace minicpmo;

namespace {

std::vector<float> random_values(size_t n, uint64_t seed) {
    Rng rng{seed, 0};
    std::vector<float> values(n);
    for (float& v : values) v = static_cast<float>(rng.uniform() * 2 - 1);
    return values;
}

// L2 error of the product, relative to the size such sums have, against double arithmetic on the
// dequantised weights.
double error_of_product(ggml_type type, int64_t n_in, int64_t n_out, int64_t n, int n_threads) {
    const auto blocks = quantize(type, random_values(static_cast<size_t>(n_in * n_out), 1), n_in, 1);
    const auto w = dequantize(type, blocks, n_in, 1);
    const auto x = random_values(static_cast<size_t>(n_in * n), 2);

    Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", n_threads}));
    GraphRunner& runner = workspace.runner("test", 64);
    Tensor weight = nullptr;
    runner.prepare({1}, [&](Graph& g) {
        weight = g.input("w", type, {n_in, n_out});
        g.output("y", kernels::mul_mat(g, weight, g.input("x", GGML_TYPE_F32, {n_in, n})));
    });
    ggml_backend_tensor_set(weight, blocks.data(), 0, blocks.size());
    runner.set("x", x);
    runner.compute();
    std::vector<float> y(static_cast<size_t>(n_out * n));
    runner.read("y", y);

    double difference = 0;
    double reference = 0;
    for (int64_t t = 0; t < n; ++t) {
        for (int64_t row = 0; row < n_out; ++row) {
            double sum = 0;
            double w_squares = 0;
            double x_squares = 0;
            for (int64_t k = 0; k < n_in; ++k) {
                const double a = w[static_cast<size_t>(row * n_in + k)];
                const double b = x[static_cast<size_t>(t * n_in + k)];
                sum += a * b;
                w_squares += a * a;
                x_squares += b * b;
            }
            difference += std::pow(y[static_cast<size_t>(t * n_out + row)] - sum, 2);
            reference += w_squares * x_squares / static_cast<double>(n_in);  // the square of a typical sum
        }
    }
    return std::sqrt(difference / reference);
}

// 32 products with a value that is no number; empty where ggml computes them, whose own rounding of
// activations passes over it.
std::vector<float> products_of_nan(int64_t n) {
    std::vector<float> x(static_cast<size_t>(256 * n), 0.5F);
    x[3] = std::numeric_limits<float>::quiet_NaN();
    const auto blocks = quantize(GGML_TYPE_Q4_K, random_values(256 * 32, 1), 256, 1);
    Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", 2}));
    GraphRunner& runner = workspace.runner("test", 64);
    Tensor weight = nullptr;
    bool is_ours = false;
    runner.prepare({n}, [&](Graph& g) {
        weight = g.input("w", GGML_TYPE_Q4_K, {256, 32});
        const Tensor tokens = g.input("x", GGML_TYPE_F32, {256, n});
        is_ours = kernels::gemv_int8_supports(weight, tokens) || kernels::gemm_int8_supports(weight, tokens);
        g.output("y", kernels::mul_mat(g, weight, tokens));
    });
    if (!is_ours) return {};
    ggml_backend_tensor_set(weight, blocks.data(), 0, blocks.size());
    runner.set("x", x);
    runner.compute();
    std::vector<float> y(static_cast<size_t>(32 * n));
    runner.read("y", y);
    y.resize(32);
    return y;
}

}  // namespace

TEST_CASE("products of quantised weights are within the rounding of 8-bit activations") {
    // Uniform values in [-1, 1], of mean square 1/3, in steps of 1/127 carry an error of
    // 1 / 127 / sqrt(12) * sqrt(3) = 0.004.
    constexpr double kTolerance = 0.006;
    with_each_isa([&](kernels::Isa) {
        for (const ggml_type type :
             {GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0}) {
            CAPTURE(std::string(ggml_type_name(type)));
            for (const int64_t n_in : {256, 1536}) {
                for (const int64_t n_out : {1, 15, 64, 83}) {
                    for (const int64_t n : {1, 2, 6, 7, 13}) {
                        CAPTURE(n_in);
                        CAPTURE(n_out);
                        CAPTURE(n);
                        CHECK(error_of_product(type, n_in, n_out, n, 2) < kTolerance);
                    }
                }
            }
        }
        CHECK(error_of_product(GGML_TYPE_Q8_0, 1120, 40, 1, 2) < kTolerance);  // an odd number of blocks
        CHECK(error_of_product(GGML_TYPE_Q8_0, 1120, 40, 9, 2) <
              kTolerance);  // a row that is no multiple of 64
        CHECK(error_of_product(GGML_TYPE_Q8_0, 1152, 100, 37, 2) <
              kTolerance);  // a row of the real vision tower
        CHECK(error_of_product(GGML_TYPE_Q4_0, 96, 40, 9, 3) < kTolerance);
    });
}

TEST_CASE("the number of threads does not change a product") {
    with_each_isa([](kernels::Isa) {
        for (const int n_threads : {1, 2, 3}) {
            CHECK(error_of_product(GGML_TYPE_Q4_K, 512, 67, 5, n_threads) ==
                  doctest::Approx(error_of_product(GGML_TYPE_Q4_K, 512, 67, 5, 1)));
        }
    });
}

TEST_CASE("a value that is no number makes its products no numbers") {
    with_each_isa([](kernels::Isa) {
        for (const int64_t n : {1, 7})
            for (const float y : products_of_nan(n)) CHECK(std::isnan(y));
    });
}

TEST_CASE("a graph that runs again gives the same product") {
    with_each_isa([](kernels::Isa) {
        const auto blocks = quantize(GGML_TYPE_Q6_K, random_values(512 * 100, 1), 512, 1);
        Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", 3}));
        GraphRunner& runner = workspace.runner("test", 64);
        for (const int64_t n : {1, 5}) {
            Tensor weight = nullptr;
            runner.prepare({n}, [&](Graph& g) {
                weight = g.input("w", GGML_TYPE_Q6_K, {512, 100});
                g.output("y", kernels::mul_mat(g, weight, g.input("x", GGML_TYPE_F32, {512, n})));
            });
            std::vector<float> first;
            for (int run = 0; run < 20; ++run) {
                ggml_backend_tensor_set(weight, blocks.data(), 0, blocks.size());
                runner.set("x", random_values(static_cast<size_t>(512 * n), 2));
                runner.compute();
                std::vector<float> y(static_cast<size_t>(100 * n));
                runner.read("y", y);
                if (run == 0) first = y;
                CHECK(y == first);
            }
        }
    });
}
