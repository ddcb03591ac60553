#include "engine/spoken_text.h"

#include <doctest/doctest.h>

using namespace minicpmo;

namespace {

WordPieceEncoder letters() {
    WordPieces pieces;
    pieces.tokens = {"[UNK]", ".", "*", "一", "二"};
    for (char c = 'a'; c <= 'z'; ++c) pieces.tokens.push_back(std::string(1, c));
    for (char c = 'a'; c <= 'z'; ++c) pieces.tokens.push_back("##" + std::string(1, c));
    return WordPieceEncoder(pieces);
}

}  // namespace

TEST_CASE("digits are spelled in the language of the text") {
    CHECK(spell_digits("I have 23 of 4", SpokenLanguage::english, false) == "I have two three of four");
    CHECK(spell_digits("5", SpokenLanguage::english, true) == " five");
    CHECK(spell_digits("我有23个", SpokenLanguage::chinese, false) == "我有二三个");
    CHECK(detect_language("你好 hi") == SpokenLanguage::chinese);
    CHECK(detect_language("hello 你") == SpokenLanguage::english);
    CHECK(detect_language("12") == SpokenLanguage::chinese);
}

TEST_CASE("the end of a sentence is no point of a number") {
    CHECK(sentence_end("so. And?") == ".");
    CHECK(sentence_end("1. And?") == "?");
    CHECK(sentence_end("好。") == "。");
    CHECK(sentence_end("3.5") == "");
}

TEST_CASE("a long text is cut behind a sentence, and the rest begins the next part") {
    const WordPieceEncoder encoder = letters();
    SpokenText text(encoder, 4, 100);
    text.push("a b *c*");
    CHECK(text.ids().size() == 3);
    CHECK_FALSE(text.is_cut());
    text.push(" d. e");
    CHECK(text.is_cut());
    CHECK(text.ids().size() == 5);
    text.next_part(2);
    CHECK_FALSE(text.is_cut());
    CHECK(text.has_news());
    CHECK(text.ids().size() == 3);  // d . e
    SUBCASE("what has no end is cut where there is no room") {
        SpokenText narrow(encoder, 4, 6);
        narrow.push("a b c d e f g h i");
        CHECK(narrow.is_cut());
        CHECK(narrow.ids().size() == 6);
        narrow.next_part(1);
        CHECK(narrow.ids().size() == 4);  // f and then g h i
        CHECK(narrow.has_news());
        narrow.next_part(2);
        CHECK_FALSE(narrow.has_news());
    }
}
