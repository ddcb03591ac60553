#pragma once
// The speech of several code books of a tiny file: a language model of two layers, word pieces of letters, a
// DVAE and a Vocos of one block each, random weights. Reference: csrc/engine/book_config.cpp for the keys,
// csrc/models for the tensors.

#include "core/gguf_builder.h"

namespace minicpmo {

struct TinyBookOptions {
    int n_embd_llm = 32;
    int n_ctx = 512;
    int max_codes = 300;  // steps of a part
};

void add_tiny_book(GgufBuilder& builder, const TinyBookOptions& options = {});

}  // namespace minicpmo
