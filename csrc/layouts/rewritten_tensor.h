#pragma once
// RewrittenTensor: a tensor whose values a published file has in another order than the networks read, or in
// another form, made anew in memory. Reference: docs/gguf.md, "Speech", for the forms.

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "core/gguf_file.h"

namespace minicpmo {

struct RewrittenTensor {
    ggml_type type = GGML_TYPE_F32;
    std::array<int64_t, 4> ne = {1, 1, 1, 1};
    MemoryRegion memory;
};

// All of these take F32, F16 and BF16 and throw UnsupportedModelError for other types, ModelFileError for
// tensors of another number of dimensions.

// [n, m] -> [m, n]
RewrittenTensor transposed(const TensorInfo& tensor);
// A convolution [n_tap, n_in, n_out] -> [n_tap * n_in, n_out]: tap after tap, each with all its inputs.
RewrittenTensor taps_first(const TensorInfo& tensor);
// A convolution [n_tap, n_in, n_out] over frames that are repeated `rate` times, which sees only back -> one
// over the frames themselves, [(repeated_reach + 1) * n_in, rate * n_out], in F32.
RewrittenTensor fold_repeated(const TensorInfo& tensor, int rate);
// A transposed convolution [n_tap, n_out, n_in] of that stride, padded on both sides by (n_tap - rate) / 2 ->
// [(left + 1 + right) * n_in, rate * n_out], in F32.
RewrittenTensor fold_transposed(const TensorInfo& tensor, int rate);
// [n] -> [rate * n], in F32.
RewrittenTensor repeated(const TensorInfo& tensor, int rate);

// Frames before and after its own that a row of these depends on.
struct Reach {
    int left = 0;
    int right = 0;
};
inline int repeated_reach(int n_tap, int rate) { return (n_tap - 1 + rate - 1) / rate; }
inline Reach transposed_reach(int n_tap, int rate) {
    const int padding = (n_tap - rate) / 2;
    return {(n_tap - 1 - padding) / rate, (rate - 1 + padding) / rate};
}

}  // namespace minicpmo
