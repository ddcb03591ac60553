#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "text/bpe_merges.h"
#include "text/pretokenizer.h"
#include "text/unicode.h"
#include "text/utf8_stream.h"

namespace minicpmo {
namespace {

bool is_added(TokenType type) { return type == TokenType::control || type == TokenType::user_defined; }

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

// The added tokens, sorted by text, and the search for one in a prompt.
class AddedTokens {
public:
    struct Match {
        int32_t id = -1;  // none
        size_t n_byte = 0;
    };

    AddedTokens() = default;
    explicit AddedTokens(const Vocabulary& vocabulary) {
        for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
            const std::string& text = vocabulary.tokens[id];
            if (!is_added(vocabulary.types[id]) || text.empty()) continue;
            entries_.push_back({text, static_cast<int32_t>(id)});
            is_first_byte_[static_cast<uint8_t>(text[0])] = true;
        }
        std::sort(entries_.begin(), entries_.end(),
                  [](const Entry& a, const Entry& b) { return a.text < b.text; });
    }

    // The longest added token that `text` starts with.
    Match longest_at(std::string_view text) const {
        Match match;
        if (text.empty() || !is_first_byte_[static_cast<uint8_t>(text[0])]) return match;
        // Those that share the first i bytes with the text lie in [first, last), the shortest in front.
        auto first = entries_.begin(), last = entries_.end();
        for (size_t i = 0; i < text.size() && first != last; ++i) {
            const auto byte = static_cast<uint8_t>(text[i]);
            const auto byte_at = [i](const Entry& entry) {
                return i < entry.text.size() ? uint8_t(entry.text[i]) : -1;
            };
            first =
                std::partition_point(first, last, [&](const Entry& entry) { return byte_at(entry) < byte; });
            last =
                std::partition_point(first, last, [&](const Entry& entry) { return byte_at(entry) == byte; });
            if (first != last && first->text.size() == i + 1) match = {first->id, i + 1};
        }
        return match;
    }

private:
    struct Entry {
        std::string_view text;
        int32_t id;
    };
    std::vector<Entry> entries_;
    std::array<bool, 256> is_first_byte_{};
};

void check_shape(const Vocabulary& vocabulary) {
    constexpr size_t kMaxCount = std::numeric_limits<int32_t>::max();
    check<ModelFileError>(vocabulary.types.size() == vocabulary.tokens.size(),
                          "[tokenizer] expected a type for each of {} tokens, got {} types",
                          vocabulary.tokens.size(), vocabulary.types.size());
    check<ModelFileError>(vocabulary.tokens.size() <= kMaxCount && vocabulary.merges.size() <= kMaxCount,
                          "[tokenizer] expected at most {} tokens and merges, got {} and {}", kMaxCount,
                          vocabulary.tokens.size(), vocabulary.merges.size());
    for (size_t id = 0; id < vocabulary.types.size(); ++id) {
        const TokenType type = vocabulary.types[id];
        check<ModelFileError>(type >= TokenType::normal && type <= TokenType::byte,
                              "[tokenizer] expected a token type from 1 to 6, got {} (token {})",
                              static_cast<int32_t>(type), id);
    }
}

}  // namespace

struct Tokenizer::Tables {
    Vocabulary vocabulary;           // views below point into it
    std::vector<std::string> bytes;  // by id
    std::unordered_map<std::string_view, int32_t> id_by_token;
    std::array<int32_t, 256> id_by_byte{};
    AddedTokens added;
    BpeMerges merges;

    explicit Tables(Vocabulary source);
    void add_tokens();
    void add_merges();
    int32_t id_of_part(std::string_view part, size_t merge) const;
    size_t checked(int32_t id) const;
    void encode_plain(const std::string& text, std::vector<int32_t>& ids) const;
};

Tokenizer::Tables::Tables(Vocabulary source) : vocabulary(std::move(source)) {
    check_shape(vocabulary);
    add_tokens();
    added = AddedTokens(vocabulary);
    add_merges();
}

void Tokenizer::Tables::add_tokens() {
    const size_t n_token = vocabulary.tokens.size();
    bytes.reserve(n_token);
    id_by_token.reserve(n_token);
    id_by_byte.fill(-1);
    for (size_t id = 0; id < n_token; ++id) {
        const std::string& token = vocabulary.tokens[id];
        const bool is_new = id_by_token.emplace(token, static_cast<int32_t>(id)).second;
        check<ModelFileError>(is_new, "[tokenizer] expected distinct tokens, got '{}' twice (token {})",
                              token, id);
        // Rows of the model that stand for no token, such as what rounds its size up, say nothing.
        const bool is_unused = vocabulary.types[id] == TokenType::unused;
        bytes.push_back(is_unused ? "" : is_added(vocabulary.types[id]) ? token : bytes_from_alphabet(token));
    }
    for (size_t letter = 0; letter < kByteByLetter.size(); ++letter) {
        if (kByteByLetter[letter] < 0) continue;
        std::string token;
        append_utf8(token, static_cast<char32_t>(letter));
        const auto found = id_by_token.find(token);
        check<ModelFileError>(found != id_by_token.end() && !is_added(vocabulary.types[found->second]),
                              "[tokenizer] expected a normal token for each byte, got none for byte {}",
                              kByteByLetter[letter]);
        id_by_byte[kByteByLetter[letter]] = found->second;
    }
}

