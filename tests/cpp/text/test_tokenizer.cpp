#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

using namespace minicpmo;
using Ids = std::vector<int32_t>;

namespace {

std::vector<std::string> words(std::string_view text, size_t max_digits = 1) {
    const std::u32string codes = decode_utf8(text);
    std::vector<std::string> out;
    for (size_t begin = 0; begin < codes.size();) {
        const size_t end = word_end(codes, begin, max_digits);
        REQUIRE(end > begin);
        out.emplace_back();
        for (; begin < end; ++begin) append_utf8(out.back(), codes[begin]);
    }
    return out;
}
using Words = std::vector<std::string>;

void add_token(Vocabulary& vocabulary, const std::string& token, TokenType type = TokenType::normal) {
    vocabulary.tokens.push_back(token);
    vocabulary.types.push_back(type);
}

// Ids 0 to 255 are the bytes themselves.
Vocabulary byte_vocabulary() {
    Vocabulary vocabulary;
    char32_t next_letter = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
        const bool is_itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
        std::string token;
        append_utf8(token, is_itself ? byte : next_letter++);
        add_token(vocabulary, token);
    }
    return vocabulary;
}

void add_merge(Vocabulary& vocabulary, const std::string& left, const std::string& right) {
    add_token(vocabulary, left + right);
    vocabulary.merges.push_back(left + " " + right);
}

constexpr int32_t kAb = 256, kBc = 257, kSpaceAb = 258, kUnreachable = 259;
constexpr int32_t kEnd = 260, kEndLong = 261, kThink = 262, kAccented = 263;

Vocabulary small_vocabulary() {
    Vocabulary vocabulary = byte_vocabulary();
    add_merge(vocabulary, "a", "b");
    add_merge(vocabulary, "b", "c");
    add_merge(vocabulary, "\u0120", "ab");  // the letter of the space byte
    add_token(vocabulary, "xyz");
    add_token(vocabulary, "<|end|>", TokenType::control);
    add_token(vocabulary, "<|end|>!", TokenType::control);
    add_token(vocabulary, "<think>", TokenType::user_defined);
    add_token(vocabulary, "\u00E9t\u00E9", TokenType::control);
    return vocabulary;
}

Ids bytes_as_ids(std::string_view text) {
    Ids ids;
    for (char byte : text) ids.push_back(static_cast<uint8_t>(byte));
    return ids;
}

}  // namespace

TEST_CASE("Words are cut as the Qwen2 expression cuts them") {
    CHECK(words("Hello world") == Words{"Hello", " world"});
    CHECK(words("a1 23") == Words{"a", "1", " ", "2", "3"});
    CHECK(words("x  y") == Words{"x", " ", " y"});
    CHECK(words("x   ") == Words{"x", "   "});
    CHECK(words("x \n\n  y") == Words{"x", " \n\n", " ", " y"});
    CHECK(words("a\ty\t1") == Words{"a", "\ty", "\t", "1"});
    CHECK(words("hi!!\r\n\nz") == Words{"hi", "!!\r\n\n", "z"});
    CHECK(words(" ?! \u4F60\u597D") == Words{" ?!", " \u4F60\u597D"});
    CHECK(words("\u3000x\u00A0\u00A01") == Words{"\u3000x", "\u00A0", "\u00A0", "1"});
    CHECK(words("e\u0301x") == Words{"e", "\u0301x"});
    CHECK(words("\nx") == Words{"\n", "x"});
}

TEST_CASE("Numbers are cut into as many digits as the vocabulary wants") {
    CHECK(words("a1234567 12", 3) == Words{"a", "123", "456", "7", " ", "12"});
    CHECK(words("12", 3) == Words{"12"});
}

TEST_CASE("A word that is a token stays whole where the vocabulary wants that, and text as it is written") {
    Vocabulary vocabulary = small_vocabulary();
    vocabulary.keeps_words = true;
    vocabulary.normalises = false;
    const Tokenizer tokenizer(std::move(vocabulary));
    CHECK(tokenizer.encode("xyz", false) == Ids{kUnreachable});
    CHECK(tokenizer.encode("xyzz", false) == Ids{'x', 'y', 'z', 'z'});
    CHECK(tokenizer.decode(tokenizer.encode("e\u0301", false)) == "e\u0301");
}

