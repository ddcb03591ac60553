#include "kernels/relative_attention.h"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "core/graph_runner.h"

using namespace minicpmo;

namespace {

struct Problem {
    ggml_type type = GGML_TYPE_F32;  // of keys, values and distances
    int64_t d_head = 64;
    int64_t n_head = 2;
    int64_t n = 5;
    int64_t n_key = 12;
    int n_threads = 2;
};

constexpr float kScale = 0.125F;

struct Operands {
    std::vector<float> q, k, v, distances, content_bias, distance_bias;  // [row][head][d_head]
};

Operands make_operands(const Problem& p) {
    uint64_t seed = 0;
    const auto random = [&](int64_t n_row) {
        Rng rng{++seed, 0};
        std::vector<float> values(static_cast<size_t>(n_row * p.n_head * p.d_head));
        for (float& v : values) {
            v = static_cast<float>(rng.uniform()) * 2 - 1;
            if (p.type == GGML_TYPE_F16) v = ggml_fp16_to_fp32(ggml_fp32_to_fp16(v));
        }
        return values;
    };
    return {random(p.n), random(p.n_key), random(p.n_key), random(p.n_key + p.n - 1), random(1), random(1)};
}

std::vector<float> run(const Problem& p, const Operands& x, bool on_cpu) {
    const Backend backend({"cpu", p.n_threads});
    const std::vector<ggml_backend_ptr> handles = backend.make_handles();
    GraphRunner runner(handles, 64, on_cpu);
    runner.prepare({1}, [&](Graph& g) {
        const auto rows = [&](const char* name, const std::vector<float>& values, ggml_type type) {
            const auto n = static_cast<int64_t>(values.size()) / (p.d_head * p.n_head);
            return g.input(name, type, {p.d_head, p.n_head, n});
        };
        const auto vector = [&](const char* name) {
            return g.input(name, GGML_TYPE_F32, {p.d_head, p.n_head});
        };
        const Tensor y = kernels::relative_attention(
            g, {rows("q", x.q, GGML_TYPE_F32), rows("k", x.k, p.type), rows("v", x.v, p.type),
                rows("distances", x.distances, p.type), vector("content"), vector("distance"), kScale});
        CHECK(y->ne[0] == p.d_head * p.n_head);
        CHECK(y->ne[1] == p.n);
        g.output("y", y);
    });
    const auto set = [&](const char* name, const std::vector<float>& values) {
        if (p.type == GGML_TYPE_F32) return runner.set(name, values);
        std::vector<ggml_fp16_t> halves(values.size());
        ggml_fp32_to_fp16_row(values.data(), halves.data(), static_cast<int64_t>(values.size()));
        runner.set(name, halves);
    };
    runner.set("q", x.q);
    set("k", x.k);
    set("v", x.v);
    set("distances", x.distances);
    runner.set("content", x.content_bias);
    runner.set("distance", x.distance_bias);
    runner.compute();
    std::vector<float> y(x.q.size());
    runner.read("y", y);
    return y;
}

// The definition: a score from the key and one from the distance, oldest distance first.
std::vector<double> attend(const Problem& p, const Operands& x, int64_t head, int64_t query) {
    const auto at = [&](const std::vector<float>& rows, int64_t row, int64_t i) {
        return static_cast<double>(rows[static_cast<size_t>((row * p.n_head + head) * p.d_head + i)]);
    };
    std::vector<double> weights;
    double sum = 0.0;
    for (int64_t key = 0; key < p.n_key; ++key) {
        const int64_t back = p.n_key - p.n + query - key;  // steps from the query to the key
        const int64_t row = p.n_key - 1 - back;
        double score = 0.0;
        for (int64_t i = 0; i < p.d_head; ++i) {
            score += (at(x.q, query, i) + at(x.content_bias, 0, i)) * at(x.k, key, i);
            score += (at(x.q, query, i) + at(x.distance_bias, 0, i)) * at(x.distances, row, i);
        }
        weights.push_back(std::exp(score * static_cast<double>(kScale)));
        sum += weights.back();
    }
    std::vector<double> y(static_cast<size_t>(p.d_head), 0.0);
    for (int64_t key = 0; key < p.n_key; ++key) {
        for (int64_t i = 0; i < p.d_head; ++i)
            y[static_cast<size_t>(i)] += weights[static_cast<size_t>(key)] / sum * at(x.v, key, i);
    }
    return y;
}

double largest_error(const Problem& p, bool on_cpu) {
    const Operands x = make_operands(p);
    const std::vector<float> y = run(p, x, on_cpu);
    double largest = 0.0;
    for (int64_t query = 0; query < p.n; ++query) {
        for (int64_t head = 0; head < p.n_head; ++head) {
            const std::vector<double> expected = attend(p, x, head, query);
            for (int64_t i = 0; i < p.d_head; ++i) {
                const float value = y[static_cast<size_t>((query * p.n_head + head) * p.d_head + i)];
                const double error = std::abs(static_cast<double>(value) - expected[static_cast<size_t>(i)]);
                largest = std::isnan(error) ? INFINITY : std::max(largest, error);
            }
        }
    }
    return largest;
}

}  // namespace

TEST_CASE("relative attention is its definition for any numbers of queries and keys") {
    for (const int64_t n : {1, 5, 32, 33, 70}) {
        for (const int64_t n_cached : {0, 7, 500, 1100}) {
            CAPTURE(n);
            CAPTURE(n_cached);
            CHECK(largest_error({.n = n, .n_key = n_cached + n}, true) < 2e-6);
        }
    }
}

TEST_CASE("relative attention is its definition for any head size, type and number of threads") {
    for (const int64_t d : {8, 20, 64, 96}) {
        for (const int n_threads : {1, 3}) {
            CAPTURE(d);
            CHECK(largest_error({GGML_TYPE_F32, d, 3, 40, 90, n_threads}, true) < 2e-6);
            CHECK(largest_error({GGML_TYPE_F16, d, 3, 40, 90, n_threads}, true) < 2e-6);
        }
    }
}

TEST_CASE("ggml's operations compute the same relative attention") {
    CHECK(largest_error({.n = 25, .n_key = 60}, false) < 2e-6);
    CHECK(largest_error({.n = 1, .n_key = 1}, false) < 2e-6);
    // ggml rounds queries and weights to the type of keys and values.
    CHECK(largest_error({.type = GGML_TYPE_F16, .n = 25, .n_key = 60}, false) < 2e-3);
}
