#include "models/tts_lm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "core/built_gguf.h"
#include "models/tiny_tts.h"

using namespace minicpmo;

namespace {

struct TinyTts {
    explicit TinyTts(const TtsLmConfig& config = tiny_tts_config()) : lm(config, weights.root()) {}

    TempFolder folder;
    std::shared_ptr<const Backend> backend =
        std::make_shared<const Backend>(BackendOptions{.device = "cpu", .n_threads = 2});
    Weights weights{std::make_shared<const GgufFile>(GgufFile::open(folder.write("tts.gguf", bytes()))),
                    *backend};
    TtsLm lm;
    Workspace workspace{backend};

    static std::string bytes() {
        GgufBuilder builder;
        add_tiny_tts(builder);
        return builder.build();
    }
    KvCache cache() const { return {lm.kv_shape(GGML_TYPE_F32), backend}; }
    Array<float> logits(std::span<const float> rows, KvCache& cache) {
        return lm.forward({.ids = {}, .embeds = rows}, true, cache, workspace);
    }
    Array<float> logits(std::vector<int32_t> codes, KvCache& cache) {
        return lm.forward({.ids = codes, .embeds = {}}, true, cache, workspace);
    }
    std::vector<float> values(const char* name) {
        const Tensor tensor = find(name);
        const auto* data = static_cast<const float*>(tensor->data);
        return {data, data + ggml_nelements(tensor)};
    }
    Tensor find(const char* name) {
        const TensorInfo* info = weights.file().find_tensor(name);
        const auto* ne = info->ne.data();
        return weights.root().get(name, {ne[0], ne[1]});
    }
};

Array<float> random_states(int n_embd, int n) {
    Rng rng{3, 0};
    Array<float> states({n_embd, n});
    for (float& x : states.data) x = static_cast<float>(4 * rng.uniform() - 2);
    return states;
}

double distance(std::span<const float> a, std::span<const float> b) {
    REQUIRE(a.size() == b.size());
    double difference = 0;
    double largest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        REQUIRE(std::isfinite(a[i]));
        difference = std::max(difference, std::abs(double{a[i]} - b[i]));
        largest = std::max(largest, std::abs(double{b[i]}));
    }
    return difference / largest;
}

// W x + b over rows of W.
std::vector<double> affine(std::span<const float> w, std::span<const float> b, std::span<const double> x) {
    std::vector<double> y(b.begin(), b.end());
    for (size_t i = 0; i < y.size(); ++i) {
        for (size_t k = 0; k < x.size(); ++k) y[i] += double{w[i * x.size() + k]} * x[k];
    }
    return y;
}

const std::vector<int32_t> kIds = {3, 0, 17, 3, 37};

}  // namespace

TEST_CASE("a condition row is the token's text row plus its projected state of length 1") {
    TinyTts tts;
    const Array<float> states = random_states(32, 5);
    const Array<float> rows = tts.lm.condition(kIds, states, {}, tts.workspace);
    REQUIRE(rows.shape == std::vector<int64_t>{32, 5});
    const auto w1 = tts.values("tts.projector.linear1.weight"), b1 = tts.values("tts.projector.linear1.bias");
    const auto w2 = tts.values("tts.projector.linear2.weight"), b2 = tts.values("tts.projector.linear2.bias");
    const auto text = tts.values("tts.emb_text.weight");
    for (size_t i = 0; i < kIds.size(); ++i) {
        const auto state = states.row(static_cast<int64_t>(i));
        std::vector<double> y = affine(w1, b1, std::vector<double>(state.begin(), state.end()));
        for (double& v : y) v = std::max(v, 0.0);
        y = affine(w2, b2, y);
        double length = 0;
        for (const double v : y) length += v * v;
        std::vector<float> expected;
        for (size_t k = 0; k < y.size(); ++k) {
            const float word = text[static_cast<size_t>(kIds[i]) * y.size() + k];
            expected.push_back(static_cast<float>(word + y[k] / std::sqrt(length)));
        }
        CHECK(distance(rows.row(static_cast<int64_t>(i)), expected) < 1e-5);
    }
}