TEST_CASE("Contractions are words in any case") {
    CHECK(words("it's I'LL we'Ve") == Words{"it", "'s", " I", "'LL", " we", "'Ve"});
    CHECK(words("a'\u017Fx") == Words{"a", "'\u017F", "x"});
    CHECK(words("'tis 'lo 'r") == Words{"'t", "is", " '", "lo", " '", "r"});
    CHECK(words("x'") == Words{"x", "'"});
}

TEST_CASE("The best merge goes first, and the leftmost of equals") {
    const Tokenizer tokenizer(small_vocabulary());
    CHECK(tokenizer.encode("abc", false) == Ids{kAb, 'c'});
    CHECK(tokenizer.encode("bcab", false) == Ids{kBc, kAb});
    CHECK(tokenizer.encode("x ab", false) == Ids{'x', kSpaceAb});
    Vocabulary twos = byte_vocabulary();
    add_merge(twos, "a", "a");
    CHECK(Tokenizer(std::move(twos)).encode("aaaaa", false) == Ids{256, 256, 'a'});
}

TEST_CASE("A word in the vocabulary that no merges reach is not used") {
    const Tokenizer tokenizer(small_vocabulary());
    CHECK(tokenizer.encode("xyz", false) == bytes_as_ids("xyz"));
    CHECK(tokenizer.find("xyz") == kUnreachable);
}

TEST_CASE("Text is normalised before it is merged") {
    const Tokenizer tokenizer(small_vocabulary());
    CHECK(tokenizer.encode("e\u0301", false) == bytes_as_ids("\u00E9"));
}

TEST_CASE("Special tokens are recognised in our own text only") {
    const Tokenizer tokenizer(small_vocabulary());
    CHECK(tokenizer.encode("x<|end|>y", true) == Ids{'x', kEnd, 'y'});
    CHECK(tokenizer.encode("x<|end|>y", false) == bytes_as_ids("x<|end|>y"));
    const std::vector<TextSpan> spans = {{"<|end|>", true}, {"<|end|><think>", false}, {"<think>", true}};
    Ids expected = {kEnd};
    for (int32_t id : bytes_as_ids("<|end|><think>")) expected.push_back(id);
    expected.push_back(kThink);
    CHECK(tokenizer.encode(spans) == expected);
}

TEST_CASE("A special token may lie across two spans of ours but never across one of a user's") {
    const Tokenizer tokenizer(small_vocabulary());
    CHECK(tokenizer.encode(std::vector<TextSpan>{{"<|e", true}, {"nd|>", true}}) == Ids{kEnd});
    CHECK(tokenizer.encode(std::vector<TextSpan>{{"<|e", true}, {"nd|>", false}}) == bytes_as_ids("<|end|>"));
    CHECK(tokenizer.encode(std::vector<TextSpan>{{"<|", true}, {"e", false}, {"nd|>", true}}) ==
          bytes_as_ids("<|end|>"));
}

TEST_CASE("The longest special token wins, and it is matched before normalisation") {
    const Tokenizer tokenizer(small_vocabulary());
    CHECK(tokenizer.encode("<|end|>!<|end|>?", true) == Ids{kEndLong, kEnd, '?'});
    CHECK(tokenizer.encode("\u00E9t\u00E9", true) == Ids{kAccented});
    CHECK(tokenizer.encode("e\u0301te\u0301", true) == bytes_as_ids("\u00E9t\u00E9"));
}

TEST_CASE("Plain text is one string across spans and is cut only by special tokens") {
    const Tokenizer tokenizer(small_vocabulary());
    CHECK(tokenizer.encode(std::vector<TextSpan>{{"a", true}, {"b", false}}) == Ids{kAb});
    CHECK(tokenizer.encode(std::vector<TextSpan>{{"\xC3", false}, {"\xA9", true}}) == bytes_as_ids("\u00E9"));
    CHECK(tokenizer.encode("a<|end|>b", true) == Ids{'a', kEnd, 'b'});
    CHECK(tokenizer.encode("", true).empty());
}

TEST_CASE("No merge spells an added token") {
    Vocabulary vocabulary = byte_vocabulary();
    add_merge(vocabulary, "<", "u");
    vocabulary.types.back() = TokenType::control;
    const Tokenizer tokenizer(std::move(vocabulary));
    CHECK(tokenizer.encode("<u", false) == bytes_as_ids("<u"));
    CHECK(tokenizer.encode("<u", true) == Ids{256});
}

TEST_CASE("Bytes that are no UTF-8 are encoded as U+FFFD") {
    const Tokenizer tokenizer(small_vocabulary());
    CHECK(tokenizer.encode("a\xFFz", false) == bytes_as_ids("a\uFFFDz"));
}

