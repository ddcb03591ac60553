#include "engine/code_generator.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "core/built_gguf.h"
#include "models/tiny_tts.h"

using namespace minicpmo;

namespace {

std::string tiny_file(const TinyTtsOptions& options) {
    GgufBuilder builder;
    add_tiny_tts(builder, options);
    return builder.build();
}

struct TinyVoice {
    explicit TinyVoice(const TinyTtsOptions& options = {})
        : path(folder.write("tts.gguf", tiny_file(options))),
          file(std::make_shared<const GgufFile>(GgufFile::open(path))),
          config(read_tts_config(*file, options.n_embd_llm)),
          weights(file, *backend),
          lm(config.lm, weights.root()) {}

    TempFolder folder;
    std::filesystem::path path;
    std::shared_ptr<const GgufFile> file;
    std::shared_ptr<const Backend> backend =
        std::make_shared<const Backend>(BackendOptions{.device = "cpu", .n_threads = 1});
    TtsConfig config;
    Weights weights;
    TtsLm lm;
    Workspace workspace{backend};

    CodeGenerator generator(const CodeRules& rules, uint64_t seed = 1) const {
        return {lm, backend, GGML_TYPE_F32, rules, seed};
    }
    // The likeliest code after all rows of the window in one batch; the end only if nothing else forbids it.
    int32_t likeliest(const std::vector<CodeState::Chunk>& window, bool may_end) {
        std::vector<float> rows;
        for (const CodeState::Chunk& chunk : window) {
            rows.insert(rows.end(), chunk.condition.data.begin(), chunk.condition.data.end());
            const Array<float> codes = lm.code_rows(chunk.codes, workspace);
            rows.insert(rows.end(), codes.data.begin(), codes.data.end());
        }
        KvCache cache(lm.kv_shape(GGML_TYPE_F32), backend);
        const auto logits = lm.forward({.ids = {}, .embeds = rows}, true, cache, workspace).data;
        const auto end = logits.end() - (may_end ? 0 : 1);
        return static_cast<int32_t>(std::max_element(logits.begin(), end) - logits.begin());
    }
};

struct Condition {
    std::vector<int32_t> ids;
    Array<float> hidden;
};

Condition condition(int n, uint64_t seed) {
    Rng rng{seed, 0};
    Condition c{{}, Array<float>({32, n})};
    for (int i = 0; i < n; ++i) c.ids.push_back(static_cast<int32_t>(rng.next() % kTinyTextEos));
    for (float& x : c.hidden.data) x = static_cast<float>(4 * rng.uniform() - 2);
    return c;
}

void feed(CodeGenerator& generator, int n, uint64_t seed, bool is_final = false) {
    const Condition c = condition(n, seed);
    generator.feed(c.ids, c.hidden, is_final);
}

std::vector<int32_t> codes_of_chunk(CodeGenerator& generator, size_t most = 100000) {
    std::vector<int32_t> codes;
    while (codes.size() < most) {
        const auto code = generator.next();
        if (!code) break;
        codes.push_back(*code);
    }
    return codes;
}

// Always the likeliest, and no penalty, so that one batch can check what one code at a time gave.
CodeRules greedy(int min_codes = 0, int max_codes = 20) {
    CodeRules rules{.min_codes = min_codes, .max_codes = max_codes};
    rules.sampling.temperature = 0;
    rules.sampling.repetition_penalty = 1;
    return rules;
}

}  // namespace

TEST_CASE("codes over several chunks are those of one batch over all that went before") {
    TinyVoice voice;
    CodeGenerator generator = voice.generator(greedy(12, 12));
    int n_row = 0;
    for (uint64_t i = 0; i < 4; ++i) {
        feed(generator, 3, i);
        for (int k = 0; k < 12; ++k) {
            const int32_t expected = voice.likeliest(generator.state().window, false);
            CHECK(generator.next() == expected);
        }
        CHECK_FALSE(generator.next());
        n_row += 3 + 1 + 12;
        CHECK(generator.n_past() == n_row - 1);  // the last code is read with the next chunk
        CHECK(generator.state().window.size() == i + 1);
    }
}

TEST_CASE("the end closes a chunk, is not returned, and leaves all codes in the cache") {
    TinyVoice voice;
    bool has_ended = false;
    for (uint64_t seed = 0; seed < 20; ++seed) {
        CodeGenerator generator = voice.generator({.max_codes = 200}, seed);
        feed(generator, 4, seed);
        const std::vector<int32_t> codes = codes_of_chunk(generator);
        for (const int32_t code : codes) CHECK(code < kTinyCodes - 1);
        if (codes.size() == 200) continue;
        has_ended = true;
        CHECK(generator.n_past() == 5 + static_cast<int>(codes.size()));
        CHECK_FALSE(generator.next());
    }
    CHECK(has_ended);
}

