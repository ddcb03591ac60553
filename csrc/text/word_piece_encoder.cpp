#include "text/word_piece_encoder.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "text/unicode.h"

namespace minicpmo {

namespace {

constexpr size_t kMaxWord = 100;  // characters; longer words are unknown
constexpr std::string_view kContinues = "##";

// Ideographs, each of which is a word. Reference: BertNormalizer's handle_chinese_chars.
bool is_ideograph(char32_t code) {
    using Range = std::pair<char32_t, char32_t>;
    constexpr std::array<Range, 8> kRanges = {
        Range{0x4E00, 0x9FFF},   Range{0x3400, 0x4DBF},   Range{0x20000, 0x2A6DF}, Range{0x2A700, 0x2B73F},
        Range{0x2B740, 0x2B81F}, Range{0x2B920, 0x2CEAF}, Range{0xF900, 0xFAFF},   Range{0x2F800, 0x2FA1F}};
    return std::any_of(kRanges.begin(), kRanges.end(),
                       [code](const Range& range) { return code >= range.first && code <= range.second; });
}

bool stands_alone(char32_t code) {
    const bool is_ascii_symbol = code > 0x20 && code < 0x7F && !is_letter(code) && !is_number(code);
    return is_ascii_symbol || is_punctuation(code);
}

}  // namespace

WordPieceEncoder::WordPieceEncoder(WordPieces pieces) : pieces_(std::move(pieces)) {
    for (size_t i = 0; i < pieces_.tokens.size(); ++i)
        ids_.emplace(pieces_.tokens[i], static_cast<int32_t>(i));
    check<ModelFileError>(ids_.size() == pieces_.tokens.size() && pieces_.unk >= 0 && pieces_.unk < n_vocab(),
                          "[word pieces] expected every token once and an unknown one, got {} tokens, {} "
                          "different, {}",
                          pieces_.tokens.size(), ids_.size(), pieces_.unk);
}

// The characters that count, spaces around ideographs.
std::u32string WordPieceEncoder::normalize(std::string_view text) const {
    std::u32string clean;
    for (const char32_t code : decode_utf8(text)) {
        if (is_space(code)) {
            clean.push_back(U' ');
        } else if (code != 0 && code != kReplacementCharacter && !is_control(code)) {
            if (is_ideograph(code)) clean.push_back(U' ');
            clean.push_back(code);
            if (is_ideograph(code)) clean.push_back(U' ');
        }
    }
    if (pieces_.strip_accents) {
        clean = to_nfd(clean);
        std::erase_if(clean, is_mark);
    }
    if (!pieces_.lowercase) return clean;
    std::u32string lower;
    for (const char32_t code : clean) append_lowercase(lower, code);
    return lower;
}

// The longest pieces first, from the left; all of the word or nothing of it.
void WordPieceEncoder::encode_word(std::u32string_view word, std::vector<int32_t>& ids) const {
    const size_t n_before = ids.size();
    bool is_known = word.size() <= kMaxWord;
    for (size_t begin = 0; is_known && begin < word.size();) {
        std::string piece(begin > 0 ? kContinues : "");
        std::vector<size_t> ends;  // of the piece in bytes, after each character
        for (const char32_t code : word.substr(begin)) {
            append_utf8(piece, code);
            ends.push_back(piece.size());
        }
        size_t n = ends.size();
        auto found = ids_.end();
        for (; n > 0 && found == ids_.end(); --n)
            found = ids_.find(std::string_view(piece).substr(0, ends[n - 1]));
        is_known = found != ids_.end();
        if (is_known) ids.push_back(found->second);
        begin += n + 1;
    }
    if (is_known) return;
    ids.resize(n_before);
    ids.push_back(pieces_.unk);
}

std::vector<int32_t> WordPieceEncoder::encode(std::string_view text) const {
    const std::u32string clean = normalize(text);
    std::vector<int32_t> ids;
    for (size_t begin = 0; begin < clean.size();) {
        size_t end = begin + 1;
        if (is_space(clean[begin])) {
            begin = end;
            continue;
        }
        if (!stands_alone(clean[begin])) {
            while (end < clean.size() && !is_space(clean[end]) && !stands_alone(clean[end])) ++end;
        }
        encode_word(std::u32string_view(clean).substr(begin, end - begin), ids);
        begin = end;
    }
    return ids;
}

}  // namespace minicpmo
