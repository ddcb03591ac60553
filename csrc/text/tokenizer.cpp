#include "text/tokenizer.h"

#include <limits>
#include <utility>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/byte_pair_encoder.h"
#include "text/sentence_piece_encoder.h"
#include "text/utf8_stream.h"

namespace minicpmo {
namespace {

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
    TokenIds id_by_token;
    AddedTokens added;
    std::unique_ptr<const PlainEncoder> plain;

    explicit Tables(Vocabulary source);
    void add_tokens();
    size_t checked(int32_t id) const;
};

Tokenizer::Tables::Tables(Vocabulary source) : vocabulary(std::move(source)) {
    check_shape(vocabulary);
    add_tokens();
    added = AddedTokens(vocabulary);
    if (vocabulary.kind == TokenizerKind::byte_pairs) {
        plain = std::make_unique<const BytePairEncoder>(vocabulary, id_by_token);
    } else {
        plain = std::make_unique<const SentencePieceEncoder>(vocabulary, id_by_token);
    }
    vocabulary.merges = {};
    for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
        const std::string& token = vocabulary.tokens[id];
        const TokenType type = vocabulary.types[id];
        // Rows of the model that stand for no token, such as what rounds its size up, say nothing.
        const bool is_unused = type == TokenType::unused;
        bytes.push_back(is_unused ? "" : is_added(type) ? token : plain->bytes_of(token, type));
    }
}

void Tokenizer::Tables::add_tokens() {
    id_by_token.reserve(vocabulary.tokens.size());
    for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
        const std::string& token = vocabulary.tokens[id];
        const bool is_new = id_by_token.emplace(token, static_cast<int32_t>(id)).second;
        check<ModelFileError>(is_new, "[tokenizer] expected distinct tokens, got '{}' twice (token {})",
                              token, id);
    }
}

size_t Tokenizer::Tables::checked(int32_t id) const {
    check<ArgumentError>(id >= 0 && static_cast<size_t>(id) < bytes.size(),
                         "[tokenizer] expected a token id below {}, got {}", bytes.size(), id);
    return static_cast<size_t>(id);
}

Tokenizer::Tokenizer(Vocabulary vocabulary)
    : tables_(std::make_unique<const Tables>(std::move(vocabulary))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::span<const TextSpan> spans) const {
    std::vector<int32_t> ids;
    std::string plain;  // since the last special token, across spans
    const auto flush = [&] {
        tables_->plain->encode(plain, ids);
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
    const Vocabulary& vocabulary = tables_->vocabulary;
    const bool has_our_space = vocabulary.kind == TokenizerKind::sentence_pieces && vocabulary.adds_space;
    if (has_our_space && bytes.starts_with(' ')) bytes.erase(0, 1);
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
