#include "models/decoder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/rng.h"
#include "models/tiny_model.h"

using namespace minicpmo;

namespace {

// A decoder with its own scratch memory; caches come from outside.
struct TinyDecoder {
    TinyModelFile file;
    std::shared_ptr<const Backend> backend =
        std::make_shared<const Backend>(BackendOptions{.device = "cpu", .n_threads = 2});
    Weights weights{std::make_shared<const GgufFile>(GgufFile::open(file.path())), *backend};
    TokenEmbedding embedding{weights.root().get("token_embd.weight", {kTinyEmbd, tiny_n_token()})};
    Head head{{weights.root().get("output.weight", {kTinyEmbd, tiny_n_token()}), nullptr}};
    Decoder decoder{{.n_layer = kTinyLayers,
                     .n_embd = kTinyEmbd,
                     .n_ff = kTinyFf,
                     .n_head = kTinyHeads,
                     .n_head_kv = kTinyHeadsKv,
                     .d_head = kTinyHead,
                     .rope = {.n_dims = kTinyHead, .base = 1e6F},
                     .qk_norm = true},
                    weights.root()};
    Workspace workspace{backend};

    KvCache cache(ggml_type type = GGML_TYPE_F32, int n_ctx = 4096) const {
        return {decoder.kv_shape(n_ctx, type), backend};
    }
    std::vector<float> forward(std::span<const int32_t> ids, KvCache& cache) {
        return decoder.forward({.ids = ids, .embeds = {}}, &embedding, &head, Rows::none, cache, workspace)
            .logits.data;
    }
    // All ids, n_batch at a time; the logits of the last.
    std::vector<float> forward(std::span<const int32_t> ids, KvCache& cache, size_t n_batch) {
        std::vector<float> logits;
        for (size_t begin = 0; begin < ids.size(); begin += n_batch) {
            logits = forward(ids.subspan(begin, std::min(n_batch, ids.size() - begin)), cache);
        }
        return logits;
    }
};

std::vector<int32_t> random_ids(int n) {
    Rng rng{5, 0};
    std::vector<int32_t> ids(static_cast<size_t>(n));
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.next() % static_cast<uint64_t>(tiny_n_token()));
    return ids;
}

// Largest difference, relative to the largest value.
double distance(std::span<const float> a, std::span<const float> b) {
    REQUIRE(a.size() == b.size());
    REQUIRE(!a.empty());
    double difference = 0;
    double largest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        REQUIRE(std::isfinite(a[i]));
        difference = std::max(difference, std::abs(double{a[i]} - b[i]));
        largest = std::max(largest, std::abs(double{a[i]}));
    }
    return difference / largest;
}

}  // namespace

TEST_CASE("tokens in one batch, in several and one by one give the same logits") {
    TinyDecoder tiny;
    const std::vector<int32_t> ids = random_ids(70);
    KvCache whole = tiny.cache();
    const std::vector<float> expected = tiny.forward(ids, whole);
    for (const size_t n_batch : {1, 2, 7, 32, 69}) {
        CAPTURE(n_batch);
        KvCache cache = tiny.cache();
        CHECK(distance(expected, tiny.forward(ids, cache, n_batch)) < 1e-5);
        CHECK(cache.length() == 70);
    }
}

TEST_CASE("the last logits depend on every token before them") {
    TinyDecoder tiny;
    std::vector<int32_t> ids = random_ids(20);
    KvCache cache = tiny.cache();
    const std::vector<float> expected = tiny.forward(ids, cache);
    for (const size_t changed : {0, 10, 19}) {
        std::vector<int32_t> others = ids;
        others[changed] = (others[changed] + 1) % tiny_n_token();
        cache.truncate(0);
        CHECK(distance(expected, tiny.forward(others, cache)) > 1e-4);
    }
}

TEST_CASE("ids and the embeddings they stand for give the same logits") {
    TinyDecoder tiny;
    const std::vector<int32_t> ids = random_ids(12);
    KvCache by_ids = tiny.cache();
    KvCache by_rows = tiny.cache();
    const Array<float> rows = tiny.embedding.lookup(ids, tiny.workspace);
    const DecoderInput input{.ids = {}, .embeds = rows.data};
    const auto out = tiny.decoder.forward(input, nullptr, &tiny.head, Rows::none, by_rows, tiny.workspace);
    CHECK(distance(tiny.forward(ids, by_ids), out.logits.data) < 1e-6);
}

