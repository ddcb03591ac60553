#pragma once
// Code points: UTF-8 in both directions, NFC, and the three character classes the pre-tokenizer asks for.
// Reference: UAX #15 (normalisation forms), Unicode standard 3.9 (maximal subparts of ill-formed UTF-8).

#include <cstddef>
#include <string>
#include <string_view>

namespace minicpmo {

constexpr char32_t kReplacementCharacter = 0xFFFD;

// The first character of some bytes. An ill-formed one reads as U+FFFD and spans its maximal subpart.
struct Utf8Character {
    char32_t code = kReplacementCharacter;
    size_t n_byte = 0;
    bool is_incomplete = false;  // the bytes end inside a character that is sound so far
};
Utf8Character first_character(std::string_view bytes);  // bytes must not be empty

std::u32string decode_utf8(std::string_view bytes);
void append_utf8(std::string& out, char32_t code);

std::u32string to_nfc(std::u32string text);

bool is_letter(char32_t code);  // \p{L}
bool is_number(char32_t code);  // \p{N}
bool is_space(char32_t code);   // \s: the White_Space property

}  // namespace minicpmo
