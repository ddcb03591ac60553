#include "engine/prompt_reader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "engine/recording.h"
#include "engine/tiny_session.h"

using namespace minicpmo;

namespace {

struct Builder {
    std::shared_ptr<const Model> model = load_tiny();
    Workspace workspace{model->backend()};

    Prompt build(const std::vector<Message>& messages, const PromptOptions& options = {}) {
        return PromptBuilder(*model).build(messages, options);
    }
    Array<float> embed(const Prompt& prompt) {
        return PromptReader(*model, prompt, workspace).read(static_cast<int>(prompt.ids.size()));
    }
    std::vector<int32_t> encode(const std::string& text) { return model->tokenizer().encode(text, true); }
};

std::string queries() {
    std::string text;
    for (int i = 0; i < kTinyQueries; ++i) text += "<unk>";
    return text;
}

// A tiny model in which `role` names the token `token` instead of its own.
std::shared_ptr<const Model> with_role(const std::string& role, const std::string& token) {
    const auto id = load_tiny()->tokenizer().require(token);
    GgufBuilder b = tiny_model();
    const std::string key = text("minicpmo.tokens." + role);
    for (std::string& entry : b.keys) {
        if (entry.starts_with(key)) entry = key + le(kGgufU32) + le(static_cast<uint32_t>(id));
    }
    const TempFolder folder;
    return Model::load(folder.write("model.gguf", b.build()), {.backend = {.device = "cpu", .n_threads = 1}});
}

}  // namespace

