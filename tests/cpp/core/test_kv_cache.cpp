#include "core/kv_cache.h"

#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <numeric>
#include <set>
#include <sstream>

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

namespace {

std::vector<std::byte> cell_bytes(Tensor tensor, int cell) {
    std::vector<std::byte> bytes(tensor->nb[1]);
    ggml_backend_tensor_get(tensor, bytes.data(), static_cast<size_t>(cell) * tensor->nb[1], bytes.size());
    return bytes;
}

// Keys and values of all layers, of one cell.
std::vector<std::vector<std::byte>> cell_of(const KvCache& cache, int cell) {
    std::vector<std::vector<std::byte>> all;
    for (int layer = 0; layer < cache.shape().n_layer; ++layer) {
        all.push_back(cell_bytes(cache.keys(layer), cell));
        all.push_back(cell_bytes(cache.values(layer), cell));
    }
    return all;
}

// n cells whose bytes differ in every layer and cell.
void fill(KvCache& cache, int n) {
    cache.reserve(n);
    uint8_t next = 1;
    for (int layer = 0; layer < cache.shape().n_layer; ++layer) {
        for (const Tensor tensor : {cache.keys(layer), cache.values(layer)}) {
            for (int cell = 0; cell < n; ++cell) {
                // Halves of 0x20xx are small numbers in all types, so that no byte makes a NaN.
                std::vector<uint8_t> bytes(tensor->nb[1]);
                for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = i % 2 == 0 ? next++ : uint8_t{0x20};
                ggml_backend_tensor_set(tensor, bytes.data(), static_cast<size_t>(cell) * tensor->nb[1],
                                        bytes.size());
            }
        }
    }
    cache.advance(n);
}

std::vector<uint64_t> names(const KvCache& cache) { return {cache.names().begin(), cache.names().end()}; }

std::string archived(KvCache& cache) {
    std::ostringstream out;
    Archive archive(out);
    cache.archive(archive);
    return out.str();
}

void read(KvCache& cache, std::string_view bytes) {
    Archive archive(std::as_bytes(std::span(bytes)));
    cache.archive(archive);
}

}  // namespace

TEST_CASE("moving the tail either way keeps its bytes and what is before it") {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0}) {
        for (const auto& [from, to] : std::vector<std::pair<int, int>>{
                 {30, 10}, {30, 29}, {30, 0}, {10, 11}, {10, 45}, {40, 12}, {0, 5}, {20, 20}}) {
            CAPTURE(ggml_type_name(type));
            CAPTURE(from);
            CAPTURE(to);
            KvCache cache(shape(type), cpu());
            fill(cache, 40);
            std::vector<std::vector<std::vector<std::byte>>> before;
            for (int cell = 0; cell < 40; ++cell) before.push_back(cell_of(cache, cell));
            const std::vector<uint64_t> old_names = names(cache);
            cache.reserve(40);
            cache.move_tail(from, to);
            CHECK(cache.length() == 40 + to - from);
            CHECK(cache.names().size() == static_cast<size_t>(cache.length()));
            for (int cell = 0; cell < std::min(from, to); ++cell) {
                CHECK(cell_of(cache, cell) == before[static_cast<size_t>(cell)]);
            }
            for (int i = 0; i < 40 - from; ++i) {
                CHECK(cell_of(cache, to + i) == before[static_cast<size_t>(from + i)]);
            }
            // Cells before both places keep their names; no other name was in use before.
            const auto n_same = static_cast<size_t>(std::min(from, to));
            std::set<uint64_t> all(old_names.begin(), old_names.end());
            for (size_t i = 0; i < cache.names().size(); ++i) {
                if (i < n_same) {
                    CHECK(cache.names()[i] == old_names[i]);
                } else {
                    CHECK(all.insert(cache.names()[i]).second);
                }
            }
        }
    }
}

TEST_CASE("a tail that is none, or that has no room, stays where it is") {
    KvCache cache(shape(), cpu());
    fill(cache, 500);
    const std::vector<uint64_t> before = names(cache);
    for (const auto& [from, to] :
         std::vector<std::pair<int, int>>{{-1, 0}, {501, 0}, {10, -1}, {0, 13}, {490, 503}, {500, 513}}) {
        CAPTURE(from);
        CAPTURE(to);
        CHECK_THROWS_AS(cache.move_tail(from, to), ArgumentError);
        CHECK(names(cache) == before);
    }
    cache.move_tail(500, 500);
    CHECK(cache.length() == 500);
    cache.move_tail(500, 400);  // an empty tail: its end moves
    CHECK(cache.length() == 400);
}

TEST_CASE("names are new whenever a cell comes into use, in all caches") {
    KvCache a(shape(), cpu());
    KvCache b(shape(), cpu());
    fill(a, 10);
    fill(b, 10);
    std::set<uint64_t> all;
    for (const KvCache* cache : {&a, &b}) all.insert(cache->names().begin(), cache->names().end());
    CHECK(all.size() == 20);
    const std::vector<uint64_t> before = names(a);
    a.truncate(4);
    CHECK(names(a) == std::vector<uint64_t>(before.begin(), before.begin() + 4));
    a.advance(6);
    CHECK(std::equal(before.begin(), before.begin() + 4, a.names().begin()));
    for (size_t i = 4; i < 10; ++i) CHECK(all.insert(a.names()[i]).second);
}

TEST_CASE("an archived cache comes back byte by byte, in one that held something else") {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0}) {
        CAPTURE(ggml_type_name(type));
        KvCache cache(shape(type), cpu());
        fill(cache, 700);
        KvCache other(shape(type), cpu());
        fill(other, 9);
        std::set<uint64_t> all(cache.names().begin(), cache.names().end());
        all.insert(other.names().begin(), other.names().end());
        read(other, archived(cache));
        REQUIRE(other.length() == 700);
        for (int cell = 0; cell < 700; cell += 23) CHECK(cell_of(other, cell) == cell_of(cache, cell));
        for (const uint64_t name : other.names()) CHECK(all.insert(name).second);
        CHECK(archived(other) == archived(cache));
        KvCache empty(shape(type), cpu());
        read(other, archived(empty));
        CHECK(other.length() == 0);
    }
}

TEST_CASE("archives with more cells than there are bytes or room are refused") {
    KvCache cache(shape(), cpu());
    fill(cache, 20);
    const std::string bytes = archived(cache);
    KvCache other(shape(), cpu());
    for (size_t n = 0; n < bytes.size(); n += n < 8 ? 1 : 97) {
        CHECK_THROWS_AS(read(other, std::string_view(bytes).substr(0, n)), ModelFileError);
    }
    for (const int32_t n :
         {-1, 21, 3001, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
        CAPTURE(n);
        std::string lie = bytes;
        std::memcpy(lie.data(), &n, sizeof n);
        CHECK_THROWS_AS(read(other, lie), ModelFileError);
        CHECK(other.capacity() <= 512);
    }
    KvCache small(shape(GGML_TYPE_F32, 19), cpu());
    CHECK_THROWS_AS(read(small, bytes), ModelFileError);
    read(other, bytes);
    CHECK(other.length() == 20);
}
