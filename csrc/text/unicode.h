#pragma once
// Code points: UTF-8 in both directions, normal forms, lower case, and the classes of characters that
// tokenizers ask for.
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
std::u32string to_nfd(std::u32string_view text);
void append_lowercase(std::u32string& out, char32_t code);  // that of a character by itself

bool is_letter(char32_t code);       // \p{L}
bool is_number(char32_t code);       // \p{N}
bool is_space(char32_t code);        // \s: the White_Space property
bool is_punctuation(char32_t code);  // \p{P}
bool is_mark(char32_t code);         // \p{Mn}: one without a width of its own
bool is_control(char32_t code);      // \p{Cc}, \p{Cf}, \p{Co}

}  // namespace minicpmo
