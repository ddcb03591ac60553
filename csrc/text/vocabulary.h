#pragma once
// Vocabulary: the tokens of a model file and what its tokenizer does with them.
// Reference: github.com/ggml-org/ggml, docs/gguf.md, tokenizer.ggml.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace minicpmo {

enum class TokenType : int32_t {
    normal = 1,
    unknown = 2,
    control = 3,
    user_defined = 4,
    unused = 5,
    byte = 6
};

enum class TokenizerKind { byte_pairs, sentence_pieces };

struct Vocabulary {
    TokenizerKind kind = TokenizerKind::byte_pairs;
    std::vector<std::string> tokens;  // by id; added ones as they are written, normal ones in GPT-2's byte
                                      // alphabet or with U+2581 for a space
    std::vector<TokenType>
        types;  // same length; control: special, user_defined: added but kept when decoding
    std::vector<std::string> merges;  // of byte pairs: "left right", best first
    size_t max_digits = 1;            // of byte pairs: digits of a number that make a word
    bool normalises = true;           // of byte pairs: to NFC
    bool keeps_words = false;         // of byte pairs: a word that is a token is not merged together
    std::vector<float> scores;        // of sentence pieces, for each token
    bool adds_space = true;           // of sentence pieces: in front of a text
};

using TokenIds = std::unordered_map<std::string_view, int32_t>;  // by the token's text

// Those that are found in a text as they are written, before anything else is done to it.
inline bool is_added(TokenType type) { return type == TokenType::control || type == TokenType::user_defined; }

}  // namespace minicpmo
