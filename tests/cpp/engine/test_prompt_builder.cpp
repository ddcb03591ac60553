#include "engine/prompt_builder.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/error.h"
#include "engine/tiny_session.h"

using namespace minicpmo;

namespace {

struct Builder {
    std::shared_ptr<const Model> model = load_tiny();
    Workspace workspace{model->backend()};

    Prompt build(const std::vector<Message>& messages, const PromptOptions& options = {}) {
        return PromptBuilder(*model, workspace).build(messages, options);
    }
    Array<float> embed(const Prompt& prompt) { return PromptBuilder(*model, workspace).embed(prompt); }
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
    CHECK(prompt.n_slice == 1);
    CHECK(prompt.runs[0].rows.shape == std::vector<int64_t>{kTinyEmbd, kTinyQueries});
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
    CHECK(prompt.n_slice == 3);
    REQUIRE(prompt.runs.size() == 3);
    for (size_t i = 0; i < 3; ++i) {
        CHECK(prompt.runs[i].rows.data == encode_slice(*b.model, prepared.slices[i], b.workspace).data);
    }
    CHECK(image_placeholder(*b.model->config().vision, {2, 2}, 7, std::nullopt) ==
          "<image_id>7</image_id><image>" + queries() + "</image><slice>" + queries() + "</slice><slice>" +
              queries() + "</slice>\n<slice>" + queries() + "</slice><slice>" + queries() + "</slice>");
    CHECK(image_placeholder(*b.model->config().vision, {}, 7, false) == "<image>" + queries() + "</image>");
    PromptOptions one;
    one.max_slices = 1;
    CHECK(b.build({{Role::user, {image_part(image)}}}, one).n_slice == 1);
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
        for (int64_t i = 0; i < run.rows.dim(1); ++i) {
            is_replaced[static_cast<size_t>(run.begin + i)] = true;
            CHECK(std::ranges::equal(rows.row(run.begin + i), run.rows.row(i)));
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
    PromptBuilder(*b.model, b.workspace, &progress).build(std::span(&message, 1), {});
    CHECK(progress.n_slice == 3);
    CHECK(progress.n_slice_done == 3);
}

TEST_CASE("a model without vision refuses pictures, and bad pictures are refused") {
    const auto blind = load_tiny({.has_vision = false});
    Workspace workspace(blind->backend());
    const Image image = random_image(30, 30);
    const Message message{Role::user, {image_part(image)}};
    CHECK_THROWS_AS(PromptBuilder(*blind, workspace).build(std::span(&message, 1), {}),
                    UnsupportedModelError);
    Builder b;
    const Image empty;
    CHECK_THROWS_AS(b.build({{Role::user, {image_part(empty)}}}), ArgumentError);
    PromptOptions options;
    for (const int max_slices : {0, -1, 65}) {
        options.max_slices = max_slices;
        CHECK_THROWS_AS(b.build({message}, options), ArgumentError);
    }
    const Message audio{Role::user, {{PartKind::audio, "", {}}}};
    CHECK_THROWS_AS(b.build({audio}), UnsupportedModelError);
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
        Workspace workspace(model->backend());
        CHECK_THROWS_AS(PromptBuilder(*model, workspace).build(std::span(&message, 1), {}), ModelFileError);
    }
}
