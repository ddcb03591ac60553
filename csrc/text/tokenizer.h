#pragma once
// Tokenizer: text to the ids of one model file and back, by byte pairs or sentence pieces.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace minicpmo {

// A run of prompt text. Special tokens are recognised only where the text is ours (parse_special), never in a
// user's words; the plain text between two special tokens is still encoded as one string, across spans.
struct TextSpan {
    std::string text;
    bool parse_special = false;
};

class Tokenizer {
public:
    explicit Tokenizer(Vocabulary vocabulary);  // throws ModelFileError
    ~Tokenizer();
    Tokenizer(Tokenizer&&) noexcept;

    std::vector<int32_t> encode(std::span<const TextSpan> spans) const;
    std::vector<int32_t> encode(std::string_view text, bool parse_special) const;
    std::string decode(std::span<const int32_t> ids,
                       bool skip_special = false) const;  // bytes that are no UTF-8 become U+FFFD
    std::string_view bytes_of(int32_t id) const;          // raw bytes, maybe half a character
    std::optional<int32_t> find(std::string_view token) const;
    int32_t require(std::string_view token) const;  // throws ModelFileError if the vocabulary lacks it
    bool is_special(int32_t id) const;
    int32_t n_vocab() const;

private:
    struct Tables;
    std::unique_ptr<const Tables> tables_;
};

}  // namespace minicpmo
