#include "nn/mlp.h"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "core/graph_runner.h"

using namespace minicpmo;

namespace {

// The block with one feature and weights of one: its GELU.
float gelu_of(float x, nn::Gelu form) {
    Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", 1}));
    GraphRunner& runner = workspace.runner("test", 16);
    runner.prepare({1}, [&](Graph& g) {
        const Tensor one = g.input("one", GGML_TYPE_F32, {1, 1});
        const nn::Mlp mlp = {{one, nullptr}, {one, nullptr}};
        g.output("y", nn::mlp_gelu(g, mlp, g.input("x", GGML_TYPE_F32, {1, 1}), form));
    });
    runner.set("one", std::vector<float>{1.0F});
    runner.set("x", std::vector<float>{x});
    runner.compute();
    std::vector<float> y(1);
    runner.read("y", y);
    return y[0];
}

}  // namespace

TEST_CASE("the plain block takes the form of GELU that it is asked for") {
    // At -2 the forms are 1e-4 apart: -0.0454023 and -0.0455003.
    CHECK(std::abs(gelu_of(-2.0F, nn::Gelu::tanh) + 0.0454023F) < 1e-6F);
    CHECK(std::abs(gelu_of(-2.0F, nn::Gelu::erf) + 0.0455003F) < 1e-6F);
}
