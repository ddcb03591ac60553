#include "base/digest.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace minicpmo;

namespace {

std::string hex(const Digest& digest) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const uint8_t byte : digest) {
        text += kDigits[byte >> 4];
        text += kDigits[byte & 15];
    }
    return text;
}

std::vector<std::byte> counting(size_t n) {
    std::vector<std::byte> bytes(n);
    for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 256);
    return bytes;
}

Digest digest_of(std::span<const std::byte> bytes) {
    DigestMaker maker;
    maker.add(bytes);
    return maker.finish();
}

}  // namespace

TEST_CASE("digests are BLAKE2b-256") {
    // hashlib.blake2b(bytes((i * 7 + i // 256) % 256 for i in range(n)), digest_size=32).hexdigest()
    const std::vector<std::pair<size_t, std::string>> known = {
        {0, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"},
        {1, "03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314"},
        {127, "4ff62e7c4c43fe101a078479c48836be4907d9d498dcc577ca89d694b2c11f9b"},
        {128, "14696d2a98d9f8a280da8b132b1045b345e1033759c6b02fcc4ee885c8ae7c37"},
        {129, "3934215260b1039be9d9d2b073b059bcd50120c327a22af93eb4d98cf821c14c"},
        {255, "a3bb8b4fa098078d32bb5a89e905e237862fd83e99141ca7d8a073bb268ba2a0"},
        {256, "3d0cb2693dfbac42af5a6cc960953fea8714aa39c4bcd054ef61d6b5e98ade4a"},
        {257, "00466ab5e91660e4fdbef955724cca27cee84370539f22d393d1f566bd177514"},
        {1000, "38981cec8fd0971914a759c4fac0538dbb29495eec4aea07f277e1f5f8562d27"},
    };
    for (const auto& [n, expected] : known) {
        CAPTURE(n);
        CHECK(hex(digest_of(counting(n))) == expected);
    }
}

TEST_CASE("a digest does not depend on how its bytes came") {
    const std::vector<std::byte> bytes = counting(1000);
    const Digest whole = digest_of(bytes);
    for (const size_t step : {1, 7, 127, 128, 129, 300}) {
        CAPTURE(step);
        DigestMaker maker;
        for (size_t at = 0; at < bytes.size(); at += step) {
            maker.add(std::span(bytes).subspan(at, std::min(step, bytes.size() - at)));
        }
        CHECK(maker.finish() == whole);
    }
}

TEST_CASE("a digest tells every bit and every kind") {
    std::vector<std::byte> bytes = counting(300);
    const Digest before = digest_of(bytes);
    for (const size_t i : {0, 127, 128, 255, 256, 299}) {
        bytes[i] ^= std::byte{1};
        CHECK(digest_of(bytes) != before);
        bytes[i] ^= std::byte{1};
    }
    bytes.push_back(std::byte{0});
    CHECK(digest_of(bytes) != before);
    DigestMaker picture("picture");
    DigestMaker sound("sound");
    picture.add(bytes);
    sound.add(bytes);
    CHECK(picture.finish() != sound.finish());
}