TEST_CASE("recomputing, a chunk sees the chunk before it and nothing older") {
    TinyVoice voice({.attention = "sliding_recompute"});
    REQUIRE(streaming_rules(voice.config).recomputes);
    CodeRules rules = greedy(10, 10);
    rules.recomputes = true;
    CodeGenerator generator = voice.generator(rules);
    for (uint64_t i = 0; i < 3; ++i) {
        feed(generator, 3, i);
        codes_of_chunk(generator);
    }
    CodeState truncated;
    truncated.window = {generator.state().window.back()};
    truncated.n_chunk = 1;
    CodeGenerator other = voice.generator(rules);
    other.restore(truncated);
    feed(generator, 3, 7);
    feed(other, 3, 7);
    CHECK(codes_of_chunk(generator) == codes_of_chunk(other));
    CHECK(generator.state().window.size() == 2);
    CHECK(generator.n_past() == 4 + 10 + 4 + 9);
}

TEST_CASE("a copy of the state takes a generator back, or another one there") {
    TinyVoice voice;
    const CodeRules rules = streaming_rules(voice.config);
    for (const bool recomputes : {false, true}) {
        CodeRules variant = rules;
        variant.recomputes = recomputes;
        variant.min_codes = 30;
        CodeGenerator generator = voice.generator(variant);
        feed(generator, 5, 1);
        codes_of_chunk(generator, 11);
        const CodeState copy = generator.state();
        const auto go_on = [&](CodeGenerator& g) {
            std::vector<int32_t> codes = codes_of_chunk(g, 15);
            feed(g, 2, 5);
            const std::vector<int32_t> more = codes_of_chunk(g, 20);
            codes.insert(codes.end(), more.begin(), more.end());
            return codes;
        };
        const std::vector<int32_t> expected = go_on(generator);
        const CodeState later = generator.state();
        const std::vector<int32_t> end = codes_of_chunk(generator);
        generator.restore(copy);
        CHECK(go_on(generator) == expected);
        generator.restore(copy);
        feed(generator, 9, 77);  // another branch writes over the cells of the first
        codes_of_chunk(generator, 25);
        generator.restore(later);
        CHECK(codes_of_chunk(generator) == end);
        CodeGenerator other = voice.generator(variant, 99);
        other.restore(copy);
        CHECK(go_on(other) == expected);
    }
}

TEST_CASE("a seed fixes the codes, another gives others, and reset begins a new turn") {
    TinyVoice voice;
    CodeRules rules = streaming_rules(voice.config);
    rules.min_codes = 20;
    const auto speak = [&](CodeGenerator& generator) {
        feed(generator, 5, 1, true);
        return codes_of_chunk(generator, 20);
    };
    CodeGenerator generator = voice.generator(rules, 3);
    const std::vector<int32_t> expected = speak(generator);
    generator.reset(3);
    CHECK(generator.n_past() == 0);
    CHECK(speak(generator) == expected);
    CodeGenerator other = voice.generator(rules, 4);
    CHECK(speak(other) != expected);
}

TEST_CASE("a whole answer has 50 codes at least and 2047 at most") {
    TinyVoice voice;
    std::set<size_t> lengths;
    for (uint64_t seed = 0; seed < 10; ++seed) {
        CodeGenerator generator = voice.generator(chat_rules(voice.config), seed);
        feed(generator, 6, seed, true);
        lengths.insert(codes_of_chunk(generator).size());
    }
    CHECK(*lengths.begin() >= 50);
    CHECK(lengths.size() > 3);
    CodeRules endless = chat_rules(voice.config);
    endless.min_codes = 5000;
    CodeGenerator generator = voice.generator(endless);
    feed(generator, 6, 1, true);
    CHECK(codes_of_chunk(generator).size() == 2047);
}

TEST_CASE("streamed chunks may be as short as they like and end after 500 codes") {
    TinyVoice voice;
    const CodeRules rules = streaming_rules(voice.config);
    std::set<size_t> lengths;
    for (uint64_t seed = 0; seed < 30; ++seed) {
        CodeGenerator generator = voice.generator(rules, seed);
        feed(generator, 6, seed);
        lengths.insert(codes_of_chunk(generator).size());
    }
    CHECK(*lengths.begin() < 25);
    CodeRules endless = rules;
    endless.min_codes = 5000;
    CodeGenerator generator = voice.generator(endless);
    feed(generator, 6, 1);
    CHECK(codes_of_chunk(generator).size() == 500);
}