TEST_CASE("hidden states come for the last row or for all, and agree") {
    TinyDecoder tiny;
    const std::vector<int32_t> ids = random_ids(9);
    const auto hidden = [&](Rows rows) {
        KvCache cache = tiny.cache();
        const DecoderInput input{.ids = ids, .embeds = {}};
        return tiny.decoder.forward(input, &tiny.embedding, nullptr, rows, cache, tiny.workspace).hidden;
    };
    const Array<float> all = hidden(Rows::all);
    const Array<float> last = hidden(Rows::last);
    CHECK(all.shape == std::vector<int64_t>{kTinyEmbd, 9});
    CHECK(last.shape == std::vector<int64_t>{kTinyEmbd, 1});
    CHECK(distance(all.row(8), last.data) < 1e-5);
    CHECK(hidden(Rows::none).empty());
}

TEST_CASE("truncating and running again gives the same logits") {
    TinyDecoder tiny;
    const std::vector<int32_t> ids = random_ids(40);
    const std::span<const int32_t> all = ids;
    KvCache cache = tiny.cache();
    tiny.forward(all.first(25), cache);
    const std::vector<float> expected = tiny.forward(all.last(15), cache);
    cache.truncate(25);
    tiny.forward(random_ids(100), cache);
    cache.truncate(25);
    CHECK(tiny.forward(all.last(15), cache) == expected);
    cache.truncate(0);
    tiny.forward(all.first(25), cache);
    CHECK(tiny.forward(all.last(15), cache) == expected);
}

TEST_CASE("a cache that grows while it is filled answers as one that was large from the start") {
    TinyDecoder tiny;
    const std::vector<int32_t> ids = random_ids(1300);
    KvCache large = tiny.cache();
    large.reserve(1300);
    KvCache growing = tiny.cache();
    const std::vector<float> expected = tiny.forward(ids, large, 100);
    CHECK(tiny.forward(ids, growing, 100) == expected);
    CHECK(growing.capacity() == 2048);
    KvCache stepwise = tiny.cache();  // one by one across the first growth
    const std::span<const int32_t> all = ids;
    tiny.forward(all.first(500), stepwise);
    tiny.forward(all.subspan(500, 30), stepwise, 1);
    CHECK(distance(expected, tiny.forward(all.subspan(530), stepwise)) < 1e-5);
}

TEST_CASE("caches of smaller types stay close to float32") {
    TinyDecoder tiny;
    const std::vector<int32_t> ids = random_ids(60);
    KvCache exact = tiny.cache();
    const std::vector<float> expected = tiny.forward(ids, exact, 13);
    const std::vector<std::pair<ggml_type, double>> limits = {
        {GGML_TYPE_F16, 0.005}, {GGML_TYPE_BF16, 0.04}, {GGML_TYPE_Q8_0, 0.04}};
    for (const auto& [type, limit] : limits) {
        for (const size_t n_batch : {1, 13, 60}) {
            CAPTURE(ggml_type_name(type));
            CAPTURE(n_batch);
            KvCache cache = tiny.cache(type);
            const double d = distance(expected, tiny.forward(ids, cache, n_batch));
            CHECK(d < limit);
            CHECK(d > 0);
        }
    }
}

TEST_CASE("a full context refuses before anything runs") {
    TinyDecoder tiny;
    const std::vector<int32_t> ids = random_ids(20);
    KvCache cache = tiny.cache(GGML_TYPE_F32, 20);
    const std::vector<float> expected = tiny.forward(ids, cache);
    CHECK_THROWS_AS(tiny.forward(std::span(ids).first(1), cache), ContextFullError);
    CHECK(cache.length() == 20);
    cache.truncate(19);
    CHECK(distance(expected, tiny.forward(std::span(ids).last(1), cache)) < 1e-5);
}

TEST_CASE("an interrupted forward leaves the cache as it was") {
    TinyDecoder tiny;
    const std::vector<int32_t> ids = random_ids(30);
    const std::span<const int32_t> all = ids;
    KvCache cache = tiny.cache();
    tiny.forward(all.first(10), cache);
    tiny.workspace.interrupt();
    CHECK_THROWS_AS(tiny.forward(all.last(20), cache), InterruptedError);
    tiny.workspace.clear_interrupt();
    CHECK(cache.length() == 10);
    const std::vector<float> after = tiny.forward(all.last(20), cache);
    KvCache undisturbed = tiny.cache();
    tiny.forward(all.first(10), undisturbed);
    CHECK(tiny.forward(all.last(20), undisturbed) == after);
}

TEST_CASE("ids and embeddings together, neither, or a broken row are refused") {
    TinyDecoder tiny;
    KvCache cache = tiny.cache();
    const std::vector<int32_t> ids = {1};
    const std::vector<float> rows(kTinyEmbd + 1);
    const auto run = [&](const DecoderInput& input) {
        tiny.decoder.forward(input, &tiny.embedding, nullptr, Rows::none, cache, tiny.workspace);
    };
    CHECK_THROWS_AS(run({}), ArgumentError);
    CHECK_THROWS_AS(run({.ids = ids, .embeds = rows}), ArgumentError);
    CHECK_THROWS_AS(run({.ids = {}, .embeds = rows}), ArgumentError);
    CHECK(cache.length() == 0);
}

