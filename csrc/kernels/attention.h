#pragma once
// Attention in float32, or with operands of products rounded to bfloat16; ggml rounds queries and weights to
// the type of the keys. Reference: Dao et al., FlashAttention, 2022.

#include "core/graph.h"

namespace minicpmo::kernels {

// k and v of type F32, F16 or BF16, on a processor with AVX-512; any number of queries.
bool attention_supports(const ggml_tensor* q, const ggml_tensor* k, const ggml_tensor* v,
                        const ggml_tensor* mask);

// What the factors of products are rounded to; sums and softmax are float32.
enum class Operand {
    f32,
    bf16,  // where the processor multiplies them faster, otherwise float32
};

// q [d_head, n_head, n], k [d_head, n_head_kv, n_kv], v [d_value, n_head_kv, n_kv], of any strides but
// contiguous heads; mask F16 [n_kv, n] added to the scaled scores, or nullptr. Returns [d_value * n_head, n],
// zeros for a query that may see nothing. Only where supported, and on the CPU.
Tensor attention(Graph& g, Tensor q, Tensor k, Tensor v, Tensor mask, float scale,
                 Operand operand = Operand::f32);

}  // namespace minicpmo::kernels
