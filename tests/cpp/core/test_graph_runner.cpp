#include "core/graph_runner.h"

#include <doctest/doctest.h>

#include "base/error.h"

using namespace minicpmo;

namespace {

std::shared_ptr<const Backend> cpu() {
    return std::make_shared<const Backend>(BackendOptions{.device = "cpu", .n_threads = 1});
}

// sum = a + b over n values; counts how often it is built.
struct Adder {
    GraphRunner& runner;
    int n_build = 0;

    void prepare(int64_t n) {
        runner.prepare({n}, [&](Graph& g) {
            ++n_build;
            const Tensor a = g.input("a", GGML_TYPE_F32, {n});
            const Tensor b = g.input("b", GGML_TYPE_F32, {n});
            g.output("sum", ggml_add(g.ctx(), a, b));
        });
    }
    std::vector<float> run(const std::vector<float>& a, const std::vector<float>& b) {
        prepare(static_cast<int64_t>(a.size()));
        runner.set("a", a);
        runner.set("b", b);
        runner.compute();
        std::vector<float> sum(a.size());
        runner.read("sum", sum);
        return sum;
    }
};

}  // namespace

TEST_CASE("a graph is built once per key and computes with fresh inputs") {
    Workspace workspace(cpu());
    Adder adder{workspace.runner("adder", 8)};
    CHECK(adder.run({1, 2}, {10, 20}) == std::vector<float>{11, 22});
    CHECK(adder.run({3, 4}, {10, 20}) == std::vector<float>{13, 24});
    CHECK(adder.n_build == 1);
    CHECK(adder.run({1}, {2}) == std::vector<float>{3});
    CHECK(adder.n_build == 2);
    CHECK(adder.run({3, 4}, {10, 20}) == std::vector<float>{13, 24});
    CHECK(adder.n_build == 3);
}

TEST_CASE("a build that throws leaves no graph behind") {
    Workspace workspace(cpu());
    Adder adder{workspace.runner("adder", 8)};
    CHECK(adder.run({1}, {2}) == std::vector<float>{3});
    CHECK_THROWS_AS(adder.runner.prepare({7}, [](Graph&) { fail<Error>("no"); }), Error);
    CHECK(adder.run({1}, {4}) == std::vector<float>{5});
    CHECK(adder.n_build == 2);
}

TEST_CASE("unknown names and wrong sizes are refused") {
    Workspace workspace(cpu());
    Adder adder{workspace.runner("adder", 8)};
    adder.run({1, 2}, {3, 4});
    const std::vector<float> three(3);
    std::vector<float> out(3);
    CHECK_THROWS_AS(adder.runner.set("a", three), Error);
    CHECK_THROWS_AS(adder.runner.set("c", three), Error);
    CHECK_THROWS_AS(adder.runner.read("sum", out), Error);
    CHECK_THROWS_AS(adder.runner.read("total", out), Error);
}

TEST_CASE("an interrupted graph throws and can be run again") {
    Workspace workspace(cpu());
    Adder adder{workspace.runner("adder", 8)};
    workspace.interrupt();
    CHECK(workspace.is_interrupted());
    CHECK_THROWS_AS(adder.run({1, 2}, {3, 4}), InterruptedError);
    workspace.clear_interrupt();
    CHECK(adder.run({1, 2}, {3, 4}) == std::vector<float>{4, 6});
}

TEST_CASE("runners are made once per component until they are released") {
    Workspace workspace(cpu());
    GraphRunner* first = &workspace.runner("x", 8);
    CHECK(&workspace.runner("x", 8) == first);
    CHECK(&workspace.runner("y", 8) != first);
    workspace.release("x");
    Adder adder{workspace.runner("x", 8)};
    CHECK(adder.run({1}, {2}) == std::vector<float>{3});
}