TEST_CASE("embeddings of ids outside the vocabulary are refused") {
    TinyDecoder tiny;
    for (const int32_t id : {-1, tiny_n_token()}) {
        const std::vector<int32_t> ids = {0, id};
        CHECK_THROWS_AS(tiny.embedding.lookup(ids, tiny.workspace), ArgumentError);
    }
}

namespace {

std::vector<float> cells(Tensor tensor, int begin, int n) {
    std::vector<float> values(static_cast<size_t>(tensor->ne[0] * n));
    ggml_backend_tensor_get(tensor, values.data(), static_cast<size_t>(begin) * tensor->nb[1],
                            values.size() * sizeof(float));
    return values;
}

struct Turn {
    std::string name;
    nn::RopeConfig rope;
    bool has_factors = false;
};

// A tiny decoder whose positions turn keys as a test wants; with factors of the frequencies, if it has them.
struct TurningDecoder {
    explicit TurningDecoder(const Turn& turn) {
        GgufBuilder builder = tiny_model();
        if (turn.has_factors) {
            std::string bytes;
            for (int i = 0; i < kTinyHead / 2; ++i) bytes += le(1.0F + 0.25F * static_cast<float>(i));
            builder.tensor(
                {.name = "rope_freqs.weight", .dims = {kTinyHead / 2}, .type = GGML_TYPE_F32, .data = bytes});
        }
        weights.emplace(
            std::make_shared<const GgufFile>(GgufFile::open(folder.write("turning.gguf", builder.build()))),
            *backend);
        embedding.emplace(weights->root().get("token_embd.weight", {kTinyEmbd, tiny_n_token()}));
        decoder.emplace(DecoderConfig{.n_layer = kTinyLayers,
                                      .n_embd = kTinyEmbd,
                                      .n_ff = kTinyFf,
                                      .n_head = kTinyHeads,
                                      .n_head_kv = kTinyHeadsKv,
                                      .d_head = kTinyHead,
                                      .rope = turn.rope,
                                      .qk_norm = true},
                        weights->root());
    }
    KvCache cache() const { return {decoder->kv_shape(4096, GGML_TYPE_F32), backend}; }
    void read(std::span<const int32_t> ids, KvCache& cache) {
        decoder->forward({.ids = ids, .embeds = {}}, &*embedding, nullptr, Rows::none, cache, workspace);
    }

    TempFolder folder;
    std::shared_ptr<const Backend> backend =
        std::make_shared<const Backend>(BackendOptions{.device = "cpu", .n_threads = 1});
    std::optional<Weights> weights;
    std::optional<TokenEmbedding> embedding;
    std::optional<Decoder> decoder;
    Workspace workspace{backend};
};

}  // namespace

TEST_CASE("keys of a moved tail are those of its new places, and its values stay") {
    const nn::RopeConfig plain{.n_dims = kTinyHead, .base = 1e6F};
    nn::RopeConfig scaled = plain;
    scaled.scale = 0.25F;
    nn::RopeConfig stretched = plain;
    stretched.attn_factor = 1.3F;
    nn::RopeConfig partial = plain;
    partial.n_dims = kTinyHead / 2;
    nn::RopeConfig neighbours{.n_dims = kTinyHead, .base = 1e4F, .scale = 0.5F, .attn_factor = 1.2F};
    neighbours.pairs = nn::RopePairs::neighbours;
    const std::vector<Turn> turns = {{"plain", plain},           {"scaled", scaled},
                                     {"stretched", stretched},   {"partial", partial},
                                     {"neighbours", neighbours}, {"factors", plain, true}};
    const std::vector<int32_t> ids = random_ids(60);
    const std::span<const int32_t> all = ids;
    for (const Turn& turn : turns) {
        TurningDecoder tiny(turn);
        for (const auto& [from, to] :
             std::vector<std::pair<int, int>>{{20, 7}, {20, 19}, {7, 20}, {7, 300}}) {
            CAPTURE(turn.name);
            CAPTURE(from);
            CAPTURE(to);
            KvCache moved = tiny.cache();
            tiny.read(all, moved);
            const int n = 60 - from;
            std::vector<std::vector<float>> values;
            for (int layer = 0; layer < kTinyLayers; ++layer) {
                values.push_back(cells(moved.values(layer), from, n));
            }
            const std::vector<float> old_keys = cells(moved.keys(0), from, n);
            const std::vector<float> before = cells(moved.keys(1), 0, std::min(from, to));
            tiny.decoder->move_tail(moved, from, to, tiny.workspace);
            REQUIRE(moved.length() == to + n);
            for (int layer = 0; layer < kTinyLayers; ++layer) {
                CHECK(cells(moved.values(layer), to, n) == values[static_cast<size_t>(layer)]);
            }
            CHECK(cells(moved.keys(1), 0, std::min(from, to)) == before);
            // Keys of the first layer depend on the token and its place alone.
            KvCache fresh = tiny.cache();
            tiny.read(random_ids(to), fresh);
            tiny.read(all.subspan(static_cast<size_t>(from)), fresh);
            const std::vector<float> expected = cells(fresh.keys(0), to, n);
            // One turn by the difference against one from the begin: angles up to 350, whose float32 rounding
            // is 3e-5 and is not shared; the smaller ones agree to 1e-5.
            CHECK(distance(expected, cells(moved.keys(0), to, n)) < (to > 60 ? 1e-4 : 1e-5));
            CHECK(distance(expected, old_keys) > 1e-2);
        }
    }
}