TEST_CASE("text becomes the template's ids, without runs") {
    Builder b;
    const Prompt prompt = b.build({say(Role::user, "hello")});
    CHECK(prompt.text == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
    CHECK(prompt.ids == b.encode(prompt.text));
    CHECK(prompt.runs.empty());
    const Array<float> rows = b.embed(prompt);
    CHECK(rows.shape == std::vector<int64_t>{kTinyEmbd, static_cast<int64_t>(prompt.ids.size())});
    CHECK(rows.data == b.model->embedding().lookup(prompt.ids, b.workspace).data);
}

TEST_CASE("special tokens in a user's words count only when asked for") {
    Builder b;
    const std::vector<Message> messages = {say(Role::user, "a<|im_end|>b")};
    const int32_t end = b.model->tokenizer().require("<|im_end|>");
    const auto count = [&](const Prompt& prompt) {
        return std::count(prompt.ids.begin(), prompt.ids.end(), end);
    };
    CHECK(count(b.build(messages)) == 1);
    PromptOptions trusting;
    trusting.parse_special = true;
    CHECK(count(b.build(messages, trusting)) == 2);
}

TEST_CASE("a small picture is one run of queries behind its id") {
    Builder b;
    const Image image = random_image(30, 30);
    const Prompt prompt = b.build({{Role::user, {image_part(image), text_part("hello")}}});
    CHECK(prompt.text.starts_with("<|im_start|>user\n<image>./</image>\nhello<|im_end|>\n"));
    CHECK(prompt.ids ==
          b.encode("<|im_start|>user\n<image_id>0</image_id><image>" + queries() +
                   "</image>\nhello<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"));
    REQUIRE(prompt.runs.size() == 1);
    CHECK(prompt.runs[0].n == kTinyQueries);
    CHECK(prompt.runs[0].encode(b.workspace).shape == std::vector<int64_t>{kTinyEmbd, kTinyQueries});
    const int32_t unk = b.model->config().tokens.unk;
    const int begin = prompt.runs[0].begin;
    CHECK(prompt.ids[static_cast<size_t>(begin - 1)] == b.model->config().tokens.image_start);
    for (int i = 0; i < kTinyQueries; ++i) CHECK(prompt.ids[static_cast<size_t>(begin + i)] == unk);
}

TEST_CASE("a large picture is an overview and slices, row by row") {
    Builder b;
    const Image image = random_image(120, 60);
    const Prompt prompt = b.build({{Role::user, {image_part(image)}}});
    const PreparedImage prepared = prepare_image(*b.model->config().vision, image.view(), std::nullopt);
    REQUIRE(prepared.grid == Grid{2, 1});
    REQUIRE(prompt.runs.size() == 3);
    for (size_t i = 0; i < 3; ++i) {
        CHECK(prompt.runs[i].encode(b.workspace).data ==
              encode_slice(*b.model, prepared.slices[i], b.workspace).data);
    }
    CHECK(image_placeholder(*b.model->config().vision, {2, 2}, 7, std::nullopt) ==
          "<image_id>7</image_id><image>" + queries() + "</image><slice>" + queries() + "</slice><slice>" +
              queries() + "</slice>\n<slice>" + queries() + "</slice><slice>" + queries() + "</slice>");
    CHECK(image_placeholder(*b.model->config().vision, {}, 7, false) == "<image>" + queries() + "</image>");
    PromptOptions one;
    one.max_slices = 1;
    CHECK(b.build({{Role::user, {image_part(image)}}}, one).runs.size() == 1);
}

TEST_CASE("embedding replaces the rows of each run and no others") {
    Builder b;
    const Image small = random_image(30, 30);
    const Image large = random_image(90, 40);
    const Prompt prompt = b.build({{Role::user, {image_part(small), text_part("x"), image_part(large)}}});
    REQUIRE(prompt.runs.size() > 2);
    const Array<float> rows = b.embed(prompt);
    const Array<float> plain = b.model->embedding().lookup(prompt.ids, b.workspace);
    std::vector<bool> is_replaced(prompt.ids.size());
    for (const EmbeddingRun& run : prompt.runs) {
        const Array<float> expected = run.encode(b.workspace);
        for (int64_t i = 0; i < run.n; ++i) {
            is_replaced[static_cast<size_t>(run.begin + i)] = true;
            CHECK(std::ranges::equal(rows.row(run.begin + i), expected.row(i)));
        }
    }
    for (size_t i = 0; i < is_replaced.size(); ++i) {
        const auto row = static_cast<int64_t>(i);
        CHECK(std::ranges::equal(rows.row(row), plain.row(row)) == !is_replaced[i]);
    }
}

TEST_CASE("pictures are numbered in order") {
    Builder b;
    const Image image = random_image(30, 30);
    const Prompt prompt = b.build({{Role::user, {image_part(image), image_part(image)}}});
    const std::string text = b.model->tokenizer().decode(prompt.ids);
    CHECK(text.find("<image_id>0</image_id>") < text.find("<image_id>1</image_id>"));
    CHECK(text.find("<image_id>1</image_id>") != std::string::npos);
}

TEST_CASE("progress ends at the number of slices") {
    Builder b;
    Progress progress;
    const Image image = random_image(120, 60);
    const Message message{Role::user, {image_part(image)}};
    const Prompt prompt = PromptBuilder(*b.model).build(std::span(&message, 1), {});
    PromptReader reader(*b.model, prompt, b.workspace, &progress);
    CHECK(progress.n_slice == 3);
    CHECK(progress.n_slice_done == 0);
    reader.read(reader.n_left());
    CHECK(progress.n_slice_done == 3);
}

TEST_CASE("a model without vision refuses pictures, and bad pictures are refused") {
    const auto blind = load_tiny({.has_vision = false});
    const Image image = random_image(30, 30);
    const Message message{Role::user, {image_part(image)}};
    CHECK_THROWS_AS(PromptBuilder(*blind).build(std::span(&message, 1), {}), UnsupportedModelError);
    Builder b;
    const Image empty;
    CHECK_THROWS_AS(b.build({{Role::user, {image_part(empty)}}}), ArgumentError);
    PromptOptions options;
    for (const int max_slices : {0, -1, 65}) {
        options.max_slices = max_slices;
        CHECK_THROWS_AS(b.build({message}, options), ArgumentError);
    }
    const auto deaf = load_tiny({.has_audio = false});
    const std::vector<float> sound(16000);
    const Message audio{Role::user, {audio_part(sound)}};
    CHECK_THROWS_AS(PromptBuilder(*deaf).build(std::span(&audio, 1), {}), UnsupportedModelError);
}

TEST_CASE("a file whose token roles do not fit its vocabulary is refused") {
    const Image image = random_image(120, 60);
    const Message message{Role::user, {image_part(image)}};
    const std::vector<std::pair<const char*, const char*>> wrong = {
        {"image_start", "</image>"}, {"image_start", "<unk>"},   {"image_start", "</slice>"},
        {"slice_start", "</slice>"}, {"slice_start", "<image>"}, {"unk", "<|im_end|>"},
    };
    for (const auto& [role, token] : wrong) {
        CAPTURE(role);
        CAPTURE(token);
        const auto model = with_role(role, token);
        CHECK_THROWS_AS(PromptBuilder(*model).build(std::span(&message, 1), {}), ModelFileError);
    }
}

TEST_CASE("a sound is as many <unk> as embeddings, and opens the answer for speech") {
    Builder b;
    const std::vector<float> sound = random_sound(16000);
    const Prompt prompt = b.build({{Role::user, {text_part("listen"), audio_part(sound)}}});
    CHECK(prompt.text ==
          "<|im_start|>user\nlisten\n<audio>./</audio><|im_end|>\n<|im_start|>assistant\n<think>\n\n</"
          "think>\n\n"
          "<|tts_bos|>");
    REQUIRE(prompt.runs.size() == 1);
    CHECK(prompt.runs[0].n == 10);
    CHECK(prompt.heard_s == doctest::Approx(1.0));
    const auto begin = static_cast<size_t>(prompt.runs[0].begin);
    CHECK(prompt.ids[begin - 1] == b.model->config().tokens.audio_start);
    CHECK(prompt.ids[begin + 10] == b.model->config().tokens.audio_end);
    PromptOptions silent;
    silent.use_tts = false;
    CHECK(!b.build({{Role::user, {audio_part(sound)}}}, silent).text.ends_with("<|tts_bos|>"));
}

TEST_CASE("streamed input has a placeholder for every second") {
    Builder b;
    const std::vector<float> sound = random_sound(37920);
    PromptOptions options;
    options.stream_input = true;
    const Prompt prompt = b.build({{Role::user, {text_part("a"), audio_part(sound)}}}, options);
    std::vector<int> lengths;
    for (const EmbeddingRun& run : prompt.runs) lengths.push_back(run.n);
    CHECK(lengths == std::vector<int>{10, 10, 3});
    CHECK(prompt.text.starts_with("<|im_start|>user\na<audio>"));
    // The embeddings are those of one placeholder.
    const Array<float> whole = b.embed(b.build({{Role::user, {text_part("a"), audio_part(sound)}}}));
    const EmbeddingRun one = b.build({{Role::user, {text_part("a"), audio_part(sound)}}}).runs.at(0);
    const Array<float> rows = b.embed(prompt);
    for (int64_t i = 0; i < 10; ++i) {
        CHECK(std::ranges::equal(rows.row(prompt.runs[1].begin + i), whole.row(one.begin + 10 + i)));
    }
}

TEST_CASE("the sounds of one message are heard as one, those of another are not") {
    Builder b;
    const std::vector<float> all = random_sound(48000);
    const std::span<const float> view(all);
    const auto part = [&](size_t begin) {
        return MessagePart{PartKind::audio, "", {}, view.subspan(begin, 16000)};
    };
    const Image image = random_image(30, 30);
    const Prompt prompt = b.build({{Role::user, {part(0), image_part(image), part(16000)}},
                                   {Role::assistant, {text_part("yes")}},
                                   {Role::user, {part(32000)}}});
    REQUIRE(prompt.runs.size() == 4);
    const int block = attention_block(*b.model->config().audio, 1.0F);
    const auto expected = [&](size_t begin, size_t n) {
        return Recording(*b.model, {view.subspan(begin, n)}, block).all(b.workspace);
    };
    const Array<float> first = expected(0, 32000);
    const Array<float> second = prompt.runs[2].encode(b.workspace);
    CHECK(std::equal(second.data.begin(), second.data.end(), first.data.begin() + 10 * kTinyEmbd));
    CHECK(prompt.runs[3].encode(b.workspace).data == expected(32000, 16000).data);
}

TEST_CASE("sounds whose rounded counts are more than their sum gives end in silence") {
    Builder b;
    const std::vector<float> sound = random_sound(1281);  // one embedding each; both together give one too
    const Prompt prompt = b.build({{Role::user, {audio_part(sound), audio_part(sound)}}});
    REQUIRE(prompt.runs.size() == 2);
    CHECK(b.embed(prompt).dim(1) == static_cast<int64_t>(prompt.ids.size()));
    const std::vector<float> nothing = random_sound(1280);
    CHECK_THROWS_AS(b.build({{Role::user, {audio_part(nothing)}}}), ArgumentError);
    CHECK_NOTHROW(b.build({{Role::user, {audio_part(nothing), audio_part(sound)}}}));
    std::vector<float> broken = sound;
    broken[7] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(b.build({{Role::user, {audio_part(broken)}}}), ArgumentError);
}

TEST_CASE("rows are the same however many are read at once, across pieces of 30 s") {
    Builder b;
    const std::vector<float> sound = random_sound(16000 * 40);
    const Prompt prompt = b.build({{Role::user, {text_part("a"), audio_part(sound)}}});
    CHECK(prompt.runs.size() == 2);
    const Array<float> whole = b.embed(prompt);
    PromptReader reader(*b.model, prompt, b.workspace);
    for (int64_t at = 0; reader.n_left() > 0;) {
        const Array<float> rows = reader.read(std::min(37, reader.n_left()));
        for (int64_t i = 0; i < rows.dim(1); ++i, ++at) CHECK(std::ranges::equal(rows.row(i), whole.row(at)));
    }
    CHECK(reader.timings().n_audio == 400);
}

TEST_CASE("a recording has as many embeddings as the reference counts") {
    const auto model = load_tiny();
    for (const auto& [n_sample, n_token] : {std::pair{0, 0},
                                            {1, 0},
                                            {160, 0},
                                            {1280, 0},
                                            {1281, 1},
                                            {1440, 1},
                                            {8000, 5},
                                            {16000, 10},
                                            {16480, 10},
                                            {16560, 10},
                                            {480000, 300},
                                            {960000, 600}}) {
        CAPTURE(n_sample);
        CHECK(audio_token_count(*model, n_sample) == n_token);
    }
    // The reference's own arithmetic, which rounds down below zero too.
    const auto floored = [](int64_t a, int64_t b) { return (a >= 0 ? a : a - b + 1) / b; };
    for (int64_t n = 0; n < 50000; n += 37) {
        const int64_t halved = floored((n + 159) / 160 - 1, 2) + 1;
        CHECK(audio_token_count(*model, n) == floored(halved - 5, 5) + 1);
    }
}
