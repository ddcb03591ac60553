#pragma once
// TokenEmbedding: ids to vectors; Head: vectors to logits. Both may share one tensor (tied weights).
// Reference: torch.nn.Embedding and lm_head of transformers' causal models; scales of MiniCPM (mu-P).

#include <span>

#include "base/array.h"
#include "core/graph_runner.h"
#include "nn/linear.h"

namespace minicpmo {

struct TokenEmbedding {
    Tensor weight = nullptr;  // [n_embd, n_vocab]
    float scale = 1.0F;

    Tensor lookup(Graph& g, Tensor ids) const;                                      // I32 [n] -> [n_embd, n]
    Array<float> lookup(std::span<const int32_t> ids, Workspace& workspace) const;  // the same on its own
};

struct Head {
    nn::Linear linear;   // [n_embd, n_vocab]
    float scale = 1.0F;  // of the logits

    Tensor logits(Graph& g, Tensor hidden) const;  // [n_embd, n] -> [n_vocab, n]
};

}  // namespace minicpmo
