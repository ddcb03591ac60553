#include "text/unicode.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "text/unicode_tables.h"

namespace minicpmo {
namespace {

// Hangul syllables are arithmetic: leading consonant, vowel, optional trailing consonant.
constexpr char32_t kHangulBase = 0xAC00;
constexpr char32_t kLeadBase = 0x1100;
constexpr char32_t kVowelBase = 0x1161;
constexpr char32_t kTailBase = 0x11A7;  // one before the first tail: tail 0 means none
constexpr char32_t kLeadCount = 19;
constexpr char32_t kVowelCount = 21;
constexpr char32_t kTailCount = 28;
constexpr char32_t kHangulCount = kLeadCount * kVowelCount * kTailCount;

constexpr char32_t kFirstChangedByNfc = 0x300;  // every character below is a starter that NFC leaves alone

// The range of a sorted table that holds `code`, or null.
template <class Range>
const Range* find_range(std::span<const Range> table, char32_t code) {
    auto after = std::upper_bound(table.begin(), table.end(), code,
                                  [](char32_t value, const Range& range) { return value < range.first; });
    if (after == table.begin()) return nullptr;
    const Range& range = *(after - 1);
    return code <= range.last ? &range : nullptr;
}

uint8_t combining_class(char32_t code) {
    if (code < kFirstChangedByNfc) return 0;
    const CombiningRange* range = find_range(combining_ranges(), code);
    return range ? range->combining_class : uint8_t{0};
}

void append_decomposed(std::u32string& out, char32_t code) {
    if (code - kHangulBase < kHangulCount) {
        const char32_t index = code - kHangulBase;
        out.push_back(kLeadBase + index / (kVowelCount * kTailCount));
        out.push_back(kVowelBase + index % (kVowelCount * kTailCount) / kTailCount);
        if (index % kTailCount != 0) out.push_back(kTailBase + index % kTailCount);
        return;
    }
    const auto table = decompositions();
    const auto found =
        std::lower_bound(table.begin(), table.end(), code,
                         [](const Decomposition& row, char32_t value) { return row.code < value; });
    if (found == table.end() || found->code != code) {
        out.push_back(code);
        return;
    }
    append_decomposed(out, found->first);
    if (found->second != 0) append_decomposed(out, found->second);
}

// The composed character of a pair, or 0.
char32_t composed(char32_t first, char32_t second) {
    if (first - kLeadBase < kLeadCount && second - kVowelBase < kVowelCount) {
        return kHangulBase + ((first - kLeadBase) * kVowelCount + second - kVowelBase) * kTailCount;
    }
    if (first - kHangulBase < kHangulCount && (first - kHangulBase) % kTailCount == 0 && second > kTailBase &&
        second < kTailBase + kTailCount) {
        return first + (second - kTailBase);
    }
    const auto table = primary_compositions();
    const auto key = std::pair(first, second);
    const auto found = std::lower_bound(
        table.begin(), table.end(), key,
        [](const Composition& row, const auto& value) { return std::pair(row.first, row.second) < value; });
    const bool matches = found != table.end() && found->first == first && found->second == second;
    return matches ? found->code : char32_t{0};
}

// Canonical order: each run of combining marks sorted by class, equal classes as written.
std::u32string ordered_decomposition(std::u32string_view text) {
    std::u32string out;
    out.reserve(text.size());
    for (char32_t code : text) append_decomposed(out, code);
    std::vector<std::pair<uint8_t, char32_t>> marks;
    for (size_t i = 0; i < out.size(); ++i) {
        marks.clear();
        for (size_t j = i; j < out.size() && combining_class(out[j]) != 0; ++j) {
            marks.emplace_back(combining_class(out[j]), out[j]);
        }
        if (marks.size() > 1) {
            std::stable_sort(marks.begin(), marks.end(),
                             [](const auto& a, const auto& b) { return a.first < b.first; });
            for (size_t j = 0; j < marks.size(); ++j) out[i + j] = marks[j].second;
        }
        i += marks.size();
    }
    return out;
}

// Joins every character to the last starter it may join, in place.
void compose(std::u32string& text) {
    size_t n_out = 0;
    size_t starter = SIZE_MAX;
    int class_between = -1;  // of the last character kept after the starter; -1: none, they are neighbours
    for (char32_t code : std::u32string_view(text)) {
        const int code_class = combining_class(code);
        const bool is_reachable = starter != SIZE_MAX && class_between < code_class;
        if (const char32_t joined = is_reachable ? composed(text[starter], code) : 0) {
            text[starter] = joined;
            continue;
        }
        if (code_class == 0) starter = n_out;
        class_between = code_class == 0 ? -1 : code_class;
        text[n_out++] = code;
    }
    text.resize(n_out);
}

// How a lead byte continues: how many bytes follow, and what the first of them may be.
struct LeadByte {
    size_t n_follow;  // 0: no lead byte
    uint8_t low, high;
};

LeadByte lead_byte(uint8_t byte) {
    if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
    if (byte == 0xE0) return {2, 0xA0, 0xBF};  // no overlong forms
    if (byte == 0xED) return {2, 0x80, 0x9F};  // no surrogates
    if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
    if (byte == 0xF0) return {3, 0x90, 0xBF};
    if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
    if (byte == 0xF4) return {3, 0x80, 0x8F};  // nothing above U+10FFFF
    return {0, 0, 0};
}

}  // namespace

Utf8Character first_character(std::string_view bytes) {
    const auto lead = static_cast<uint8_t>(bytes[0]);
    if (lead < 0x80) return {lead, 1, false};
    const LeadByte form = lead_byte(lead);
    if (form.n_follow == 0) return {kReplacementCharacter, 1, false};
    char32_t code = lead & (0x3Fu >> form.n_follow);
    for (size_t i = 1; i <= form.n_follow; ++i) {
        if (i == bytes.size()) return {kReplacementCharacter, i, true};
        const auto byte = static_cast<uint8_t>(bytes[i]);
        const uint8_t low = i == 1 ? form.low : uint8_t{0x80};
        const uint8_t high = i == 1 ? form.high : uint8_t{0xBF};
        if (byte < low || byte > high) return {kReplacementCharacter, i, false};
        code = code << 6 | (byte & 0x3Fu);
    }
    return {code, form.n_follow + 1, false};
}

std::u32string decode_utf8(std::string_view bytes) {
    std::u32string out;
    out.reserve(bytes.size());
    while (!bytes.empty()) {
        const Utf8Character character = first_character(bytes);
        out.push_back(character.code);
        bytes.remove_prefix(character.n_byte);
    }
    return out;
}

void append_utf8(std::string& out, char32_t code) {
    const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (code < 0x80) return put(code);
    if (code < 0x800) {
        put(0xC0 | code >> 6);
    } else {
        if (code < 0x10000) {
            put(0xE0 | code >> 12);
        } else {
            put(0xF0 | code >> 18);
            put(0x80 | (code >> 12 & 0x3F));
        }
        put(0x80 | (code >> 6 & 0x3F));
    }
    put(0x80 | (code & 0x3F));
}

std::u32string to_nfc(std::u32string text) {
    if (std::all_of(text.begin(), text.end(), [](char32_t code) { return code < kFirstChangedByNfc; }))
        return text;
    text = ordered_decomposition(text);
    compose(text);
    return text;
}

std::u32string to_nfd(std::u32string_view text) { return ordered_decomposition(text); }

void append_lowercase(std::u32string& out, char32_t code) {
    const auto table = lowercases();
    const auto found =
        std::lower_bound(table.begin(), table.end(), code,
                         [](const Decomposition& row, char32_t value) { return row.code < value; });
    if (found == table.end() || found->code != code) return out.push_back(code);
    out.push_back(found->first);
    if (found->second != 0) out.push_back(found->second);
}

bool is_letter(char32_t code) {
    if (code < 0x80) return (code | 0x20) >= 'a' && (code | 0x20) <= 'z';
    return find_range(letter_ranges(), code) != nullptr;
}

bool is_number(char32_t code) {
    if (code < 0x80) return code >= '0' && code <= '9';
    return find_range(number_ranges(), code) != nullptr;
}

bool is_punctuation(char32_t code) { return find_range(punctuation_ranges(), code) != nullptr; }

bool is_mark(char32_t code) { return find_range(mark_ranges(), code) != nullptr; }

bool is_control(char32_t code) { return find_range(control_ranges(), code) != nullptr; }

bool is_space(char32_t code) {
    constexpr std::array<char32_t, 8> kSingles = {0x20, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F};
    if ((code >= 0x09 && code <= 0x0D) || (code >= 0x2000 && code <= 0x200A) || code == 0x3000) return true;
    return std::find(kSingles.begin(), kSingles.end(), code) != kSingles.end();
}

}  // namespace minicpmo
