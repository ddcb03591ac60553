#pragma once
// SpokenText: what is written, piece by piece, as word pieces to be said: numbers digit by digit in words,
// marks of emphasis left out, and cut into parts where it gets too long for one.
// Reference: MiniCPM-o 2.6, modeling_minicpmo.py _generate_mel_spec_audio_streaming, utils.py
// NumberToTextConverter and sentence_end.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/word_piece_encoder.h"

namespace minicpmo {

enum class SpokenLanguage { chinese, english };
SpokenLanguage detect_language(std::string_view text);  // English where it has more letters than ideographs

// Digits as words. `follows_digit`: the text before it ended in one.
// NOTE: the reference runs words together where a number is cut into pieces, and leaves digits in the first
// piece of an answer.
std::string spell_digits(std::string_view text, SpokenLanguage language, bool follows_digit);
// The first of the marks . 。 ! ? ！ ？, in this order, that is in the text, but for a point behind a digit;
// empty if none is.
std::string_view sentence_end(std::string_view text);

class SpokenText {
public:
    // `n_most` word pieces fit into a part; from `n_enough` on the next end of a sentence ends it. `encoder`
    // must outlive the text.
    SpokenText(const WordPieceEncoder& encoder, int n_enough, int n_most)
        : encoder_(&encoder), n_enough_(n_enough), n_most_(n_most) {}

    void push(std::string_view piece);
    // Of the part in progress.
    std::span<const int32_t> ids() const { return ids_; }
    bool is_cut() const { return is_cut_; }  // more text belongs to the next part
    int n_piece() const { return n_piece_; }
    bool has_news() const { return has_news_; }  // more than the end of the part before
    // The next part begins with the last `n_seed` word pieces of this one, and with what was left of the
    // text.
    void next_part(int n_seed);

private:
    void cut();

    const WordPieceEncoder* encoder_;
    int n_enough_, n_most_;
    std::vector<int32_t> given_;  // what the part begins with, before the text
    std::string raw_;             // as written, of this part
    std::string text_;            // as it is said
    std::string left_;            // of the text, for the next part
    std::vector<int32_t> left_ids_;
    std::vector<int32_t> ids_;
    SpokenLanguage language_ = SpokenLanguage::chinese;
    int n_piece_ = 0;  // of this part
    bool ends_in_digit_ = false;
    bool is_cut_ = false;
    bool has_news_ = false;
};

}  // namespace minicpmo
