#pragma once
// SentencePieceEncoder: characters merge into pieces, the piece of the best score first; characters without a
// piece become bytes. Reference: Kudo and Richardson, SentencePiece, 2018, its BPE model.

#include <array>
#include <functional>
#include <unordered_map>

#include "text/plain_encoder.h"

namespace minicpmo {

class SentencePieceEncoder : public PlainEncoder {
public:
    SentencePieceEncoder(const Vocabulary& vocabulary, const TokenIds& ids);  // throws ModelFileError

    void encode(const std::string& text, std::vector<int32_t>& ids) const override;
    std::string bytes_of(const std::string& token, TokenType type) const override;

private:
    struct Piece {
        int32_t id;
        float score;
    };
    struct Symbol {
        size_t begin;            // in the text
        size_t n_byte;           // 0: merged away
        int32_t previous, next;  // neighbours' indices, -1 at the ends
    };
    struct Candidate {
        float score;
        int32_t position;                              // index of the left symbol
        size_t n_byte;                                 // of both together
        bool operator<(const Candidate& other) const;  // is worse: a heap's top is the best
    };
    struct Merging;  // of one text

    // Of normal tokens only: a user's words must never come to spell another.
    std::unordered_map<std::string_view, Piece> pieces_;
    std::array<int32_t, 256> id_by_byte_{};
    size_t longest_ = 0;  // bytes of a piece
    bool adds_space_;     // in front of a text
};

}  // namespace minicpmo
