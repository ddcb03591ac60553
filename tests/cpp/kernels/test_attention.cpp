#include "kernels/attention.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "core/graph_runner.h"
#include "core/quantize.h"
#include "kernels/cpu_features.h"
#include "kernels/pair_panel.h"

using namespace minicpmo;

namespace {

struct Problem {
    ggml_type type = GGML_TYPE_F32;  // of keys and values
    int64_t d_head = 64;
    int64_t d_value = 64;
    int64_t n_head = 1;
    int64_t n_head_kv = 1;
    int64_t n = 8;
    int64_t n_kv = 8;
    int n_threads = 1;
    float scale = 0.125F;
    kernels::Operand operand = kernels::Operand::f32;
};

constexpr float kHidden = -std::numeric_limits<float>::infinity();
using Mask = std::function<float(int64_t query, int64_t key)>;

float see_all(int64_t, int64_t) { return 0.0F; }

std::vector<float> random_values(int64_t n, uint64_t seed) {
    Rng rng{seed, 0};
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = static_cast<float>(rng.uniform() * 2 - 1);
    return values;
}

struct Operands {
    std::vector<float> q;  // [n][n_head][d_head]
    std::vector<float> k;  // [n_kv][n_head_kv][d_head], as rounded to the type
    std::vector<float> v;
    std::vector<std::byte> k_bytes;
    std::vector<std::byte> v_bytes;
};

Operands make_operands(const Problem& p) {
    Operands x;
    x.q = random_values(p.d_head * p.n_head * p.n, 1);
    x.k_bytes =
        quantize(p.type, random_values(p.d_head * p.n_head_kv * p.n_kv, 2), p.d_head * p.n_head_kv, 1);
    x.v_bytes =
        quantize(p.type, random_values(p.d_value * p.n_head_kv * p.n_kv, 3), p.d_value * p.n_head_kv, 1);
    x.k = dequantize(p.type, x.k_bytes, p.d_head * p.n_head_kv, 1);
    x.v = dequantize(p.type, x.v_bytes, p.d_value * p.n_head_kv, 1);
    return x;
}

// The output of one query and head; zeros if it sees nothing.
std::vector<double> attend(const Problem& p, const Operands& x, const Mask& mask, int64_t head,
                           int64_t query) {
    const int64_t head_kv = head / (p.n_head / p.n_head_kv);
    std::vector<double> scores;
    for (int64_t key = 0; key < p.n_kv; ++key) {
        double score = 0;
        for (int64_t i = 0; i < p.d_head; ++i) {
            score += static_cast<double>(x.q[static_cast<size_t>((query * p.n_head + head) * p.d_head + i)]) *
                     x.k[static_cast<size_t>((key * p.n_head_kv + head_kv) * p.d_head + i)];
        }
        scores.push_back(score * p.scale + mask(query, key));
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    std::vector<double> out(static_cast<size_t>(p.d_value));
    if (std::isinf(largest)) return out;
    double sum = 0;
    for (const double score : scores) sum += std::exp(score - largest);
    for (int64_t key = 0; key < p.n_kv; ++key) {
        const double weight = std::exp(scores[static_cast<size_t>(key)] - largest) / sum;
        for (int64_t i = 0; i < p.d_value; ++i) {
            out[static_cast<size_t>(i)] +=
                weight * x.v[static_cast<size_t>((key * p.n_head_kv + head_kv) * p.d_value + i)];
        }
    }
    return out;
}

std::vector<float> run_kernel(const Problem& p, const Operands& x, const Mask* mask) {
    Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", p.n_threads}));
    GraphRunner& runner = workspace.runner("test", 64);
    Tensor k = nullptr;
    Tensor v = nullptr;
    runner.prepare({1}, [&](Graph& g) {
        k = g.input("k", p.type, {p.d_head * p.n_head_kv, p.n_kv});
        v = g.input("v", p.type, {p.d_value * p.n_head_kv, p.n_kv});
        const auto heads = [&](Tensor rows, int64_t d) {  // as a cache is read
            return ggml_view_3d(g.ctx(), rows, d, p.n_head_kv, p.n_kv, ggml_row_size(rows->type, d),
                                rows->nb[1], 0);
        };
        const Tensor q = g.input("q", GGML_TYPE_F32, {p.d_head, p.n_head, p.n});
        const Tensor hides = mask != nullptr ? g.input("mask", GGML_TYPE_F16, {p.n_kv, p.n}) : nullptr;
        REQUIRE(kernels::attention_supports(q, heads(k, p.d_head), heads(v, p.d_value), hides));
        const Tensor y =
            kernels::attention(g, q, heads(k, p.d_head), heads(v, p.d_value), hides, p.scale, p.operand);
        REQUIRE(y->ne[0] == p.d_value * p.n_head);
        REQUIRE(y->ne[1] == p.n);
        g.output("y", y);
    });
    ggml_backend_tensor_set(k, x.k_bytes.data(), 0, x.k_bytes.size());
    ggml_backend_tensor_set(v, x.v_bytes.data(), 0, x.v_bytes.size());
    runner.set("q", x.q);
    if (mask != nullptr) {
        std::vector<ggml_fp16_t> values;
        for (int64_t query = 0; query < p.n; ++query) {
            for (int64_t key = 0; key < p.n_kv; ++key)
                values.push_back(ggml_fp32_to_fp16((*mask)(query, key)));
        }
        runner.set("mask", values);
    }
    runner.compute();
    std::vector<float> y(static_cast<size_t>(p.d_value * p.n_head * p.n));
    runner.read("y", y);
    return y;
}

double largest_error(const Problem& p, const Mask* mask) {
    const Operands x = make_operands(p);
    const std::vector<float> y = run_kernel(p, x, mask);
    double largest = 0;
    for (int64_t query = 0; query < p.n; ++query) {
        for (int64_t head = 0; head < p.n_head; ++head) {
            const auto expected = attend(p, x, mask != nullptr ? *mask : see_all, head, query);
            for (int64_t i = 0; i < p.d_value; ++i) {
                const float value = y[static_cast<size_t>((query * p.n_head + head) * p.d_value + i)];
                const double error = std::abs(value - expected[static_cast<size_t>(i)]);
                largest = std::isnan(error) ? INFINITY : std::max(largest, error);
            }
        }
    }
    return largest;
}

constexpr double kTolerance = 1e-6;  // values are within [-1, 1]

}  // namespace

TEST_CASE("attention agrees with double arithmetic for any head size and type") {
    if (!kernels::has_avx512_vnni()) return;
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}) {
        CAPTURE(std::string(ggml_type_name(type)));
        for (const int64_t d : {1, 5, 49, 64, 72, 128}) {
            CAPTURE(d);
            CHECK(largest_error({type, d, d, 2, 2, 37, 101, 2}, nullptr) < kTolerance);
            CHECK(largest_error({type, d, d, 2, 2, 1, 1201, 2}, nullptr) < kTolerance);
        }
        CHECK(largest_error({type, 24, 80, 4, 2, 9, 30, 2}, nullptr) < kTolerance);
    }
}

