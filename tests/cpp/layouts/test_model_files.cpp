#include "layouts/model_files.h"

#include <doctest/doctest.h>

#include <fstream>

#include "base/error.h"
#include "core/gguf_builder.h"
#include "core/temp_folder.h"
#include "layouts/file_kind.h"
#include "layouts/file_search.h"

using namespace minicpmo;

namespace {

// 2 features wide, with the tokens of pictures.
GgufBuilder llm() {
    GgufBuilder builder;
    builder.add("general.architecture", "qwen3");
    builder.array("tokenizer.ggml.tokens",
                  std::vector<std::string>{"<image>", "<|im_end|>", "</image>", "a"});
    builder.array("tokenizer.ggml.token_type", std::vector<int32_t>{1, 3, 4, 1});
    builder.tensor({.name = "token_embd.weight", .dims = {2, 4}});
    return builder;
}

GgufBuilder of_tensor(const char* name) {
    GgufBuilder builder;
    builder.tensor({.name = name});
    return builder;
}

void write(const std::filesystem::path& path, const GgufBuilder& builder) {
    std::filesystem::create_directories(path.parent_path());
    const std::string bytes = builder.build();
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

TEST_CASE("tensors tell what a file is") {
    const TempFolder folder;
    const auto kind_of = [&](const GgufBuilder& builder) {
        write(folder.path() / "x.gguf", builder);
        return classify(GgufFile::open(folder.path() / "x.gguf"));
    };
    CHECK(kind_of(llm()) == FileKind::llm);
    CHECK(kind_of(of_tensor("resampler.query")) == FileKind::vision);
    CHECK(kind_of(of_tensor("encoder.conv1.weight")) == FileKind::audio);
    CHECK(kind_of(of_tensor("linear2.weight")) == FileKind::projector);
    CHECK(kind_of(of_tensor("estimator.in_proj.weight")) == FileKind::flow_matching);
    CHECK(kind_of(of_tensor("prompt_cache.spk_cb")) == FileKind::prompt_cache);
    CHECK(kind_of(of_tensor("anything")) == FileKind::other);
    GgufBuilder tts = llm();  // has all that a language model has
    tts.tensor({.name = "head_code.0.weight"});
    CHECK(kind_of(tts) == FileKind::tts);
    GgufBuilder single = llm();
    single.add("minicpmo.version", uint32_t{1});
    CHECK(kind_of(single) == FileKind::model);
    CHECK(kind_of(of_tensor("s3.conv1.weight").add("minicpmo.version", uint32_t{1})) == FileKind::supplement);
}

TEST_CASE("files are looked for one folder deep, later parts of split ones aside") {
    const TempFolder folder;
    for (const char* name : {"b.gguf", "a/c.gguf", "a/b/too-deep.gguf", "m-00001-of-00002.gguf",
                             "m-00002-of-00002.gguf", "notes.txt"}) {
        write(folder.path() / name, llm());
    }
    const auto files = find_gguf_files(folder.path() / "");
    REQUIRE(files.size() == 3);
    CHECK(files[0].filename() == "c.gguf");
    CHECK(files[2].filename() == "m-00001-of-00002.gguf");
    CHECK(find_gguf_files(folder.path() / "none").empty());
}

TEST_CASE("a language model without company stays what it is") {
    const TempFolder folder;
    write(folder.path() / "llm.gguf", llm());
    write(folder.path() / "audio.gguf", of_tensor("encoder.conv1.weight"));  // of no known width
    const auto file = open_model(folder.path() / "llm.gguf");
    CHECK(file->get<std::string>("general.architecture") == "qwen3");
    CHECK(file->tensors().size() == 1);
}

TEST_CASE("a language model can be opened without what lies beside it") {
    const TempFolder folder;
    write(folder.path() / "llm.gguf", llm());
    GgufBuilder supplement = of_tensor("s3.x");
    supplement.add("minicpmo.version", uint32_t{1}).add("minicpmo.llm.arch", "qwen3");
    write(folder.path() / "supplement.gguf", supplement);
    CHECK(open_model(folder.path() / "llm.gguf")->tensors().size() == 2);
    CHECK(open_model(folder.path() / "llm.gguf", {}, false)->tensors().size() == 1);
    CHECK_THROWS_WITH_AS(open_model(folder.path() / "supplement.gguf", {}, false),
                         doctest::Contains("expected a language model, got none"), ModelFileError);
}

TEST_CASE("a supplement's facts and tensors join, and tokens get their roles") {
    const TempFolder folder;
    write(folder.path() / "llm.gguf", llm());
    GgufBuilder supplement = of_tensor("s3.x");
    supplement.add("minicpmo.version", uint32_t{1}).add("minicpmo.llm.arch", "qwen3");
    supplement.add("minicpmo.audio.pool_step", uint32_t{2}).add("general.name", "not mine");
    write(folder.path() / "deep/supplement.gguf", supplement);
    for (const char* start : {"llm.gguf", "deep/supplement.gguf", ""}) {
        CAPTURE(start);
        const auto file = open_model(folder.path() / start);
        CHECK(file->get<std::string>("general.architecture") == "minicpmo");
        CHECK(file->get<int64_t>("minicpmo.audio.pool_step") == 2);
        CHECK(file->get<int64_t>("minicpmo.tokens.im_end") == 1);
        CHECK(file->get<std::vector<int64_t>>("minicpmo.tokens.stop") == std::vector<int64_t>{1});
        CHECK(file->get<std::vector<int64_t>>("tokenizer.ggml.token_type") ==
              std::vector<int64_t>{3, 3, 4, 1});
        CHECK_FALSE(file->has("general.name"));
        CHECK(file->find_tensor("s3.x") != nullptr);
        CHECK(file->find_tensor("token_embd.weight") != nullptr);
        CHECK(file->regions().size() == 2);
    }
}

TEST_CASE("no tensor comes twice") {
    const TempFolder folder;
    GgufBuilder supplement = of_tensor("output.weight");
    supplement.add("minicpmo.version", uint32_t{1}).add("minicpmo.llm.arch", "qwen3");
    write(folder.path() / "supplement.gguf", supplement);
    GgufBuilder both = llm();
    both.tensor({.name = "output.weight"});
    write(folder.path() / "llm.gguf", both);
    CHECK_THROWS_WITH_AS(open_model(folder.path() / "llm.gguf"),
                         doctest::Contains("got 'output.weight' twice"), ModelFileError);
}
