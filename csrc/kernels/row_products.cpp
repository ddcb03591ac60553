#include "kernels/row_products.h"

#include "base/error.h"
#include "kernels/load_float.h"

namespace minicpmo::kernels {

#if MINICPMO_HAS_AVX512_CODE

namespace {

// Rows of a head lie far apart, so that the processor does not foresee them by itself.
inline void prefetch_row(const std::byte* row, size_t stride) {
    constexpr size_t kRowsAhead = 16;
    __builtin_prefetch(row + kRowsAhead * stride);
    __builtin_prefetch(row + kRowsAhead * stride + 64);
}

template <ggml_type kType>
MINICPMO_TARGET_AVX512 void dot_rows_of(const FloatRows& rows, int64_t n_row, const float* x, int64_t n,
                                        float* out) {
    const std::byte* row = rows.data;
    for (int64_t i = 0; i < n_row; ++i, row += rows.stride) {
        prefetch_row(row, rows.stride);
        __m512 sum = _mm512_setzero_ps();
        for (int64_t k = 0; k < n; k += kLane) {
            const __mmask16 mask = first_lanes(n - k);
            sum = _mm512_fmadd_ps(load<kType>(row + k * kBytes<kType>, mask),
                                  _mm512_maskz_loadu_ps(mask, x + k), sum);
        }
        out[i] = _mm512_reduce_add_ps(sum);
    }
}

template <ggml_type kType>
MINICPMO_TARGET_AVX512 void sum_rows_of(const FloatRows& rows, int64_t n_row, const float* weights, int64_t n,
                                        float* out, Store store) {
    constexpr int kRegisters = 4;  // of sums, kept over all rows
    for (int64_t begin = 0; begin < n; begin += kRegisters * kLane) {
        __mmask16 mask[kRegisters];
        __m512 sum[kRegisters];
        for (int r = 0; r < kRegisters; ++r) {
            mask[r] = first_lanes(n - begin - r * kLane);
            sum[r] = store == Store::add ? _mm512_maskz_loadu_ps(mask[r], out + begin + r * kLane)
                                         : _mm512_setzero_ps();
        }
        const std::byte* row = rows.data + begin * kBytes<kType>;
        for (int64_t i = 0; i < n_row; ++i, row += rows.stride) {
            prefetch_row(row, rows.stride);
            const __m512 weight = _mm512_set1_ps(weights[i]);
            for (int r = 0; r < kRegisters; ++r) {
                sum[r] =
                    _mm512_fmadd_ps(load<kType>(row + r * kLane * kBytes<kType>, mask[r]), weight, sum[r]);
            }
        }
        for (int r = 0; r < kRegisters; ++r) {
            _mm512_mask_storeu_ps(out + begin + r * kLane, mask[r], sum[r]);
        }
    }
}

}  // namespace

void dot_rows(const FloatRows& rows, int64_t n_row, const float* x, int64_t n, float* out) {
    if (rows.type == GGML_TYPE_F32) return dot_rows_of<GGML_TYPE_F32>(rows, n_row, x, n, out);
    if (rows.type == GGML_TYPE_F16) return dot_rows_of<GGML_TYPE_F16>(rows, n_row, x, n, out);
    dot_rows_of<GGML_TYPE_BF16>(rows, n_row, x, n, out);
}

void sum_rows(const FloatRows& rows, int64_t n_row, const float* weights, int64_t n, float* out,
              Store store) {
    if (rows.type == GGML_TYPE_F32) return sum_rows_of<GGML_TYPE_F32>(rows, n_row, weights, n, out, store);
    if (rows.type == GGML_TYPE_F16) return sum_rows_of<GGML_TYPE_F16>(rows, n_row, weights, n, out, store);
    sum_rows_of<GGML_TYPE_BF16>(rows, n_row, weights, n, out, store);
}

#else

void dot_rows(const FloatRows&, int64_t, const float*, int64_t, float*) {
    fail<Error>("[row products] expected a processor with AVX-512, got another");
}
void sum_rows(const FloatRows&, int64_t, const float*, int64_t, float*, Store) {
    fail<Error>("[row products] expected a processor with AVX-512, got another");
}

#endif

}  // namespace minicpmo::kernels
