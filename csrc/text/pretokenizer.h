#pragma once
// The pre-tokenizer: cuts text into the words within which byte pairs may merge.
// Reference: tokenizer.json pre_tokenizer of Qwen2,
// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|
// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+

#include <cstddef>
#include <string_view>

namespace minicpmo {

// Where the word that starts at `begin` (< text.size()) ends. Words cover the text without gaps.
size_t word_end(std::u32string_view text, size_t begin);

}  // namespace minicpmo
