#include "engine/flow_config.h"

#include <doctest/doctest.h>

#include <cstring>

#include "base/error.h"
#include "core/built_gguf.h"
#include "models/tiny_flow.h"

using namespace minicpmo;

namespace {

// The tiny flow's file with one number replaced, whose 4 bytes follow its key and type.
std::string with_number(const std::string& key, uint32_t value) {
    GgufBuilder builder;
    add_tiny_flow(builder);
    std::string bytes = builder.build();
    const std::string name = "minicpmo.t2w." + key;
    const size_t at = bytes.find(name);
    REQUIRE(at != std::string::npos);
    std::memcpy(bytes.data() + at + name.size() + sizeof(uint32_t), &value, sizeof(value));
    return bytes;
}

SpeechFlowConfig read(const std::string& bytes) {
    const TempFolder folder;
    return read_flow_config(GgufFile::open(folder.write("flow.gguf", bytes)));
}

}  // namespace

TEST_CASE("the facts of a flow are read from its keys") {
    GgufBuilder builder;
    add_tiny_flow(builder);
    const SpeechFlowConfig c = read(builder.build());
    const FlowConfig expected = tiny_flow_config();
    CHECK(c.n_step == 3);
    CHECK(c.chunk_codes == 25);
    CHECK(c.silence_code == 5);
    CHECK(c.temperature == 1.0F);
    CHECK(c.network.n_code == expected.n_code);
    CHECK(c.network.n_speaker == expected.n_speaker);
    CHECK(c.network.encoder.n_layer == expected.encoder.n_layer);
    CHECK(c.network.encoder.n_up_layer == expected.encoder.n_up_layer);
    CHECK(c.network.encoder.up_taps == expected.encoder.up_taps);
    CHECK(c.network.encoder.block_norm_eps == expected.encoder.block_norm_eps);
    CHECK(c.network.matching.guidance == 0.7F);
    CHECK(c.network.matching.dit.d_head == expected.matching.dit.d_head);
    CHECK(c.network.matching.dit.n_mel == expected.n_mel);
    CHECK(c.network.matching.dit.conv_norm_eps == expected.matching.dit.conv_norm_eps);
}

TEST_CASE("facts that no flow can have are refused") {
    CHECK_THROWS_AS(read(with_number("vocab_size", 0)), ModelFileError);
    CHECK_THROWS_AS(read(with_number("silence_token", kTinyFlowCodes)), ModelFileError);
    CHECK_THROWS_AS(read(with_number("n_timesteps", 0)), ModelFileError);
    CHECK_THROWS_AS(read(with_number("enc.attention.head_count", 3)), ModelFileError);
    CHECK_THROWS_AS(read(with_number("dit.time_length", 31)), ModelFileError);
    CHECK_THROWS_AS(read(with_number("dit.conv_kernel", 1)), ModelFileError);
    CHECK_THROWS_AS(read(with_number("enc.up_conv.right", 1)), UnsupportedModelError);
}