TEST_CASE("the tail of a condition is text alone, and may be all of it") {
    TinyTts tts;
    const std::vector<int32_t> tail = {kTinyTextEos, kTinyAudioBos};
    const Array<float> states = random_states(32, 5);
    const Array<float> rows = tts.lm.condition(kIds, states, tail, tts.workspace);
    const Array<float> alone = tts.lm.condition({}, {}, tail, tts.workspace);
    REQUIRE(rows.shape == std::vector<int64_t>{32, 7});
    REQUIRE(alone.shape == std::vector<int64_t>{32, 2});
    const std::vector<float> text = tts.values("tts.emb_text.weight");
    for (int64_t i = 0; i < 2; ++i) {
        const auto expected =
            std::span(text).subspan(static_cast<size_t>(tail[static_cast<size_t>(i)]) * 32, 32);
        CHECK(std::ranges::equal(alone.row(i), expected));
        CHECK(std::ranges::equal(rows.row(5 + i), expected));
    }
    CHECK(tts.lm.condition({}, {}, {}, tts.workspace).empty());
}

TEST_CASE("states that are not normalised keep their length") {
    TtsLmConfig config = tiny_tts_config();
    config.normalize = false;
    TinyTts plain(config);
    TinyTts normal;
    const std::vector<int32_t> id = {0};
    const std::vector<float> text = normal.values("tts.emb_text.weight");
    const auto length = [&](const Array<float>& row) {
        double sum = 0;
        for (size_t i = 0; i < 32; ++i) sum += std::pow(double{row.data[i]} - text[i], 2);
        return std::sqrt(sum);
    };
    const Array<float> state = random_states(32, 1);
    CHECK(length(normal.lm.condition(id, state, {}, normal.workspace)) == doctest::Approx(1.0));
    CHECK(length(plain.lm.condition(id, state, {}, plain.workspace)) > 1.2);
}

TEST_CASE("the next code's logits are the same however the rows were batched") {
    TinyTts tts;
    const std::vector<int32_t> tail = {kTinyAudioBos};
    const std::vector<int32_t> codes = {4, 28, 0, 4};
    Array<float> rows = tts.lm.condition(kIds, random_states(32, 5), tail, tts.workspace);
    KvCache stepwise = tts.cache();
    tts.logits(rows.data, stepwise);
    std::vector<float> last;
    for (const int32_t code : codes) last = tts.logits(std::vector<int32_t>{code}, stepwise).data;
    REQUIRE(last.size() == kTinyCodes);

    const Array<float> code_rows = tts.lm.code_rows(codes, tts.workspace);
    rows.data.insert(rows.data.end(), code_rows.data.begin(), code_rows.data.end());
    KvCache whole = tts.cache();
    CHECK(distance(tts.logits(rows.data, whole).data, last) < 1e-5);
    KvCache in_two = tts.cache();
    const std::span<const float> all = rows.data;
    tts.logits(all.first(3 * 32), in_two);
    CHECK(distance(tts.logits(all.subspan(3 * 32), in_two).data, last) < 1e-5);
    CHECK(in_two.length() == 10);
    KvCache other = tts.cache();
    rows.data[0] += 1.0F;  // the first row matters to the last
    CHECK(distance(tts.logits(rows.data, other).data, last) > 1e-4);
}

TEST_CASE("ids, codes and states out of range are refused") {
    TinyTts tts;
    const auto refused = [&](std::vector<int32_t> ids, int n_state, int n_embd = 32) {
        CHECK_THROWS_AS(tts.lm.condition(ids, random_states(n_embd, n_state), {}, tts.workspace),
                        ArgumentError);
    };
    refused({kTinyTexts}, 1);
    refused({-1}, 1);
    refused({1, 2}, 1);
    refused({1}, 2);
    refused({1}, 1, 16);
    refused({1, 2}, 1, 64);
    const std::vector<int32_t> tail = {kTinyTexts};
    CHECK_THROWS_AS(tts.lm.condition({}, {}, tail, tts.workspace), ArgumentError);
    KvCache cache = tts.cache();
    CHECK_THROWS_AS(tts.logits(std::vector<int32_t>{kTinyCodes}, cache), ArgumentError);
    CHECK_THROWS_AS(tts.logits(std::vector<int32_t>{-1}, cache), ArgumentError);
    CHECK(cache.length() == 0);
}