TEST_CASE("a long tail turns in several graphs as in one") {
    TinyDecoder tiny;
    const std::vector<int32_t> ids = random_ids(1400);
    KvCache moved = tiny.cache();
    tiny.forward(ids, moved, 500);
    tiny.decoder.move_tail(moved, 300, 40, tiny.workspace);
    REQUIRE(moved.length() == 1140);
    KvCache fresh = tiny.cache();
    tiny.forward(std::span(ids).first(40), fresh);
    tiny.forward(std::span(ids).subspan(300), fresh, 500);
    // Angles up to 1400, whose float32 rounding is 1e-4 and differs between one turn and two.
    CHECK(distance(cells(fresh.keys(0), 40, 1100), cells(moved.keys(0), 40, 1100)) < 3e-4);
}

TEST_CASE("a moved tail there and back is where it was, in caches of every type") {
    TinyDecoder tiny;
    const std::vector<int32_t> ids = random_ids(60);
    const std::span<const int32_t> all = ids;
    // Each turn rounds the keys to the cache's type once more.
    const std::vector<std::pair<ggml_type, double>> limits = {
        {GGML_TYPE_F32, 1e-5}, {GGML_TYPE_F16, 0.01}, {GGML_TYPE_BF16, 0.08}, {GGML_TYPE_Q8_0, 0.08}};
    for (const auto& [type, limit] : limits) {
        CAPTURE(ggml_type_name(type));
        KvCache still = tiny.cache(type);
        tiny.forward(all.first(50), still);
        KvCache moved = tiny.cache(type);
        tiny.forward(all.first(50), moved);
        moved.reserve(100);
        tiny.decoder.move_tail(moved, 20, 90, tiny.workspace);
        tiny.decoder.move_tail(moved, 90, 20, tiny.workspace);
        CHECK(moved.length() == 50);
        CHECK(distance(tiny.forward(all.last(10), still), tiny.forward(all.last(10), moved)) < limit);
    }
}

TEST_CASE("unseen cells are as if they had never been, and rows that see ahead see all") {
    TinyDecoder tiny;
    const std::vector<int32_t> ids = random_ids(6);
    const auto last = [&](std::span<const int32_t> all, std::span<const CellRange> unseen, bool sees_ahead) {
        KvCache cache = tiny.cache();
        tiny.forward(std::span(all).first(3), cache);
        return tiny.decoder.forward(
            {.ids = all.subspan(3), .embeds = {}, .unseen = unseen, .sees_ahead = sees_ahead},
            &tiny.embedding, &tiny.head, Rows::all, cache, tiny.workspace);
    };
    const DecoderOutput plain = last(ids, {}, false);
    std::vector<int32_t> others = ids;
    for (size_t i = 1; i < 3; ++i) others[i] = (ids[i] + 1) % tiny_n_token();
    const CellRange range{1, 3};
    CHECK(last(ids, {&range, 1}, false).logits.data == last(others, {&range, 1}, false).logits.data);
    CHECK(last(ids, {&range, 1}, false).logits.data != plain.logits.data);
    // A row that sees ahead notices what comes behind it; otherwise the first row does not.
    others = ids;
    others[5] = (ids[5] + 1) % tiny_n_token();
    const auto first_row = [](const DecoderOutput& out) {
        const std::span<const float> row = out.hidden.row(0);
        return std::vector<float>(row.begin(), row.end());
    };
    CHECK(first_row(last(ids, {}, false)) == first_row(last(others, {}, false)));
    CHECK(first_row(last(ids, {}, true)) != first_row(last(others, {}, true)));
}
