#pragma once
// WordPieceEncoder: text to word pieces, as BERT's tokenizers cut it. Special tokens are never found in text.
// Reference: tokenizers (Hugging Face), BertNormalizer, BertPreTokenizer, WordPiece.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace minicpmo {

struct WordPieces {
    std::vector<std::string> tokens;  // by id; those that continue a word begin with ##
    int32_t unk = 0;                  // of words that the others do not make up
    bool lowercase = true;
    bool strip_accents = true;
};

class WordPieceEncoder {
public:
    explicit WordPieceEncoder(WordPieces pieces);  // throws ModelFileError
    WordPieceEncoder(const WordPieceEncoder&) = delete;
    WordPieceEncoder& operator=(const WordPieceEncoder&) = delete;
    WordPieceEncoder(WordPieceEncoder&&) = default;

    std::vector<int32_t> encode(std::string_view text) const;
    int32_t n_vocab() const { return static_cast<int32_t>(pieces_.tokens.size()); }

private:
    std::u32string normalize(std::string_view text) const;
    void encode_word(std::u32string_view word, std::vector<int32_t>& ids) const;

    WordPieces pieces_;
    std::unordered_map<std::string_view, int32_t> ids_;
};

}  // namespace minicpmo