TEST_CASE("attention agrees with double arithmetic for any numbers of queries and keys") {
    if (!kernels::has_avx512_vnni()) return;
    for (const int64_t n : {1, 2, 31, 33, 70}) {
        for (const int64_t n_kv : {1, 47, 48, 528, 529, 1200}) {
            for (const int n_threads : {1, 2, 3}) {
                CAPTURE(n);
                CAPTURE(n_kv);
                CAPTURE(n_threads);
                CHECK(largest_error({GGML_TYPE_F32, 16, 16, 3, 1, n, n_kv, n_threads}, nullptr) < kTolerance);
            }
        }
    }
}

TEST_CASE("attention with operands of bfloat16 is as close as these are") {
    if (!kernels::has_bf16_products()) return;
    // A factor is off by 2^-9 of itself at most. So are a value and its weight, whose products add up to less
    // than 1; a score of products within [-1, 1] is off by less than 0.125 * d * 2^-8, and by a tenth of that
    // where signs are random.
    constexpr double kRounded = 1e-2;
    const Mask causal = [](int64_t query, int64_t key) { return key > query + 30 ? kHidden : 0.0F; };
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}) {
        for (const int64_t d : {1, 5, 49, 72, 128}) {
            for (const int64_t n_kv : {1, 47, 48, 101, 529, 1201}) {
                CAPTURE(d);
                CAPTURE(n_kv);
                const Problem p = {type, d, d, 2, 2, 37, n_kv, 2, 0.125F, kernels::Operand::bf16};
                CHECK(largest_error(p, nullptr) < kRounded);
                CHECK(largest_error(p, &causal) < kRounded);
            }
        }
    }
}

TEST_CASE("causal and windowed masks hide what they should, whatever their offset") {
    if (!kernels::has_avx512_vnni()) return;
    for (const int64_t past : {0, 3, 50, 500}) {
        for (const int64_t window : {1, 20, 100000}) {
            for (const int n_threads : {1, 2, 3}) {
                CAPTURE(past);
                CAPTURE(window);
                CAPTURE(n_threads);
                const Mask mask = [&](int64_t query, int64_t key) {
                    return key <= past + query && key > past + query - window ? 0.0F : kHidden;
                };
                CHECK(largest_error({GGML_TYPE_F16, 20, 20, 4, 2, 75, past + 128, n_threads}, &mask) <
                      kTolerance);
            }
        }
    }
}

