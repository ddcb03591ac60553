#include <doctest/doctest.h>

#include <limits>

#include "base/error.h"
#include "text/tokenizer.h"

using namespace minicpmo;
using Ids = std::vector<int32_t>;

namespace {

constexpr int32_t kUnknown = 0, kEnd = 1;
constexpr int32_t kByte = 2;  // of byte 0; the others follow

Vocabulary bytes_and_specials() {
    Vocabulary v;
    v.kind = TokenizerKind::sentence_pieces;
    const auto add = [&](const std::string& token, TokenType type) {
        v.tokens.push_back(token);
        v.types.push_back(type);
        v.scores.push_back(0);
    };
    add("<unk>", TokenType::unknown);
    add("</s>", TokenType::control);
    constexpr char kDigits[] = "0123456789ABCDEF";
    for (int byte = 0; byte < 256; ++byte)
        add(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">", TokenType::byte);
    return v;
}

int32_t add(Vocabulary& v, const std::string& piece, float score) {
    v.tokens.push_back(piece);
    v.types.push_back(TokenType::normal);
    v.scores.push_back(score);
    return static_cast<int32_t>(v.tokens.size()) - 1;
}

const std::string kSpace = "\xE2\x96\x81";

}  // namespace

TEST_CASE("the piece of the best score merges first") {
    Vocabulary v = bytes_and_specials();
    v.adds_space = false;
    const int32_t a = add(v, "a", -1), b = add(v, "b", -1), c = add(v, "c", -1);
    const int32_t ab = add(v, "ab", -3), bc = add(v, "bc", -2), abc = add(v, "abc", -9);
    const Tokenizer tokenizer(std::move(v));
    CHECK(tokenizer.encode("abc", false) == Ids{abc});  // by way of bc
    CHECK(tokenizer.encode("ab", false) == Ids{ab});
    CHECK(tokenizer.encode("bcb", false) == Ids{bc, b});
    CHECK(tokenizer.encode("cab", false) == Ids{c, ab});
    CHECK(tokenizer.encode("ba", false) == Ids{b, a});
    CHECK(tokenizer.encode("", false).empty());
}

TEST_CASE("of equal scores the leftmost merges first") {
    Vocabulary v = bytes_and_specials();
    v.adds_space = false;
    const int32_t a = add(v, "a", -1), aa = add(v, "aa", -2);
    const Tokenizer tokenizer(std::move(v));
    CHECK(tokenizer.encode("aaaaa", false) == Ids{aa, aa, a});
}

TEST_CASE("a space goes in front of a text and comes off again") {
    Vocabulary v = bytes_and_specials();
    const int32_t space = add(v, kSpace, -5), a = add(v, "a", -1), word = add(v, kSpace + "a", -2);
    const Tokenizer tokenizer(std::move(v));
    CHECK(tokenizer.encode("a a", false) == Ids{word, word});
    CHECK(tokenizer.encode(" a", false) == Ids{space, word});
    CHECK(tokenizer.decode(Ids{word, word, a}) == "a aa");
    CHECK(tokenizer.decode(Ids{space, word}) == " a");
    CHECK(tokenizer.encode("a</s>a", true) == Ids{word, kEnd, word});
}

TEST_CASE("what has no piece becomes bytes, and users spell no other token") {
    Vocabulary v = bytes_and_specials();
    v.adds_space = false;
    for (const char* piece : {"<", "0", "x", "A", ">", "s", "/", "<0", "<0x", "<0x0", "<0x0A"})
        add(v, piece, -1);
    const Tokenizer tokenizer(std::move(v));
    CHECK(tokenizer.encode("\n", false) == Ids{kByte + '\n'});
    CHECK(tokenizer.encode("\xC3\xA4", false) == Ids{kByte + 0xC3, kByte + 0xA4});
    CHECK(tokenizer.encode("\xFF", false) == Ids{kByte + 0xFF});
    CHECK(tokenizer.decode(Ids{kByte + 0xC3, kByte + 0xA4, kByte + '\n'}) == "\xC3\xA4\n");
    CHECK(tokenizer.encode("<0x0A>", false).size() == 2);
    CHECK(tokenizer.encode("</s>", false).size() == 4);
    CHECK(tokenizer.encode("</s>", true) == Ids{kEnd});
    CHECK(tokenizer.find("<unk>") == kUnknown);
}

TEST_CASE("vocabularies of sentence pieces are checked") {
    Vocabulary v = bytes_and_specials();
    v.scores.pop_back();
    CHECK_THROWS_WITH_AS(Tokenizer(std::move(v)),
                         doctest::Contains("a score for each of 258 tokens, got 257"), ModelFileError);
    v = bytes_and_specials();
    v.types[kByte + 7] = TokenType::normal;
    CHECK_THROWS_WITH_AS(Tokenizer(std::move(v)), doctest::Contains("got none for byte 7"), ModelFileError);
    v = bytes_and_specials();
    add(v, "x", std::numeric_limits<float>::quiet_NaN());
    CHECK_THROWS_WITH_AS(Tokenizer(std::move(v)), doctest::Contains("got NaN"), ModelFileError);
}