TEST_CASE("a duplex unit has 25 codes, fewer only where a turn begins or ends") {
    TinyVoice voice;
    const CodeRules rules = duplex_rules(voice.config);
    std::set<size_t> first, middle, last;
    for (uint64_t seed = 0; seed < 30; ++seed) {
        CodeGenerator generator = voice.generator(rules, seed);
        const auto unit = [&](bool is_final) {
            feed(generator, static_cast<int>(seed % 3), seed, is_final);
            return codes_of_chunk(generator).size();
        };
        first.insert(unit(false));
        middle.insert(unit(false));
        middle.insert(unit(false));
        last.insert(unit(true));
    }
    CHECK(middle == std::set<size_t>{25});
    CHECK(first.size() > 2);
    CHECK(last.size() > 2);
    CHECK(*first.rbegin() <= 25);
    CHECK(*last.rbegin() <= 25);
}

TEST_CASE("text_eos ends a final condition, but not in duplex") {
    TinyVoice voice;
    const auto rows = [&](const CodeRules& rules, bool is_final) {
        CodeGenerator generator = voice.generator(rules);
        feed(generator, 4, 1, is_final);
        return generator.state().window.back().condition.dim(1);
    };
    CHECK(rows(chat_rules(voice.config), true) == 6);
    CHECK(rows(streaming_rules(voice.config), true) == 6);
    CHECK(rows(streaming_rules(voice.config), false) == 5);
    CHECK(rows(duplex_rules(voice.config), true) == 5);
}

TEST_CASE("the penalty forgets the last chunk in duplex, and remembers it in a stream") {
    TinyVoice voice;
    const auto history_after_feed = [&](const CodeRules& rules) {
        CodeGenerator generator = voice.generator(rules);
        feed(generator, 4, 1);
        codes_of_chunk(generator, 20);
        feed(generator, 4, 2);
        return generator.state().history.size();
    };
    CodeRules streaming = streaming_rules(voice.config);
    streaming.min_codes = 20;
    CHECK(history_after_feed(streaming) == 16);
    CodeRules duplex = duplex_rules(voice.config);
    duplex.edges_are_free = false;
    CHECK(history_after_feed(duplex) == 0);
}

TEST_CASE("batches fill up across chunks, and the rest comes last, once") {
    TinyVoice voice;
    for (uint64_t seed = 0; seed < 20; ++seed) {
        CodeGenerator single = voice.generator(streaming_rules(voice.config), seed);
        CodeGenerator batched = voice.generator(streaming_rules(voice.config), seed);
        std::vector<int32_t> expected, found;
        int n_last = 0;
        for (uint64_t i = 0; i < 4; ++i) {
            feed(single, 3, i, i == 3);
            feed(batched, 3, i, i == 3);
            const std::vector<int32_t> codes = codes_of_chunk(single);
            expected.insert(expected.end(), codes.begin(), codes.end());
            while (const auto batch = batched.next_batch()) {
                CHECK((batch->is_last ? batch->codes.size() < 25 : batch->codes.size() == 25));
                found.insert(found.end(), batch->codes.begin(), batch->codes.end());
                n_last += batch->is_last ? 1 : 0;
                CHECK((!batch->is_last || i == 3));
            }
        }
        CHECK(found == expected);
        CHECK(n_last == 1);
    }
}

TEST_CASE("flush gives what waits when no more text will come") {
    TinyVoice voice;
    CodeGenerator generator = voice.generator(greedy(7, 7));
    feed(generator, 3, 1);
    CHECK_FALSE(generator.next_batch());
    const CodeBatch rest = generator.flush();
    CHECK(rest.codes.size() == 7);
    CHECK(rest.is_last);
    CHECK_FALSE(generator.next_batch());
    CHECK_THROWS_AS(feed(generator, 3, 1), ArgumentError);
}

