#include "text/sentence_piece_encoder.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "base/error.h"
#include "text/unicode.h"

namespace minicpmo {

namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581 stands for a space

// The byte that "<0x0A>" stands for.
std::optional<uint8_t> byte_of(std::string_view token) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return {};
    const size_t high = kDigits.find(token[3]), low = kDigits.find(token[4]);
    if (high == std::string_view::npos || low == std::string_view::npos) return {};
    return static_cast<uint8_t>(16 * high + low);
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
    std::string result;
    for (size_t at = 0;;) {
        const size_t found = text.find(from, at);
        result += text.substr(at, found - at);
        if (found == std::string_view::npos) return result;
        result += to;
        at = found + from.size();
    }
}

}  // namespace

SentencePieceEncoder::SentencePieceEncoder(const Vocabulary& vocabulary, const TokenIds& ids)
    : adds_space_(vocabulary.adds_space) {
    check<ModelFileError>(vocabulary.scores.size() == vocabulary.tokens.size(),
                          "[tokenizer] expected a score for each of {} tokens, got {}",
                          vocabulary.tokens.size(), vocabulary.scores.size());
    id_by_byte_.fill(-1);
    for (const auto& [token, id] : ids) {
        const TokenType type = vocabulary.types[static_cast<size_t>(id)];
        if (type == TokenType::byte) {
            if (const auto byte = byte_of(token)) id_by_byte_[*byte] = id;
        } else if (type == TokenType::normal && !token.empty()) {
            const float score = vocabulary.scores[static_cast<size_t>(id)];
            check<ModelFileError>(score == score, "[tokenizer] expected scores, got NaN (token {})", id);
            pieces_.emplace(token, Piece{id, score});
            longest_ = std::max(longest_, token.size());
        }
    }
    const auto missing = std::find(id_by_byte_.begin(), id_by_byte_.end(), -1);
    check<ModelFileError>(missing == id_by_byte_.end(),
                          "[tokenizer] expected a token for each byte, got none for byte {}",
                          missing - id_by_byte_.begin());
}

std::string SentencePieceEncoder::bytes_of(const std::string& token, TokenType type) const {
    if (type == TokenType::byte) {
        if (const auto byte = byte_of(token)) return {static_cast<char>(*byte)};
    }
    return replace_all(token, kSpace, " ");
}

bool SentencePieceEncoder::Candidate::operator<(const Candidate& other) const {
    return score != other.score ? score < other.score : position > other.position;
}

struct SentencePieceEncoder::Merging {
    const SentencePieceEncoder& encoder;
    std::string_view text;
    std::vector<Symbol> symbols = {};
    std::vector<Candidate> queue = {};  // a heap

    std::string_view text_of(const Symbol& symbol) const { return text.substr(symbol.begin, symbol.n_byte); }

    void split() {
        for (size_t begin = 0; begin < text.size();) {
            const size_t n_byte = first_character(text.substr(begin)).n_byte;
            const auto index = static_cast<int32_t>(symbols.size());
            begin += n_byte;
            symbols.push_back({begin - n_byte, n_byte, index - 1, begin < text.size() ? index + 1 : -1});
        }
    }

    void enqueue(int32_t position) {
        if (position < 0 || symbols[position].next < 0) return;
        const Symbol& left = symbols[position];
        const size_t n_byte = left.n_byte + symbols[left.next].n_byte;
        if (n_byte > encoder.longest_) return;
        const auto piece = encoder.pieces_.find(text.substr(left.begin, n_byte));
        if (piece == encoder.pieces_.end()) return;
        queue.push_back({piece->second.score, position, n_byte});
        std::push_heap(queue.begin(), queue.end());
    }

    void run() {
        split();
        for (size_t i = 0; i < symbols.size(); ++i) enqueue(static_cast<int32_t>(i));
        while (!queue.empty()) {
            std::pop_heap(queue.begin(), queue.end());
            const Candidate best = queue.back();
            queue.pop_back();
            Symbol& left = symbols[best.position];
            // An earlier merge may have taken either side: then the pair is no longer there.
            if (left.n_byte == 0 || left.next < 0) continue;
            Symbol& right = symbols[left.next];
            if (left.n_byte + right.n_byte != best.n_byte) continue;
            left.n_byte = best.n_byte;
            left.next = right.next;
            right.n_byte = 0;
            if (left.next >= 0) symbols[left.next].previous = best.position;
            enqueue(left.previous);
            enqueue(best.position);
        }
    }
};

void SentencePieceEncoder::encode(const std::string& text, std::vector<int32_t>& ids) const {
    constexpr size_t kMaxBytes = std::numeric_limits<int32_t>::max() / 4;  // a space takes three
    check<ArgumentError>(text.size() <= kMaxBytes, "[tokenizer] expected at most {} bytes of text, got {}",
                         kMaxBytes, text.size());
    if (text.empty()) return;
    const std::string spaced = replace_all(adds_space_ ? " " + text : text, " ", kSpace);
    Merging merging{*this, spaced};
    merging.run();
    for (int32_t i = 0; i >= 0; i = merging.symbols[i].next) {
        const std::string_view symbol = merging.text_of(merging.symbols[i]);
        const auto piece = pieces_.find(symbol);
        if (piece != pieces_.end()) {
            ids.push_back(piece->second.id);
        } else {
            for (const char byte : symbol) ids.push_back(id_by_byte_[static_cast<uint8_t>(byte)]);
        }
    }
}

}  // namespace minicpmo
