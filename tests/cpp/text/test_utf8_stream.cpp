#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/utf8_stream.h"

using namespace minicpmo;
using namespace std::string_literals;

namespace {

// Sound text, and every way in which bytes can be no UTF-8.
const std::vector<std::string> kSamples = {
    "plain",
    "h\u00E9\u4F60\u597D\U0001F600!",
    "\xE4\xBD"s,  // cut short
    "\xE4\xBD"
    "A\xF0\x9F\x98"s,                 // cut short inside
    "\x80\xBF\xFF\xC0\xAF"s,          // no lead bytes
    "\xE0\x80\x80\xF0\x8F\xBF"s,      // overlong
    "\xED\xA0\x80\xF4\x90\x80\x80"s,  // surrogate, beyond U+10FFFF
    "a\0b\xC3"s,
};

}  // namespace

TEST_CASE("Lossy decoding puts one U+FFFD for each maximal invalid part, as Python does") {
    const std::string bad = "\uFFFD";
    CHECK(utf8_lossy(kSamples[0]) == kSamples[0]);
    CHECK(utf8_lossy(kSamples[1]) == kSamples[1]);
    CHECK(utf8_lossy(kSamples[2]) == bad);
    CHECK(utf8_lossy(kSamples[3]) == bad + "A" + bad);
    CHECK(utf8_lossy(kSamples[4]) == bad + bad + bad + bad + bad);
    CHECK(utf8_lossy(kSamples[5]) == bad + bad + bad + bad + bad + bad);
    CHECK(utf8_lossy(kSamples[6]) == bad + bad + bad + bad + bad + bad + bad);
    CHECK(utf8_lossy(kSamples[7]) == "a\0b"s + bad);
    CHECK(utf8_lossy("") == "");
}

TEST_CASE("However the bytes are cut, the stream gives the text of the whole") {
    for (const std::string& sample : kSamples) {
        REQUIRE(sample.size() < 20);
        // Every set of cuts: bit i cuts after byte i.
        for (size_t cuts = 0; cuts < (size_t{1} << (sample.size() - 1)); ++cuts) {
            Utf8Stream stream;
            std::string text, piece;
            for (size_t i = 0; i < sample.size(); ++i) {
                piece.push_back(sample[i]);
                if (cuts >> i & 1) text += stream.push(std::exchange(piece, {}));
            }
            text += stream.push(piece);
            text += stream.finish();
            REQUIRE(text == utf8_lossy(sample));
        }
    }
}

TEST_CASE("A character leaves the stream with its last byte and not before") {
    Utf8Stream stream;
    CHECK(stream.push("\xE4") == "");
    CHECK(stream.push("\xBD") == "");
    CHECK(stream.push("\xA0x") == "\u4F60x");
    CHECK(stream.finish() == "");
}

TEST_CASE("A finished stream starts anew") {
    Utf8Stream stream;
    CHECK(stream.push("\xF0\x9F") == "");
    CHECK(stream.finish() == "\uFFFD");
    CHECK(stream.push("ok") == "ok");
    CHECK(stream.finish() == "");
}
