#pragma once
// BytePairEncoder: byte-level BPE over the merges of one model file.
// Reference: transformers Qwen2TokenizerFast (NFC, Qwen2 pre-tokenizer, byte-level BPE); tokenizers' BPE with
// ignore_merges, as Llama 3 has it.

#include <array>
#include <string>
#include <unordered_map>

#include "text/bpe_merges.h"
#include "text/plain_encoder.h"

namespace minicpmo {

class BytePairEncoder : public PlainEncoder {
public:
    BytePairEncoder(const Vocabulary& vocabulary, const TokenIds& ids);  // throws ModelFileError

    void encode(const std::string& text, std::vector<int32_t>& ids) const override;
    std::string bytes_of(const std::string& token, TokenType type) const override;

private:
    void add_bytes(const Vocabulary& vocabulary, const TokenIds& ids);
    void add_merges(const Vocabulary& vocabulary, const TokenIds& ids);

    std::array<int32_t, 256> id_by_byte_{};
    BpeMerges merges_;
    size_t max_digits_;
    bool normalises_;
    std::unordered_map<std::string, int32_t> whole_words_;  // by the bytes that they stand for; maybe none
};

}  // namespace minicpmo