TEST_CASE("speech goes on when the context is full, from the newest chunks") {
    TinyVoice voice({.n_ctx = 96});
    CodeGenerator generator = voice.generator(greedy(9, 9));
    std::set<size_t> window_sizes;
    int n_code = 0;
    for (uint64_t i = 0; i < 60; ++i) {  // 840 positions
        feed(generator, 4, i);
        for (int k = 0; k < 9; ++k, ++n_code) {
            const auto code = generator.next();
            REQUIRE(code);
            auto window = generator.state().window;
            window.back().codes.pop_back();
            CHECK(voice.likeliest(window, false) == *code);  // what is left is what the codes depend on
            CHECK(generator.n_past() <= 96);
        }
        CHECK(generator.state().window.size() >= std::min<size_t>(i + 1, 2));
        window_sizes.insert(generator.state().window.size());
    }
    CHECK(n_code == 540);
    CHECK(*window_sizes.rbegin() == 6);  // grows until it is full
}

TEST_CASE("one chunk that fills the context by itself goes on too") {
    TinyVoice voice({.n_ctx = 64});
    CodeGenerator generator = voice.generator(greedy(300, 300));
    feed(generator, generator.max_tokens(), 1, true);
    for (int k = 0; k < 300; ++k) {
        REQUIRE(generator.next());
        CHECK(generator.n_past() <= 64);
    }
    CHECK(generator.state().window.back().condition.dim(1) == 48 + 2);
    CHECK_FALSE(generator.next());
}

TEST_CASE("an interrupted code is drawn again, as if nothing had happened") {
    TinyVoice voice;
    CodeRules rules = streaming_rules(voice.config);
    rules.min_codes = 20;
    CodeGenerator undisturbed = voice.generator(rules);
    feed(undisturbed, 5, 1);
    const std::vector<int32_t> expected = codes_of_chunk(undisturbed, 20);
    CodeGenerator generator = voice.generator(rules);
    feed(generator, 5, 1);
    std::vector<int32_t> codes = codes_of_chunk(generator, 8);
    generator.interrupt();
    CHECK_THROWS_AS(generator.next(), InterruptedError);
    CHECK_THROWS_AS(feed(generator, 3, 1), InterruptedError);
    generator.clear_interrupt();
    const std::vector<int32_t> more = codes_of_chunk(generator, 12);
    codes.insert(codes.end(), more.begin(), more.end());
    CHECK(codes == expected);
}

TEST_CASE("chunks after the final one, too long ones and foreign states are refused") {
    TinyVoice voice({.n_ctx = 64});
    CodeGenerator generator = voice.generator(greedy());
    CHECK_FALSE(generator.next());
    CHECK_FALSE(generator.next_batch());
    CHECK_THROWS_AS(generator.next_batch(0), ArgumentError);
    CHECK_THROWS_AS(feed(generator, generator.max_tokens() + 1, 1), ArgumentError);
    feed(generator, 0, 1, true);  // a chunk without words is one
    CHECK_THROWS_AS(feed(generator, 1, 1), ArgumentError);
    CodeState state = generator.state();
    state.window.back().codes = {kTinyCodes - 1};
    CHECK_THROWS_AS(generator.restore(state), ArgumentError);
    state = generator.state();
    state.window.back().condition = Array<float>({16, 2});
    CHECK_THROWS_AS(generator.restore(state), ArgumentError);
    state = generator.state();
    state.history = {-1};
    CHECK_THROWS_AS(generator.restore(state), ArgumentError);
    CodeRules rules = greedy();
    rules.max_codes = 0;
    CHECK_THROWS_AS(voice.generator(rules), ArgumentError);
}

TEST_CASE("files of another kind of speech are refused") {
    const auto read = [](const TinyTtsOptions& options, int n_embd_llm = 32) {
        const TempFolder folder;
        return read_tts_config(GgufFile::open(folder.write("tts.gguf", tiny_file(options))), n_embd_llm);
    };
    const TtsConfig config = read({});
    CHECK(config.lm.n_code == kTinyCodes);
    CHECK(config.lm.text_eos == kTinyTextEos);
    CHECK(config.lm.audio_bos == kTinyAudioBos);
    CHECK_FALSE(config.recomputes);
    CHECK(config.sampling.top_k == 25);
    CHECK(config.file_type == "f32");
    CHECK(read({.attention = "sliding_recompute"}).recomputes);
    CHECK_THROWS_AS(read({.attention = "sliding_window"}), UnsupportedModelError);
    CHECK_THROWS_AS(read({.attention = "reindex"}), UnsupportedModelError);
    CHECK_THROWS_AS(read({.condition = "llm_hidden"}), UnsupportedModelError);
    CHECK_THROWS_AS(read({.num_vq = 4}), UnsupportedModelError);
    CHECK_THROWS_AS(read({}, 64), ModelFileError);
    CHECK_THROWS_AS(read({.n_ctx = 10}), ModelFileError);
}