TEST_CASE("Decoding joins the bytes of all tokens") {
    const Tokenizer tokenizer(small_vocabulary());
    const std::string text = "ab c\u00E9\u4F60\n\x01 <|end|>\U0001F600";
    CHECK(tokenizer.decode(tokenizer.encode(text, true)) == text);
    CHECK(tokenizer.decode(tokenizer.encode(text, false)) == text);
    CHECK(tokenizer.decode(Ids{0xE4, 0xBD, 0xA0, 0xE4, kEnd, 0xBD}) == "\u4F60\uFFFD<|end|>\uFFFD");
    CHECK(tokenizer.decode(Ids{}) == "");
    CHECK(tokenizer.bytes_of(kSpaceAb) == " ab");
    CHECK(tokenizer.bytes_of(0xE4) == "\xE4");
    CHECK(tokenizer.bytes_of(kAccented) == "\u00E9t\u00E9");
}

TEST_CASE("Skipping special tokens keeps the user-defined ones") {
    const Tokenizer tokenizer(small_vocabulary());
    CHECK(tokenizer.decode(Ids{kThink, 'a', kEnd, 'b'}, true) == "<think>ab");
    CHECK(tokenizer.is_special(kEnd));
    CHECK_FALSE(tokenizer.is_special(kThink));
    CHECK_FALSE(tokenizer.is_special('a'));
}

TEST_CASE("A token that the byte alphabet cannot read stands for its own bytes") {
    Vocabulary vocabulary = byte_vocabulary();
    add_token(vocabulary, "a\u4F60");
    CHECK(Tokenizer(std::move(vocabulary)).bytes_of(256) == "a\u4F60");
}

TEST_CASE("Ids and names outside the vocabulary are refused") {
    const Tokenizer tokenizer(small_vocabulary());
    CHECK(tokenizer.n_vocab() == 264);
    CHECK_THROWS_AS(tokenizer.decode(Ids{264}), ArgumentError);
    CHECK_THROWS_AS(tokenizer.decode(Ids{-1}, true), ArgumentError);
    CHECK_THROWS_AS(tokenizer.bytes_of(1 << 30), ArgumentError);
    CHECK_THROWS_AS(tokenizer.is_special(-5), ArgumentError);
    CHECK(tokenizer.require("<|end|>") == kEnd);
    CHECK_FALSE(tokenizer.find("<|none|>").has_value());
    CHECK_THROWS_AS(tokenizer.require("<|none|>"), ModelFileError);
}

TEST_CASE("Damaged vocabularies are refused") {
    const auto refuses = [](auto damage) {
        Vocabulary vocabulary = small_vocabulary();
        damage(vocabulary);
        CHECK_THROWS_AS(Tokenizer(std::move(vocabulary)), ModelFileError);
    };
    refuses([](Vocabulary& v) { v = {}; });
    refuses([](Vocabulary& v) { v.types.pop_back(); });
    refuses([](Vocabulary& v) { v.types[3] = TokenType{7}; });
    refuses([](Vocabulary& v) { v.types[3] = TokenType{0}; });
    refuses([](Vocabulary& v) { v.tokens[kBc] = "ab"; });
    refuses([](Vocabulary& v) { v.tokens['q'] = "no byte"; });
    refuses([](Vocabulary& v) { v.types['q'] = TokenType::control; });
    for (const char* merge : {"", " ", "ab", "a ", " b", "a b c", "a none", "none a", "a c"}) {
        CAPTURE(merge);
        refuses([merge](Vocabulary& v) { v.merges.push_back(merge); });
    }
}

TEST_CASE("An empty added token matches nowhere") {
    Vocabulary vocabulary = small_vocabulary();
    add_token(vocabulary, "", TokenType::control);
    CHECK(Tokenizer(std::move(vocabulary)).encode("ab", true) == Ids{kAb});
}

TEST_CASE("One word of a million letters is merged in good time") {
    Vocabulary vocabulary = byte_vocabulary();
    std::string run = "a";
    for (int i = 0; i < 6; ++i, run += run) add_merge(vocabulary, run, run);
    const Tokenizer tokenizer(std::move(vocabulary));
    const Ids ids = tokenizer.encode(std::string(1'000'000, 'a'), false);
    CHECK(ids == Ids(1'000'000 / 64, 256 + 5));
}
