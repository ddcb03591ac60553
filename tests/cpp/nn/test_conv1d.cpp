#include "nn/conv1d.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "core/built_gguf.h"
#include "core/graph_runner.h"
#include "core/quantize.h"

using namespace minicpmo;

namespace {

struct Problem {
    ggml_type type = GGML_TYPE_F32;
    int64_t n_in = 1;
    int64_t n_out = 1;
    int n_tap = 1;
    int64_t n = 1;
    nn::Conv1dShape shape;
};

using Convolution = Tensor (*)(Graph&, const nn::Conv1d&, Tensor, const nn::Conv1dShape&);

std::vector<float> random_values(int64_t n, uint64_t seed) {
    Rng rng{seed, 0};
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = static_cast<float>(rng.uniform() * 2 - 1);
    return values;
}

std::vector<float> run(Convolution convolution, const Problem& p, bool has_bias = true) {
    Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", 2}));
    GraphRunner& runner = workspace.runner("test", 64);
    nn::Conv1d layer;
    int64_t n_y = 0;
    runner.prepare({1}, [&](Graph& g) {
        layer = {{g.input("w", p.type, {p.n_tap * p.n_in, p.n_out}), nullptr}, p.n_tap};
        if (has_bias) layer.kernel.bias = g.input("bias", GGML_TYPE_F32, {p.n_out});
        const Tensor y = convolution(g, layer, g.input("x", GGML_TYPE_F32, {p.n_in, p.n}), p.shape);
        n_y = ggml_nelements(y);
        g.output("y", y);
    });
    const auto bytes = quantize(p.type, random_values(p.n_tap * p.n_in * p.n_out, 1), p.n_tap * p.n_in, 1);
    ggml_backend_tensor_set(layer.kernel.weight, bytes.data(), 0, bytes.size());
    runner.set("x", random_values(p.n_in * p.n, 2));
    if (has_bias) runner.set("bias", random_values(p.n_out, 3));
    runner.compute();
    std::vector<float> y(static_cast<size_t>(n_y));
    runner.read("y", y);
    return y;
}

// Between the kernel and ggml's operations, relative to the size such sums have.
double largest_difference(const Problem& p) {
    const auto kernel = run(nn::conv1d, p);
    const auto unfolded = run(nn::conv1d_unfolded, p);
    REQUIRE(kernel.size() == unfolded.size());
    double largest = 0;
    for (size_t i = 0; i < kernel.size(); ++i) {
        const double difference = std::abs(static_cast<double>(kernel[i]) - unfolded[i]);
        largest = std::isnan(difference) ? INFINITY : std::max(largest, difference);
    }
    return largest / std::sqrt(static_cast<double>(p.n_tap * p.n_in));
}

std::string refusal_of(const Problem& p, int64_t n_in) {
    Graph g(64, true);
    const nn::Conv1d layer = {{g.input("w", p.type, {p.n_tap * p.n_in, p.n_out}), nullptr}, p.n_tap};
    for (const Convolution convolution : {nn::conv1d, nn::conv1d_unfolded}) {
        try {
            convolution(g, layer, g.input("x", GGML_TYPE_F32, {n_in, p.n}), p.shape);
            return "";
        } catch (const Error& error) {
            if (convolution == nn::conv1d_unfolded) return error.what();
        }
    }
    return "";
}

BuilderTensor zeros(const std::string& name, std::vector<uint64_t> dims) {
    size_t n = 4;
    for (const uint64_t extent : dims) n *= extent;
    return {.name = name, .dims = std::move(dims), .data = std::string(n, '\0')};
}

}  // namespace

TEST_CASE("a convolution unfolded into columns is the convolution") {
    // Float32 sums in another order; ggml rounds products of fewer than four columns to the weights' type,
    // which costs a unit of 2^-11 (F16) or 2^-8 (BF16) of each input.
    Rng rng{11, 0};
    const auto between = [&](int a, int b) {
        return a + std::min(b - a, static_cast<int>(rng.uniform() * (b - a + 1)));
    };
    int n_checked = 0;
    while (n_checked < 200) {
        constexpr ggml_type kTypes[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16};
        const Problem p = {.type = kTypes[n_checked % 3],
                           .n_in = between(1, 40),
                           .n_out = between(1, 60),
                           .n_tap = between(1, 11),
                           .n = between(1, 70),
                           .shape = {between(1, 3), between(1, 5), between(0, 12), between(0, 12)}};
        const int64_t n_step = kernels::conv1d_steps(p.n, p.n_tap, p.shape);
        if (n_step == 0 || (n_step < 4 && p.type != GGML_TYPE_F32)) continue;
        ++n_checked;
        CAPTURE(n_checked);
        CHECK(largest_difference(p) < 4e-6);
    }
    CHECK(largest_difference({GGML_TYPE_F16, 30, 20, 3, 3, {1, 1, 2, 0}}) < 2e-3);
}

TEST_CASE("quantised kernels take the way through columns") {
    const Problem p = {GGML_TYPE_Q8_0, 32, 48, 3, 20, {2, 1, 1, 1}};
    CHECK(run(nn::conv1d, p) == run(nn::conv1d_unfolded, p));
}

TEST_CASE("the bias is added to every step") {
    const Problem p = {GGML_TYPE_F32, 5, 7, 3, 9, {1, 1, 2, 0}};
    const auto bias = random_values(p.n_out, 3);
    for (const Convolution convolution : {nn::conv1d, nn::conv1d_unfolded}) {
        const auto with = run(convolution, p, true);
        const auto without = run(convolution, p, false);
        for (size_t i = 0; i < with.size(); ++i) CHECK(with[i] == without[i] + bias[i % bias.size()]);
    }
}

TEST_CASE("a convolution that fits nowhere or has another width is refused with the numbers") {
    const Problem p = {GGML_TYPE_F32, 5, 7, 3, 4, {1, 2, 0, 0}};
    check_contains(refusal_of(p, 5), {"[conv1d] expected room for 3 taps 2 apart, got 4 steps"});
    check_contains(refusal_of(p, 6), {"[conv1d] expected an input [5, n], got [6, 4"});
    check_contains(refusal_of({GGML_TYPE_F32, 5, 7, 3, 4, {0, 1, 0, 0}}, 5),
                   {"a positive stride", "got 0, 1, 0, 0"});
    check_contains(refusal_of({GGML_TYPE_F32, 5, 7, 3, 4, {1, 1, -1, 9}}, 5), {"no negative padding"});
    CHECK(refusal_of({GGML_TYPE_F32, 5, 7, 3, 4, {1, 2, 1, 0}}, 5).empty());
}

TEST_CASE("a convolution is bound by the shape of its kernel") {
    GgufBuilder builder;
    builder.tensor(zeros("conv.weight", {15, 7})).tensor(zeros("conv.bias", {7}));
    const Backend cpu({.device = "cpu", .n_threads = 1});
    Weights weights(std::make_shared<const GgufFile>(open_built(builder)), cpu);
    const auto scope = weights.root() / "conv";
    const nn::Conv1d layer = nn::bind_conv1d(scope, 5, 7, 3);
    CHECK(layer.n_tap == 3);
    CHECK(layer.kernel.weight->ne[0] == 15);
    CHECK(layer.kernel.bias != nullptr);
    CHECK(nn::bind_conv1d(scope, 5, 7, 3, nn::Bias::no).kernel.bias == nullptr);
    CHECK_THROWS_AS(nn::bind_conv1d(scope, 5, 7, 4), ModelFileError);
}
