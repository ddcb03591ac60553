#include "engine/vocoder_config.h"

#include <doctest/doctest.h>

#include "core/built_gguf.h"
#include "models/tiny_vocoder.h"

using namespace minicpmo;

namespace {

GgufFile tiny_file(const TinyVocoderOptions& options) {
    GgufBuilder builder;
    add_tiny_vocoder(builder, options);
    return open_built(builder);
}

VocoderKind kind(bool is_causal) { return is_causal ? VocoderKind::causal : VocoderKind::original; }

}  // namespace

TEST_CASE("a file says which vocoders it has and what they are like") {
    for (const bool is_causal : {false, true}) {
        CAPTURE(is_causal);
        const GgufFile file = tiny_file({.is_causal = is_causal});
        CHECK_FALSE(read_vocoder_config(file, kind(!is_causal)).has_value());
        const auto config = read_vocoder_config(file, kind(is_causal));
        REQUIRE(config.has_value());
        const VocoderConfig expected = tiny_vocoder_config({.is_causal = is_causal});
        CHECK(config->is_causal() == is_causal);
        CHECK(config->frame_length() == 480);
        CHECK(config->n_delay == 8);
        CHECK(config->hift.n_spectrum == 18);
        CHECK(config->hift.up_rate() == 120);
        CHECK(config->hift.n_spectrum_past() == expected.hift.n_spectrum_past());
        CHECK(config->hift.stages[1].source.dilations == expected.hift.stages[1].source.dilations);
        CHECK(config->hift.blocks[1].dilations == expected.hift.blocks[1].dilations);
        CHECK(config->f0.kernels == expected.f0.kernels);
        CHECK(config->source.n_harmonic == 3);
    }
}

TEST_CASE("numbers that do not fit together are refused") {
    const std::vector<std::string> of_both = {
        "upsample_rates", "source_down_kernels", "source_down_strides",    "source_down_left", "look_right",
        "f0.look_right",  "conv_pre_kernel",     "conv_post_kernel",       "f0.kernels",       "frame_length",
        "hop_length",     "resblock_kernels",    "source_resblock_kernels"};
    for (const bool is_causal : {false, true}) {
        for (const std::string& key : of_both) {
            CAPTURE(is_causal);
            CAPTURE(key);
            const GgufFile file = tiny_file({.is_causal = is_causal, .odd_key = key});
            CHECK_THROWS_AS(read_vocoder_config(file, kind(is_causal)), ModelFileError);
        }
    }
    const auto causal = [](const char* key) {
        return read_vocoder_config(tiny_file({.is_causal = true, .odd_key = key}), VocoderKind::causal);
    };
    CHECK_THROWS_AS(causal("delay_frames"), ModelFileError);
    CHECK_THROWS_AS(causal("upsample_right"), ModelFileError);
}