TEST_CASE("a single query of many heads agrees with double arithmetic") {
    if (!kernels::has_avx512_vnni()) return;
    const Mask later = [](int64_t, int64_t key) { return key < 600 ? kHidden : 0.0F; };
    const Mask nothing = [](int64_t, int64_t) { return kHidden; };
    for (const int64_t n_head_kv : {1, 2, 40}) {  // one key head is read by more heads than one item has rows
        for (const int n_threads : {1, 3}) {
            CAPTURE(n_head_kv);
            CAPTURE(n_threads);
            const Problem p = {GGML_TYPE_F16, 72, 72, 40, n_head_kv, 1, 700, n_threads};
            CHECK(largest_error(p, nullptr) < kTolerance);
            CHECK(largest_error(p, &later) < kTolerance);
            CHECK(largest_error(p, &nothing) < kTolerance);
        }
    }
}

TEST_CASE("a query that sees nothing gets zeros, and its neighbours what they should") {
    if (!kernels::has_avx512_vnni()) return;
    const Mask every_third = [](int64_t query, int64_t key) {
        return query % 3 == 0 || key < 390 ? kHidden : 0.0F;
    };
    const Mask whole_blocks = [](int64_t query, int64_t) { return query < 40 ? kHidden : 0.0F; };
    const Mask all = [](int64_t, int64_t) { return kHidden; };
    for (const Mask* mask : {&every_third, &whole_blocks, &all}) {
        CHECK(largest_error({GGML_TYPE_F16, 72, 72, 2, 1, 90, 800, 2}, mask) < kTolerance);
    }
}

TEST_CASE("masks with holes and with finite values are added") {
    if (!kernels::has_avx512_vnni()) return;
    const Mask holes = [](int64_t query, int64_t key) {
        return (query * 7 + key * 5) % 11 < 8 ? kHidden : 0.0F;
    };
    const Mask slope = [](int64_t query, int64_t key) { return static_cast<float>(key - query) / 64.0F; };
    for (const Mask* mask : {&holes, &slope}) {
        CHECK(largest_error({GGML_TYPE_F32, 40, 40, 2, 2, 50, 450, 2}, mask) < kTolerance);
    }
}

TEST_CASE("queries, keys and values may be parts of one row") {
    if (!kernels::has_avx512_vnni()) return;
    const Problem p = {GGML_TYPE_F32, 24, 24, 3, 3, 20, 20, 2};
    const Operands x = make_operands(p);
    const int64_t n_part = p.d_head * p.n_head;
    std::vector<float> fused;  // [n][query, key, value][n_head][d_head]
    for (int64_t t = 0; t < p.n; ++t) {
        for (const auto* part : {&x.q, &x.k, &x.v}) {
            fused.insert(fused.end(), part->begin() + t * n_part, part->begin() + (t + 1) * n_part);
        }
    }
    Workspace workspace(std::make_shared<const Backend>(BackendOptions{"cpu", p.n_threads}));
    GraphRunner& runner = workspace.runner("test", 64);
    runner.prepare({1}, [&](Graph& g) {
        const Tensor rows = g.input("rows", GGML_TYPE_F32, {3 * n_part, p.n});
        const auto part = [&](size_t i) {
            const size_t offset = i * static_cast<size_t>(n_part) * sizeof(float);
            return ggml_view_3d(g.ctx(), rows, p.d_head, p.n_head, p.n, ggml_row_size(rows->type, p.d_head),
                                rows->nb[1], offset);
        };
        g.output("y", kernels::attention(g, part(0), part(1), part(2), nullptr, p.scale));
    });
    runner.set("rows", fused);
    runner.compute();
    std::vector<float> y(static_cast<size_t>(n_part * p.n));
    runner.read("y", y);
    CHECK(y == run_kernel(p, x, nullptr));
}

TEST_CASE("attention stays finite and close where one score outweighs all others") {
    if (!kernels::has_avx512_vnni()) return;
    // Scores up to several hundred carry an absolute error of their own rounding, which the exponential
    // passes on.
    CHECK(largest_error({GGML_TYPE_F32, 64, 64, 2, 2, 40, 800, 2, 30.0F}, nullptr) < 1e-4);
}

TEST_CASE("quantised keys and masks of another type are left to ggml") {
    Graph g(64, true);
    const auto heads = [&](const char* name, ggml_type type, int64_t n) {
        return g.input(name, type, {64, 2, n});
    };
    const Tensor q = heads("q", GGML_TYPE_F32, 16);
    const Tensor kv = heads("kv", GGML_TYPE_F16, 32);
    const Tensor mask = g.input("mask", GGML_TYPE_F16, {32, 16});
    CHECK(kernels::attention_supports(q, kv, kv, mask) == kernels::has_avx512_vnni());
    CHECK(!kernels::attention_supports(q, heads("q8", GGML_TYPE_Q8_0, 32), kv, mask));
    CHECK(!kernels::attention_supports(q, kv, kv, g.input("mask32", GGML_TYPE_F32, {32, 16})));
    CHECK(!kernels::attention_supports(q, kv, kv, g.input("short", GGML_TYPE_F16, {31, 16})));
}
