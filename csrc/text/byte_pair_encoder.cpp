#include "text/byte_pair_encoder.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "text/pretokenizer.h"
#include "text/unicode.h"

namespace minicpmo {

namespace {

// GPT-2's byte alphabet: printable Latin-1 bytes stand for themselves, the others for U+0100 and up in order.
constexpr bool stands_for_itself(int byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

constexpr int kAlphabetEnd = 0x144;  // one above the greatest letter

constexpr std::array<int, kAlphabetEnd> make_byte_by_letter() {
    std::array<int, kAlphabetEnd> byte_by_letter{};
    byte_by_letter.fill(-1);
    int next_letter = 0x100;
    for (int byte = 0; byte < 256; ++byte)
        byte_by_letter[stands_for_itself(byte) ? byte : next_letter++] = byte;
    return byte_by_letter;
}

constexpr auto kByteByLetter = make_byte_by_letter();

// The bytes a normal token stands for; one that is not written in the byte alphabet stands for its own.
std::string bytes_from_alphabet(const std::string& token) {
    std::string bytes;
    for (char32_t letter : decode_utf8(token)) {
        const int byte = letter < kByteByLetter.size() ? kByteByLetter[letter] : -1;
        if (byte < 0) return token;
        bytes.push_back(static_cast<char>(byte));
    }
    return bytes;
}

int32_t id_of_part(const TokenIds& ids, std::string_view part, size_t merge) {
    const auto found = ids.find(part);
    check<ModelFileError>(!part.empty() && found != ids.end(),
                          "[tokenizer] expected merges of known tokens, got '{}' (merge {})", part, merge);
    return found->second;
}

}  // namespace

BytePairEncoder::BytePairEncoder(const Vocabulary& vocabulary, const TokenIds& ids)
    : max_digits_(vocabulary.max_digits), normalises_(vocabulary.normalises) {
    add_bytes(vocabulary, ids);
    add_merges(vocabulary, ids);
    if (!vocabulary.keeps_words) return;
    for (const auto& [token, id] : ids) {
        const TokenType type = vocabulary.types[static_cast<size_t>(id)];
        if (type == TokenType::normal) whole_words_.emplace(bytes_from_alphabet(std::string(token)), id);
    }
}

void BytePairEncoder::add_bytes(const Vocabulary& vocabulary, const TokenIds& ids) {
    id_by_byte_.fill(-1);
    for (size_t letter = 0; letter < kByteByLetter.size(); ++letter) {
        if (kByteByLetter[letter] < 0) continue;
        std::string token;
        append_utf8(token, static_cast<char32_t>(letter));
        const auto found = ids.find(token);
        check<ModelFileError>(found != ids.end() && !is_added(vocabulary.types[found->second]),
                              "[tokenizer] expected a normal token for each byte, got none for byte {}",
                              kByteByLetter[letter]);
        id_by_byte_[kByteByLetter[letter]] = found->second;
    }
}

void BytePairEncoder::add_merges(const Vocabulary& vocabulary, const TokenIds& ids) {
    merges_.reserve(vocabulary.merges.size());
    for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
        const std::string_view merge = vocabulary.merges[i];
        const size_t space = merge.find(' ');
        check<ModelFileError>(space != std::string_view::npos,
                              "[tokenizer] expected 'left right', got '{}' (merge {})", merge, i);
        const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
        const std::array<int32_t, 3> parts = {id_of_part(ids, left, i), id_of_part(ids, right, i),
                                              id_of_part(ids, std::string(left) + std::string(right), i)};
        // NOTE: the reference keeps a merge that spells an added token (4.5 has one for <unk>); here it is
        // left out, because text that is not cut at added tokens must never come to spell one.
        const auto is_plain = [&](int32_t id) { return !is_added(vocabulary.types[id]); };
        if (std::all_of(parts.begin(), parts.end(), is_plain)) merges_.add(parts[0], parts[1], parts[2]);
    }
}

std::string BytePairEncoder::bytes_of(const std::string& token, TokenType) const {
    return bytes_from_alphabet(token);
}

// Normalised, cut into words, merged word by word.
void BytePairEncoder::encode(const std::string& text, std::vector<int32_t>& ids) const {
    constexpr size_t kMaxBytes =
        std::numeric_limits<int32_t>::max() / 4;  // U+FFFD takes three bytes for a bad one
    check<ArgumentError>(text.size() <= kMaxBytes, "[tokenizer] expected at most {} bytes of text, got {}",
                         kMaxBytes, text.size());
    const std::u32string decoded = decode_utf8(text);
    const std::u32string normalised = normalises_ ? to_nfc(decoded) : decoded;
    BpeMerges::Workspace workspace;
    std::string word_bytes;
    std::vector<int32_t> word;
    for (size_t begin = 0; begin < normalised.size();) {
        const size_t end = word_end(normalised, begin, max_digits_);
        word_bytes.clear();
        for (; begin < end; ++begin) append_utf8(word_bytes, normalised[begin]);
        if (const auto whole = whole_words_.find(word_bytes); whole != whole_words_.end()) {
            ids.push_back(whole->second);
            continue;
        }
        word.clear();
        for (char byte : word_bytes) word.push_back(id_by_byte_[static_cast<uint8_t>(byte)]);
        merges_.merge(word, workspace, ids);
    }
}

}  // namespace minicpmo
