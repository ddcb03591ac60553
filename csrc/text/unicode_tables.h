#pragma once
// What the Unicode Character Database says, as sorted tables. unicode_tables.cpp is written by
// make_unicode_tables.py. Reference: UnicodeData.txt and CompositionExclusions.txt (UAX #15), in the versions
// make_unicode_tables.py names.

#include <cstdint>
#include <span>

namespace minicpmo {

struct CodeRange {
    char32_t first, last;  // inclusive
};
struct CombiningRange {
    char32_t first, last;
    uint8_t combining_class;
};
struct Decomposition {
    char32_t code, first,
        second;  // one step; second is 0 where a character has another single one for its equal
};
struct Composition {
    char32_t first, second, code;
};

std::span<const CodeRange> letter_ranges();           // \p{L}, by first
std::span<const CodeRange> number_ranges();           // \p{N}, by first
std::span<const CombiningRange> combining_ranges();   // classes other than 0, by first
std::span<const Decomposition> decompositions();      // by code; without Hangul, which is arithmetic
std::span<const Composition> primary_compositions();  // by (first, second); without Hangul
std::span<const CodeRange> punctuation_ranges();      // \p{P}, by first
std::span<const CodeRange> mark_ranges();             // \p{Mn}, by first
std::span<const CodeRange> control_ranges();          // \p{Cc}, \p{Cf} and \p{Co}, by first
std::span<const Decomposition> lowercases();          // by code: what it is in lower case

}  // namespace minicpmo
