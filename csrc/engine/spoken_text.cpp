#include "engine/spoken_text.h"

#include <algorithm>
#include <array>

#include "text/unicode.h"

namespace minicpmo {

namespace {

constexpr int kLanguagePieces = 3;  // after which the language of numbers is settled

constexpr std::array<std::string_view, 10> kChinese = {"零", "一", "二", "三", "四",
                                                       "五", "六", "七", "八", "九"};
constexpr std::array<std::string_view, 10> kEnglish = {"zero", "one", "two",   "three", "four",
                                                       "five", "six", "seven", "eight", "nine"};
constexpr std::array<std::string_view, 6> kSentenceEnds = {".", "。", "!", "?", "！", "？"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

SpokenLanguage detect_language(std::string_view text) {
    int n_ideograph = 0;
    int n_letter = 0;
    for (const char32_t code : decode_utf8(text)) {
        if (code >= 0x4E00 && code <= 0x9FFF) ++n_ideograph;
        if (code < 0x80 && is_letter(code)) ++n_letter;
    }
    return n_ideograph >= n_letter ? SpokenLanguage::chinese : SpokenLanguage::english;
}

std::string spell_digits(std::string_view text, SpokenLanguage language, bool follows_digit) {
    std::string out;
    for (const char c : text) {
        if (!is_digit(c)) {
            out.push_back(c);
        } else if (language == SpokenLanguage::chinese) {
            out += kChinese[static_cast<size_t>(c - '0')];
        } else {
            if (follows_digit) out.push_back(' ');
            out += kEnglish[static_cast<size_t>(c - '0')];
        }
        follows_digit = is_digit(c);
    }
    return out;
}

std::string_view sentence_end(std::string_view text) {
    for (const std::string_view mark : kSentenceEnds) {
        const size_t at = text.find(mark);
        if (at == std::string_view::npos) continue;
        if (mark == "." && at > 0 && is_digit(text[at - 1])) continue;
        return mark;
    }
    return {};
}

void SpokenText::push(std::string_view piece) {
    raw_ += piece;
    has_news_ = has_news_ || !piece.empty();
    if (n_piece_ < kLanguagePieces) language_ = detect_language(raw_);
    ++n_piece_;
    std::string said = spell_digits(piece, language_, ends_in_digit_);
    if (!piece.empty()) ends_in_digit_ = is_digit(piece.back());
    std::erase(said, '*');
    text_ += said;
    cut();
    if (is_cut_ || static_cast<int>(ids_.size()) < n_enough_) return;
    const std::string_view mark = sentence_end(piece);
    const size_t at = mark.empty() ? std::string::npos : text_.rfind(mark);
    if (at == std::string::npos) return;
    left_ = text_.substr(at + mark.size());
    text_.resize(at + mark.size());
    cut();
    is_cut_ = true;
}

// NOTE: the reference says nothing of what is beyond the room of one part; here the next part says it.
void SpokenText::cut() {
    ids_ = given_;
    const std::vector<int32_t> more = encoder_->encode(text_);
    ids_.insert(ids_.end(), more.begin(), more.end());
    if (ids_.size() <= static_cast<size_t>(n_most_)) return;
    left_ids_.assign(ids_.begin() + n_most_, ids_.end());
    ids_.resize(static_cast<size_t>(n_most_));
    is_cut_ = true;
}

// NOTE: the reference cuts the text of these word pieces again, and so gets others where the first one goes
// on with a word.
void SpokenText::next_part(int n_seed) {
    const auto n = std::min(ids_.size(), static_cast<size_t>(n_seed));
    given_.assign(ids_.end() - static_cast<std::ptrdiff_t>(n), ids_.end());
    given_.insert(given_.end(), left_ids_.begin(), left_ids_.end());
    has_news_ =
        !left_ids_.empty() || std::any_of(left_.begin(), left_.end(), [](char c) { return c != ' '; });
    text_ = std::move(left_);
    raw_ = text_;
    left_.clear();
    left_ids_.clear();
    n_piece_ = 0;
    is_cut_ = false;
    cut();
}

}  // namespace minicpmo
