#pragma once
// The pre-tokenizer: cuts text into the words within which byte pairs may merge.
// Reference: tokenizer.json pre_tokenizer of Qwen2, and of Llama 3, where \p{N} is \p{N}{1,3},
// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|
// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+

#include <cstddef>
#include <string_view>

namespace minicpmo {

// Where the word that starts at `begin` (< text.size()) ends; a number has so many digits at most. Words
// cover the text without gaps.
size_t word_end(std::u32string_view text, size_t begin, size_t max_digits = 1);

}  // namespace minicpmo
