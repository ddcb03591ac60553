#pragma once
// Panels: up to 48 rows of a matrix, converted to float32 and laid out in the order a product reads them.
// Reference: Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008.

#include <ggml.h>

#include <cstddef>
#include <cstdint>

namespace minicpmo::kernels {

constexpr int64_t kPanel = 48;  // columns: three registers, which times eight tokens leaves room for operands

struct FloatRows {
    const std::byte* data = nullptr;
    size_t stride = 0;               // bytes from row to row
    ggml_type type = GGML_TYPE_F32;  // or F16, BF16

    FloatRows from(int64_t row) const { return {data + stride * static_cast<size_t>(row), stride, type}; }
};

bool is_packable(ggml_type type);  // F32, F16 or BF16, on a processor that has the kernels

// panel[k][j] = rows[j][begin + k] for j < n_row <= kPanel, zero up to the next multiple of 16; k < n_k.
void pack_columns(const FloatRows& rows, int64_t n_row, int64_t begin, int64_t n_k, float* panel);

// panel[k][j] = rows[k][begin + j] for j < n_column <= kPanel, zero up to the next multiple of 16; k < n_k.
void pack_rows(const FloatRows& rows, int64_t n_column, int64_t begin, int64_t n_k, float* panel);

struct TokenRows {
    const float* data = nullptr;
    int64_t stride = 0;  // floats from token to token
    int64_t n = 0;
};

enum class Store { overwrite, add };

// dst[t][j] (+)= sum over k < n_k of panel[k][j] * x[t][k], for j < n_column and every token t of x.
void multiply_panel(const float* panel, int64_t n_column, int64_t n_k, const TokenRows& x, float* dst,
                    int64_t dst_stride, Store store);

// Room for n floats on a cache line boundary, this thread's until it asks again. ggml gives a custom
// operation no work buffer, and the page faults of an allocation per call would take as long as a small
// product; so each thread keeps its own.
float* thread_scratch(size_t n);

}  // namespace minicpmo::kernels
