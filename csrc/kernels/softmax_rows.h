#pragma once
// The softmax of a row of scores that arrives in pieces: a running maximum and sum.
// Reference: Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.

#include <ggml.h>

#include <cstdint>
#include <limits>

namespace minicpmo::kernels {

struct RunningSoftmax {
    float max = -std::numeric_limits<float>::infinity();  // of the scores so far
    float sum = 0.0F;                                     // of exp(score - max)

    // scores[i] <- exp(scale * scores[i] + mask[i] - max), with the maximum over this piece too; mask may be
    // nullptr. Returns the factor that what was weighted by earlier pieces must be multiplied with.
    float advance(float* scores, int64_t n, float scale, const ggml_fp16_t* mask);
};

void scale_row(float* row, int64_t n, float factor);

// The first entry of the row that is not minus infinity, and one past the last; both 0 if there is none.
struct VisibleRange {
    int64_t begin = 0;
    int64_t end = 0;
};
VisibleRange visible_range(const ggml_fp16_t* mask, int64_t n);

}  // namespace minicpmo::kernels
