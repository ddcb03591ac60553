#include "core/quantize.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <thread>
#include <utility>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr int kMaxThreads = 256;
// The scale of a block is a float16 and never above the block's largest value.
constexpr float kMaxFloat16 = 65504.0F;

bool equals_ignoring_case(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

bool is_known(ggml_type type) {  // removed types keep a number but have no block size
    return type >= 0 && type < GGML_TYPE_COUNT && ggml_blck_size(type) > 0;
}

// Bytes of one row, after checking that blocks of the type fill it.
size_t row_size(ggml_type type, int64_t n_col) {
    const int64_t block = ggml_blck_size(type);
    check<ArgumentError>(n_col > 0 && n_col <= INT64_MAX / 64 && n_col % block == 0,
                         "[quantize] expected rows in blocks of {}, got {} columns (type {})", block, n_col,
                         ggml_type_name(type));
    return ggml_type_size(type) * static_cast<size_t>(n_col / block);
}

int64_t count_rows(ggml_type type, size_t n_item, size_t item_per_row) {
    check<ArgumentError>(n_item % item_per_row == 0, "[quantize] expected whole rows of {}, got {} (type {})",
                         item_per_row, n_item, ggml_type_name(type));
    return static_cast<int64_t>(n_item / item_per_row);
}

// Runs work(first row, last row) over even ranges, one thread each; the caller's thread takes the first.
void for_row_ranges(int64_t n_row, int n_threads, const std::function<void(int64_t, int64_t)>& work) {
    check<ArgumentError>(n_threads >= 0, "[quantize] expected 0 or more threads, got {}", n_threads);
    if (n_threads == 0) n_threads = static_cast<int>(std::thread::hardware_concurrency());
    const int64_t n_range =
        std::clamp<int64_t>(std::min(n_threads, kMaxThreads), 1, std::max<int64_t>(1, n_row));
    std::vector<std::jthread> threads;
    for (int64_t i = 1; i < n_range; i++) {
        threads.emplace_back(work, n_row * i / n_range, n_row * (i + 1) / n_range);
    }
    work(0, n_row / n_range);
}

// Index of the first value that the type cannot hold, or -1.
int64_t find_unfit(std::span<const float> values, float limit) {
    const auto fits = [limit](float value) { return std::abs(value) <= limit; };  // false for NaN
    const auto found = std::find_if_not(values.begin(), values.end(), fits);
    return found == values.end() ? -1 : found - values.begin();
}

void check_values(ggml_type type, std::span<const float> values, int64_t n_col, int n_threads) {
    const bool is_wide = type == GGML_TYPE_F32 || type == GGML_TYPE_BF16;
    const float limit = is_wide ? std::numeric_limits<float>::max() : kMaxFloat16;
    const int64_t n_row = static_cast<int64_t>(values.size()) / n_col;
    std::atomic<int64_t> unfit = -1;
    for_row_ranges(n_row, n_threads, [&](int64_t first, int64_t last) {
        const auto rows = values.subspan(first * n_col, (last - first) * n_col);
        if (const int64_t index = find_unfit(rows, limit); index >= 0) unfit = first * n_col + index;
    });
    if (unfit < 0) return;
    fail<ArgumentError>("[quantize] expected finite values within {}, got {} (row {}, column {}, type {})",
                        limit, values[unfit], unfit / n_col, unfit % n_col, ggml_type_name(type));
}

void check_importance(std::span<const float> importance, int64_t n_col) {
    check<ArgumentError>(importance.empty() || std::cmp_equal(importance.size(), n_col),
                         "[quantize] expected the importance of {} columns, got {}", n_col,
                         importance.size());
    const auto is_weight = [](float x) { return std::isfinite(x) && x >= 0.0F; };  // false for NaN
    check<ArgumentError>(std::all_of(importance.begin(), importance.end(), is_weight),
                         "[quantize] expected importance of 0 and above, got another number");
}

}  // namespace

ggml_type parse_type(std::string_view name) {
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const auto type = static_cast<ggml_type>(i);
        if (is_known(type) && equals_ignoring_case(ggml_type_name(type), name)) return type;
    }
    fail<ArgumentError>("[quantize] expected a tensor type such as f16 or q4_k, got {}", name);
}

std::string type_name(ggml_type type) { return ggml_type_name(type); }

bool can_quantize(ggml_type type) {
    if (!is_known(type)) return false;
    const ggml_type_traits& traits = *ggml_get_type_traits(type);
    const bool is_two_way = traits.to_float != nullptr && traits.from_float_ref != nullptr;
    return type == GGML_TYPE_F32 || (is_two_way && !ggml_quantize_requires_imatrix(type));
}

std::vector<std::byte> quantize(ggml_type type, std::span<const float> values, int64_t n_col, int n_threads,
                                std::span<const float> importance) {
    check<ArgumentError>(can_quantize(type), "[quantize] expected a type that can be made, got {}",
                         is_known(type) ? ggml_type_name(type) : "an unknown one");
    const size_t row = row_size(type, n_col);
    const int64_t n_row = count_rows(type, values.size(), static_cast<size_t>(n_col));
    check_values(type, values, n_col, n_threads);
    check_importance(importance, n_col);

    std::vector<std::byte> blocks(row * static_cast<size_t>(n_row));
    ggml_quantize_init(type);  // before the threads: it builds tables
    for_row_ranges(n_row, n_threads, [&](int64_t first, int64_t last) {
        if (first < last) {
            ggml_quantize_chunk(type, values.data(), blocks.data(), first * n_col, last - first, n_col,
                                importance.empty() ? nullptr : importance.data());
        }
    });
    return blocks;
}

std::vector<float> dequantize(ggml_type type, std::span<const std::byte> blocks, int64_t n_col,
                              int n_threads) {
    check<ArgumentError>(is_known(type), "[dequantize] expected a tensor type, got number {}",
                         static_cast<int>(type));
    const ggml_to_float_t to_float = ggml_get_type_traits(type)->to_float;  // none for float32 itself
    check<ArgumentError>(type == GGML_TYPE_F32 || to_float != nullptr,
                         "[dequantize] expected a float type, got {}", ggml_type_name(type));
    const size_t row = row_size(type, n_col);
    const int64_t n_row = count_rows(type, blocks.size(), row);

    std::vector<float> values(static_cast<size_t>(n_row) * static_cast<size_t>(n_col));
    for_row_ranges(n_row, n_threads, [&](int64_t first, int64_t last) {
        if (first == last) return;
        const std::byte* const from = blocks.data() + row * static_cast<size_t>(first);
        float* const to = values.data() + first * n_col;
        if (to_float != nullptr) {
            to_float(from, to, (last - first) * n_col);
        } else {
            std::memcpy(to, from, row * static_cast<size_t>(last - first));
        }
    });
    return values;
}

}  // namespace minicpmo
