#pragma once
// row_norm: layer normalisation with all that stands around it, in one pass: the bias of the product before
// it, scale and shift, Mish, and a place for the context of the convolution after it. gated_add: its
// counterpart behind a branch.
// Reference: stepaudio2/cosyvoice2/flow/decoder_dit.py, DiTBlock and CausalConvBlock; Peebles and Xie,
// Scalable Diffusion Models with Transformers, 2022; Misra, Mish, 2019.

#include "core/graph.h"

namespace minicpmo::kernels {

// Vectors are F32 and contiguous, each nullptr for none, of n or a multiple of n values: the rows of x then
// take the parts of n in turn.
struct RowNorm {
    Tensor bias = nullptr;    // added to x first
    Tensor weight = nullptr;  // times the normalised row
    Tensor shift = nullptr;   // added then
    float eps = 1e-5F;
    bool mish = false;         // y tanh(ln(1 + exp y)) at the end
    Tensor context = nullptr;  // F32 [n, n_context], rows in front of the result that are only copied
};

// x F32 [n, n_row], contiguous -> [n, n_context + n_row]
Tensor row_norm(Graph& g, Tensor x, const RowNorm& norm);

// x + gate * (y + bias), written over x. x, y F32 [n, n_row], contiguous; bias and gate [n], bias or nullptr.
Tensor gated_add(Graph& g, Tensor x, Tensor y, Tensor bias, Tensor gate);

}  // namespace minicpmo::kernels