void Tokenizer::Tables::add_merges() {
    merges.reserve(vocabulary.merges.size());
    for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
        const std::string_view merge = vocabulary.merges[i];
        const size_t space = merge.find(' ');
        check<ModelFileError>(space != std::string_view::npos,
                              "[tokenizer] expected 'left right', got '{}' (merge {})", merge, i);
        const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
        const std::array<int32_t, 3> ids = {id_of_part(left, i), id_of_part(right, i),
                                            id_of_part(std::string(left) + std::string(right), i)};
        // NOTE: the reference keeps a merge that spells an added token (4.5 has one for <unk>); here it is
        // left out, because text that is not cut at added tokens must never come to spell one.
        const auto is_plain = [this](int32_t id) { return !is_added(vocabulary.types[id]); };
        if (std::all_of(ids.begin(), ids.end(), is_plain)) merges.add(ids[0], ids[1], ids[2]);
    }
    vocabulary.merges = {};
}

int32_t Tokenizer::Tables::id_of_part(std::string_view part, size_t merge) const {
    const auto found = id_by_token.find(part);
    check<ModelFileError>(!part.empty() && found != id_by_token.end(),
                          "[tokenizer] expected merges of known tokens, got '{}' (merge {})", part, merge);
    return found->second;
}

size_t Tokenizer::Tables::checked(int32_t id) const {
    check<ArgumentError>(id >= 0 && static_cast<size_t>(id) < bytes.size(),
                         "[tokenizer] expected a token id below {}, got {}", bytes.size(), id);
    return static_cast<size_t>(id);
}

// Text without special tokens: normalised, cut into words, merged word by word.
void Tokenizer::Tables::encode_plain(const std::string& text, std::vector<int32_t>& ids) const {
    constexpr size_t kMaxBytes =
        std::numeric_limits<int32_t>::max() / 4;  // U+FFFD takes three bytes for a bad one
    check<ArgumentError>(text.size() <= kMaxBytes, "[tokenizer] expected at most {} bytes of text, got {}",
                         kMaxBytes, text.size());
    const std::u32string normalised = to_nfc(decode_utf8(text));
    BpeMerges::Workspace workspace;
    std::string word_bytes;
    std::vector<int32_t> word;
    for (size_t begin = 0; begin < normalised.size();) {
        const size_t end = word_end(normalised, begin);
        word_bytes.clear();
        for (; begin < end; ++begin) append_utf8(word_bytes, normalised[begin]);
        word.clear();
        for (char byte : word_bytes) word.push_back(id_by_byte[static_cast<uint8_t>(byte)]);
        merges.merge(word, workspace, ids);
    }
}

Tokenizer::Tokenizer(Vocabulary vocabulary)
    : tables_(std::make_unique<const Tables>(std::move(vocabulary))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::span<const TextSpan> spans) const {
    std::vector<int32_t> ids;
    std::string plain;  // since the last special token, across spans
    const auto flush = [&] {
        tables_->encode_plain(plain, ids);
        plain.clear();
    };
    for (size_t i = 0; i < spans.size();) {
        if (!spans[i].parse_special) {
            plain += spans[i++].text;
            continue;
        }
        std::string ours;  // neighbouring spans of ours are one text: a special token may lie across them
        while (i < spans.size() && spans[i].parse_special) ours += spans[i++].text;
        for (size_t at = 0; at < ours.size();) {
            const auto match = tables_->added.longest_at(std::string_view(ours).substr(at));
            if (match.id < 0) {
                plain += ours[at++];
                continue;
            }
            flush();
            ids.push_back(match.id);
            at += match.n_byte;
        }
    }
    flush();
    return ids;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool parse_special) const {
    const TextSpan span{std::string(text), parse_special};
    return encode(std::span(&span, 1));
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
    std::string bytes;
    for (int32_t id : ids) {
        if (!(skip_special && is_special(id))) bytes += bytes_of(id);
    }
    return utf8_lossy(bytes);
}

std::string_view Tokenizer::bytes_of(int32_t id) const { return tables_->bytes[tables_->checked(id)]; }

std::optional<int32_t> Tokenizer::find(std::string_view token) const {
    const auto found = tables_->id_by_token.find(token);
    if (found == tables_->id_by_token.end()) return std::nullopt;
    return found->second;
}

int32_t Tokenizer::require(std::string_view token) const {
    const auto id = find(token);
    check<ModelFileError>(id.has_value(), "[tokenizer] expected the token '{}', got a vocabulary without it",
                          token);
    return *id;
}

bool Tokenizer::is_special(int32_t id) const {
    return tables_->vocabulary.types[tables_->checked(id)] == TokenType::control;
}

int32_t Tokenizer::n_vocab() const { return static_cast<int32_t>(tables_->bytes.size()); }

}  // namespace minicpmo
