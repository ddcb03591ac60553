#include "core/kv_cache.h"

#include <doctest/doctest.h>

#include <numeric>

#include "base/error.h"

using namespace minicpmo;

namespace {

std::shared_ptr<const Backend> cpu() {
    return std::make_shared<const Backend>(BackendOptions{.device = "cpu", .n_threads = 1});
}

KvShape shape(ggml_type type = GGML_TYPE_F32, int n_ctx = 3000) {
    return {.n_layer = 2, .n_head_kv = 2, .d_head = 32, .n_ctx = n_ctx, .type = type};
}

void write_cell(Tensor tensor, int cell, float first) {
    std::vector<float> row(static_cast<size_t>(tensor->ne[0]));
    std::iota(row.begin(), row.end(), first);
    ggml_backend_tensor_set(tensor, row.data(), static_cast<size_t>(cell) * tensor->nb[1],
                            row.size() * sizeof(float));
}

float first_of_cell(Tensor tensor, int cell) {
    float value = -1;
    ggml_backend_tensor_get(tensor, &value, static_cast<size_t>(cell) * tensor->nb[1], sizeof(value));
    return value;
}

}  // namespace

TEST_CASE("an unused cache has no memory and grows on demand") {
    KvCache cache(shape(), cpu());
    CHECK(cache.n_bytes() == 0);
    CHECK(cache.capacity() == 0);
    cache.reserve(1);
    CHECK(cache.capacity() == 512);
    const size_t n_first = cache.n_bytes();
    CHECK(n_first == size_t{2} * 2 * 2 * 32 * 512 * sizeof(float));
    cache.advance(512);
    cache.reserve(1);
    CHECK(cache.capacity() == 1024);
    CHECK(cache.n_bytes() == 2 * n_first);
}

TEST_CASE("growing keeps what was written and changes the generation") {
    KvCache cache(shape(), cpu());
    cache.reserve(3);
    write_cell(cache.keys(0), 0, 10);
    write_cell(cache.keys(1), 2, 20);
    write_cell(cache.values(0), 2, 30);
    write_cell(cache.values(1), 1, 40);
    cache.advance(3);
    const int64_t generation = cache.generation();
    cache.reserve(100);
    CHECK(cache.generation() == generation);
    cache.reserve(1000);
    CHECK(cache.generation() != generation);
    CHECK(cache.capacity() == 1024);
    CHECK(cache.length() == 3);
    CHECK(first_of_cell(cache.keys(0), 0) == 10);
    CHECK(first_of_cell(cache.keys(1), 2) == 20);
    CHECK(first_of_cell(cache.values(0), 2) == 30);
    CHECK(first_of_cell(cache.values(1), 1) == 40);
    CHECK(first_of_cell(cache.keys(0), 3) == 0);
}

TEST_CASE("a cache never has more cells than its context needs") {
    KvCache cache(shape(GGML_TYPE_F16, 700), cpu());
    cache.reserve(700);
    CHECK(cache.capacity() == 768);  // 700 rounded up to 256
    KvCache small(shape(GGML_TYPE_F16, 10), cpu());
    small.reserve(10);
    CHECK(small.capacity() == 256);
}

TEST_CASE("reserving beyond the context is refused and changes nothing") {
    KvCache cache(shape(GGML_TYPE_F32, 600), cpu());
    cache.reserve(500);
    cache.advance(500);
    CHECK_THROWS_AS(cache.reserve(101), ContextFullError);
    CHECK(cache.length() == 500);
    CHECK(cache.capacity() == 512);
    cache.reserve(100);
    CHECK(cache.capacity() == 768);
}

TEST_CASE("truncating forgets the end only, and never grows") {
    KvCache cache(shape(), cpu());
    cache.reserve(8);
    write_cell(cache.keys(0), 2, 7);
    cache.advance(8);
    cache.truncate(3);
    CHECK(cache.length() == 3);
    CHECK(first_of_cell(cache.keys(0), 2) == 7);
    CHECK_THROWS_AS(cache.truncate(4), ArgumentError);
    CHECK_THROWS_AS(cache.truncate(-1), ArgumentError);
    cache.truncate(0);
    CHECK(cache.length() == 0);
}

TEST_CASE("caches of four types exist, others are refused") {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0}) {
        CAPTURE(ggml_type_name(type));
        KvCache cache(shape(type), cpu());
        cache.reserve(1);
        CHECK(cache.keys(1)->type == type);
        CHECK(cache.values(1)->ne[0] == 64);
    }
    CHECK_THROWS_AS(KvCache(shape(GGML_TYPE_Q4_0), cpu()), ArgumentError);
    KvShape odd = shape(GGML_TYPE_Q8_0);
    odd.d_head = 48;  // no multiple of a block of 32
    CHECK_THROWS_AS(KvCache(odd, cpu()), ArgumentError);
    CHECK_THROWS_AS(KvCache(shape(GGML_TYPE_F32, 0), cpu()), ArgumentError);
}

TEST_CASE("two caches never share a generation") {
    KvCache a(shape(), cpu());
    KvCache b(shape(), cpu());
    a.reserve(1);
    b.reserve(1);
    CHECK(a.generation() != b.generation());
}
