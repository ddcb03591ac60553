#include "kernels/int8/int8_product.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace minicpmo::kernels {

namespace {

// Scratch of one thread; lives as long as the thread, because ggml's threads come back for every node.
struct Scratch {
    std::vector<WeightPanel> panel = std::vector<WeightPanel>(1);
    std::vector<char> rows;
    std::vector<float> part;  // results of a panel with rows past the end
};
Scratch& thread_scratch() {
    thread_local Scratch scratch;
    return scratch;
}

// The rows of a piece lie one after the other, and a panel reads all of them at once, a little of each: from
// memory that is slow. Copied in one go they are in the second-level cache when the panel reads them
// (measured on Zen 5: unpacking Q4_K takes 155 ns for 4096 weights instead of 396, of which 89 are
// arithmetic).
const char* near_rows(const Int8Product& p, int64_t row, int n_thread, Scratch& scratch) {
    constexpr size_t kMaxBytes = 768 << 10;  // beyond, they would not stay there
    const auto n_row = static_cast<size_t>(std::min<int64_t>(p.kernels.n_row, p.n_out - row));
    const char* first = p.w + static_cast<size_t>(row) * p.w_stride;
    const size_t n_byte = n_row * p.w_stride;
    if (n_byte > kMaxBytes || p.has_gaps) return first;
    scratch.rows.resize(std::max(scratch.rows.size(), n_byte));
    std::memcpy(scratch.rows.data(), first, n_byte);
    // The next piece of this thread is likely to be that many pieces further; past the end this is ignored.
    const char* next = first + static_cast<size_t>(n_thread) * n_byte;
    for (size_t i = 0; i < n_byte; i += 64) __builtin_prefetch(next + i, 0, 2);
    return scratch.rows.data();
}

}  // namespace

void Int8Product::compute(int64_t i, int n_thread) const {
    Scratch& scratch = thread_scratch();
    WeightPanel& panel = scratch.panel[0];
    const int64_t row = i * kernels.n_row;
    const int64_t n_row = std::min<int64_t>(kernels.n_row, n_out - row);
    const char* first = near_rows(*this, row, n_thread, scratch);
    const char* rows[kMostPanelRows];
    // Rows past the end repeat the last one.
    for (int64_t r = 0; r < kernels.n_row; ++r)
        rows[r] = first + static_cast<size_t>(std::min(r, n_row - 1)) * w_stride;
    const PanelFormat format = kernels.format(type);
    const int64_t n_block = block_weights(type);
    const bool is_whole = n_row == kernels.n_row;
    if (!is_whole) scratch.part.resize(std::max(scratch.part.size(), static_cast<size_t>(n * kernels.n_row)));
    float* out = is_whole ? y + row : scratch.part.data();
    const int64_t out_stride = is_whole ? n_out : kernels.n_row;
    for (int64_t begin = 0; begin < n_in; begin += kPanelDepth) {
        const int64_t depth = std::min(kPanelDepth, n_in - begin);
        format.unpack(rows, begin / n_block, depth / n_block, panel);
        for (int64_t t = 0; t < n; t += kernels.n_token) {
            const int64_t n_token = std::min<int64_t>(kernels.n_token, n - t);
            const Int8Rows tokens{x.first + static_cast<size_t>(t) * x.stride, x.stride, n_in};
            format.tiles[static_cast<size_t>(n_token - 1)](panel, tokens, begin, depth, out + t * out_stride,
                                                           out_stride);
        }
    }
    if (is_whole) return;
    for (int64_t t = 0; t < n; ++t) std::copy_n(out + t * out_stride, n_row, y + t * n_out + row);
}

}  // namespace minicpmo::kernels
