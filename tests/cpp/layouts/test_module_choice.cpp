#include "layouts/module_choice.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "core/gguf_builder.h"
#include "core/temp_folder.h"

using namespace minicpmo;

TEST_CASE("names of tensors tell their module") {
    CHECK(module_of("token_embd.weight") == "llm");
    CHECK(module_of("blk.0.attn_v.weight") == "llm");
    CHECK(module_of("v.blk.0.ln1.weight") == "vision");
    CHECK(module_of("resampler.query") == "vision");
    CHECK(module_of("a.conv1.weight") == "audio");
    CHECK(module_of("mm.a.linear1.weight") == "audio");
    CHECK(module_of("tts.emb_code.weight") == "tts");
    CHECK(module_of("t2w.dit.in.weight") == "t2w");
    CHECK(module_of("s3.conv1.weight") == "s3");
    CHECK(module_of("spk.dense.weight") == "spk");
    CHECK(module_of("dvae.codes.0.weight") == "dvae");
    CHECK(module_of("vocos.out.weight") == "vocos");
    CHECK(module_of("voice.0.spk") == "voices");
}

TEST_CASE("what is not chosen is not there") {
    const TempFolder folder;
    GgufBuilder builder;
    builder.add("general.architecture", "qwen3");
    for (const char* name : {"token_embd.weight", "v.x", "mm.a.x", "tts.x", "spk.x", "voice.0.spk"})
        builder.tensor({.name = name});
    const auto file =
        std::make_shared<const GgufFile>(GgufFile::open(folder.write("x.gguf", builder.build())));
    CHECK(restricted(file, {}) == file);
    const auto text = restricted(file, {.vision = false, .audio = false, .speech = false});
    REQUIRE(text->tensors().size() == 1);
    CHECK(text->tensors()[0].data.data() == file->find_tensor("token_embd.weight")->data.data());
    CHECK(text->get<std::string>("general.architecture") == "qwen3");
    CHECK(restricted(file, {.audio = false, .speech = false})->find_tensor("v.x") != nullptr);
    CHECK(restricted(file, {.vision = false, .audio = false})->tensors().size() == 4);
}

TEST_CASE("modules by name") {
    const ModuleChoice two = parse_modules(std::vector<std::string>{"audio", "llm", "vision"});
    CHECK((two.vision && two.audio && !two.speech));
    CHECK_FALSE(parse_modules({}).has_all());
    CHECK_THROWS_WITH_AS(parse_modules(std::vector<std::string>{"sight"}),
                         doctest::Contains("among llm, vision, audio and speech, got \"sight\""),
                         ArgumentError);
}
