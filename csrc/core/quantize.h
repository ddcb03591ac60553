#pragma once
// Rows of float32 to any ggml type and back, by ggml's own routines, split over threads by rows.

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace minicpmo {

ggml_type parse_type(
    std::string_view name);             // "f32", "q4_k", ... as ggml_type_name prints; throws ArgumentError
std::string type_name(ggml_type type);  // the other way round
bool can_quantize(
    ggml_type type);  // false for removed types and those that only an importance matrix can make

// values: [n_col, n_row], n_col a multiple of the block size of `type`. n_threads 0: all processors.
// importance: [n_col], 0 and above, or empty: errors in a column weigh as much.
std::vector<std::byte> quantize(ggml_type type, std::span<const float> values, int64_t n_col,
                                int n_threads = 0, std::span<const float> importance = {});
std::vector<float> dequantize(ggml_type type, std::span<const std::byte> blocks, int64_t n_col,
                              int n_threads = 0);

}  // namespace minicpmo
