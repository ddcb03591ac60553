#include "text/pretokenizer.h"

#include "text/unicode.h"

namespace minicpmo {
namespace {

bool is_line_break(char32_t code) { return code == '\r' || code == '\n'; }
bool is_symbol(char32_t code) { return !is_space(code) && !is_letter(code) && !is_number(code); }

template <class Predicate>
size_t run_end(std::u32string_view text, size_t begin, Predicate belongs) {
    while (begin < text.size() && belongs(text[begin])) ++begin;
    return begin;
}

// The end of 's 't 're 've 'm 'll 'd in any case, or `begin`. The long s folds to s; no other letter folds to
// these.
size_t contraction_end(std::u32string_view text, size_t begin) {
    if (text[begin] != '\'' || begin + 1 == text.size()) return begin;
    const auto lower_at = [text](size_t i) -> char32_t {
        if (i >= text.size()) return 0;
        return text[i] >= 'A' && text[i] <= 'Z' ? text[i] + ('a' - 'A') : text[i];
    };
    constexpr char32_t kLongS = 0x17F;
    const char32_t first = lower_at(begin + 1), second = lower_at(begin + 2);
    if (first == 's' || first == kLongS || first == 't' || first == 'm' || first == 'd') return begin + 2;
    const bool is_pair =
        (first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l');
    return is_pair ? begin + 3 : begin;
}

// \s*[\r\n]+ | \s+(?!\S) | \s+
size_t space_end(std::u32string_view text, size_t begin) {
    const size_t end = run_end(text, begin, is_space);
    for (size_t i = end; i > begin; --i) {
        if (is_line_break(text[i - 1])) return i;
    }
    const bool leaves_one =
        end < text.size() && end - begin > 1;  // the last space goes with the word that follows
    return leaves_one ? end - 1 : end;
}

}  // namespace

size_t word_end(std::u32string_view text, size_t begin, size_t max_digits) {
    const char32_t code = text[begin];
    const char32_t next = begin + 1 < text.size() ? text[begin + 1] : U'\n';
    if (const size_t end = contraction_end(text, begin); end != begin) return end;
    if (is_letter(code)) return run_end(text, begin, is_letter);
    if (is_number(code)) return run_end(text.substr(0, begin + max_digits), begin, is_number);
    if (!is_line_break(code) && is_letter(next)) return run_end(text, begin + 1, is_letter);
    const size_t symbols = code == ' ' && is_symbol(next) ? begin + 1 : begin;
    if (const size_t end = run_end(text, symbols, is_symbol); end != symbols)
        return run_end(text, end, is_line_break);
    return space_end(text, begin);
}

}  // namespace minicpmo
