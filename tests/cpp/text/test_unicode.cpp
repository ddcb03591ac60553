#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "text/unicode.h"
#include "text/utf8_stream.h"

using namespace minicpmo;

TEST_CASE("NFC composes base and marks") {
    CHECK(to_nfc(U"e\u0301") == U"\u00E9");
    CHECK(to_nfc(U"A\u030A") == U"\u00C5");
    CHECK(to_nfc(U"o\u0302\u0301") == U"\u1ED1");
    CHECK(to_nfc(U"\u00E9") == U"\u00E9");
}

TEST_CASE("NFC sorts marks by class before it composes") {
    CHECK(to_nfc(U"a\u0302\u0323") == U"\u1EAD");
    CHECK(to_nfc(U"q\u0307\u0323") == U"q\u0323\u0307");
    CHECK(to_nfc(U"\u1E9B\u0323") == U"\u1E9B\u0323");
    CHECK(to_nfc(U"\u0301\u0323") == U"\u0323\u0301");  // marks without a base
}

TEST_CASE("A mark does not pass one of its own class") {
    CHECK(to_nfc(U"a\u0305\u0301") == U"a\u0305\u0301");
    CHECK(to_nfc(U"a\u0328\u0301") == U"\u0105\u0301");
}

TEST_CASE("NFC replaces singletons and keeps composition exclusions apart") {
    CHECK(to_nfc(U"\u212B\u2126\u212A") == U"\u00C5\u03A9K");
    CHECK(to_nfc(U"\uF900") == U"\u8C48");
    CHECK(to_nfc(U"\u0958") == U"\u0915\u093C");
    CHECK(to_nfc(U"\u0344") == U"\u0308\u0301");
    CHECK(to_nfc(U"\U0001D15E") == U"\U0001D157\U0001D165");
}

TEST_CASE("NFC joins two starters only when they are neighbours") {
    CHECK(to_nfc(U"\u0DD9\u0DCF\u0DCA") == U"\u0DDD");
    CHECK(to_nfc(U"\U00011099\U000110BA") == U"\U0001109A");
    CHECK(to_nfc(U"\u0DD9x\u0DCF") == U"\u0DD9x\u0DCF");
}

TEST_CASE("NFC composes Hangul syllables from jamo") {
    CHECK(to_nfc(U"\u1100\u1161") == U"\uAC00");
    CHECK(to_nfc(U"\u1100\u1161\u11A8") == U"\uAC01");
    CHECK(to_nfc(U"\uAC00\u11C2") == U"\uAC1B");
    CHECK(to_nfc(U"\uAC00\u11A7") == U"\uAC00\u11A7");
    CHECK(to_nfc(U"\uAC01\u11A8") == U"\uAC01\u11A8");
    CHECK(to_nfc(U"\uD7A3") == U"\uD7A3");
}

TEST_CASE("NFC leaves marks that came after Unicode 9 where they are, as the reference does") {
    CHECK(to_nfc(U"q\u0301\u1DF9") == U"q\u0301\u1DF9");
    CHECK(to_nfc(U"\U00011935\U00011930") == U"\U00011935\U00011930");
}

TEST_CASE("Characters fall into the classes of the regular expressions") {
    for (char32_t code : U"aZ\u00AA\u017F\u00E9\u4E2D\uAC00\u3042\U0001E030") {
        if (code != 0) CHECK(is_letter(code));
    }
    for (char32_t code : U"09\u00B2\u0663\u2167\u3007\U0001D7FF") {
        if (code != 0) CHECK(is_number(code));
    }
    for (char32_t code : U" \t\r\n\v\f\u0085\u00A0\u1680\u2003\u2028\u2029\u202F\u205F\u3000") {
        if (code != 0) CHECK(is_space(code));
    }
    for (char32_t code : U"@[`{\u001C\u0301\u200B\u200D\uFEFF\U0001F600\U0010FFFF") {
        CHECK_FALSE((is_letter(code) || is_number(code) || is_space(code)));
    }
}

TEST_CASE("UTF-8 makes the way there and back for every length") {
    const std::u32string text = U"\u007F\u0080\u07FF\u0800\uFFFF\U00010000\U0010FFFF";
    std::string bytes;
    for (char32_t code : text) append_utf8(bytes, code);
    CHECK(bytes.size() == 1 + 2 + 2 + 3 + 3 + 4 + 4);
    CHECK(decode_utf8(bytes) == text);
    CHECK(utf8_lossy(bytes) == bytes);
}
