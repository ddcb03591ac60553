#include "layouts/rewritten_tensor.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "core/quantize.h"

namespace minicpmo {

namespace {

// Memory as aligned as ggml's kernels want a tensor.
struct alignas(64) Line {
    std::byte bytes[64];
};

struct Memory {
    explicit Memory(size_t n_byte)
        : lines(std::make_shared<std::vector<Line>>((n_byte + sizeof(Line) - 1) / sizeof(Line))),
          bytes(reinterpret_cast<std::byte*>(lines->data()), n_byte) {}
    MemoryRegion region() const { return {bytes, lines, false}; }

    std::shared_ptr<std::vector<Line>> lines;
    std::span<std::byte> bytes;
};

RewrittenTensor in_f32(std::span<const float> values, std::array<int64_t, 4> ne) {
    const Memory memory(values.size_bytes());
    std::memcpy(memory.bytes.data(), values.data(), values.size_bytes());
    return {GGML_TYPE_F32, ne, memory.region()};
}

size_t check_plain(const TensorInfo& tensor, int n_dims) {
    check<UnsupportedModelError>(
        tensor.type == GGML_TYPE_F32 || tensor.type == GGML_TYPE_F16 || tensor.type == GGML_TYPE_BF16,
        "[layout] expected {} of type f32, f16 or bf16, got {}", printable(tensor.name),
        type_name(tensor.type));
    check<ModelFileError>(tensor.n_dims == n_dims, "[layout] expected {} with {} dimensions, got {}",
                          printable(tensor.name), n_dims, tensor.n_dims);
    return tensor.type == GGML_TYPE_F32 ? 4 : 2;
}

std::vector<float> values_of(const TensorInfo& tensor, int n_dims) {
    check_plain(tensor, n_dims);
    return dequantize(tensor.type, tensor.data, tensor.ne[0], 1);
}

// The matrices [n, m] in `from`, one after the other, each transposed.
template <class T>
void transpose(std::span<const std::byte> from, std::span<std::byte> to, int64_t n, int64_t m,
               int64_t n_matrix) {
    const auto* in = reinterpret_cast<const T*>(from.data());
    auto* out = reinterpret_cast<T*>(to.data());
    for (int64_t i = 0; i < n_matrix; ++i, in += n * m, out += n * m) {
        for (int64_t row = 0; row < m; ++row) {
            for (int64_t col = 0; col < n; ++col) out[col * m + row] = in[row * n + col];
        }
    }
}

RewrittenTensor transpose_each(const TensorInfo& tensor, int n_dims, std::array<int64_t, 4> ne) {
    const size_t n_byte = check_plain(tensor, n_dims);
    const Memory memory(tensor.data.size());
    const auto run = n_byte == 4 ? transpose<uint32_t> : transpose<uint16_t>;
    run(tensor.data, memory.bytes, tensor.ne[0], tensor.ne[1], tensor.ne[2]);
    return {tensor.type, ne, memory.region()};
}

}  // namespace

RewrittenTensor transposed(const TensorInfo& tensor) {
    return transpose_each(tensor, 2, {tensor.ne[1], tensor.ne[0], 1, 1});
}

RewrittenTensor taps_first(const TensorInfo& tensor) {
    return transpose_each(tensor, 3, {tensor.ne[0] * tensor.ne[1], tensor.ne[2], 1, 1});
}

RewrittenTensor fold_repeated(const TensorInfo& tensor, int rate) {
    const std::vector<float> weight = values_of(tensor, 3);
    const auto [n_tap, n_in, n_out, unused] = tensor.ne;
    const int64_t left = repeated_reach(static_cast<int>(n_tap), rate);
    const int64_t n_row = (left + 1) * n_in;
    std::vector<float> folded(static_cast<size_t>(n_row * rate * n_out));
    for (int64_t phase = 0; phase < rate; ++phase) {
        for (int64_t tap = 0; tap < n_tap; ++tap) {
            // Taps that land on copies of one frame are added; this frame lies so many before the newest.
            const int64_t back = (n_tap - 1 - tap - phase + rate - 1) / rate;
            const int64_t frame = tap + phase >= n_tap - 1 ? left : left - back;
            for (int64_t out = 0; out < n_out; ++out) {
                float* row = folded.data() + (phase * n_out + out) * n_row + frame * n_in;
                const float* from = weight.data() + out * n_in * n_tap + tap;
                for (int64_t in = 0; in < n_in; ++in) row[in] += from[in * n_tap];
            }
        }
    }
    return in_f32(folded, {n_row, rate * n_out, 1, 1});
}

RewrittenTensor fold_transposed(const TensorInfo& tensor, int rate) {
    const std::vector<float> weight = values_of(tensor, 3);
    const auto [n_tap, n_out, n_in, unused] = tensor.ne;
    const auto [left, right] = transposed_reach(static_cast<int>(n_tap), rate);
    const int64_t padding = (n_tap - rate) / 2;
    const int64_t n_row = (left + 1 + right) * n_in;
    std::vector<float> folded(static_cast<size_t>(n_row * rate * n_out));
    for (int64_t phase = 0; phase < rate; ++phase) {
        for (int64_t frame = -left; frame <= right; ++frame) {
            const int64_t tap = phase + padding - rate * frame;
            if (tap < 0 || tap >= n_tap) continue;
            for (int64_t out = 0; out < n_out; ++out) {
                float* row = folded.data() + (phase * n_out + out) * n_row + (left + frame) * n_in;
                const float* from = weight.data() + out * n_tap + tap;
                for (int64_t in = 0; in < n_in; ++in) row[in] = from[in * n_out * n_tap];
            }
        }
    }
    return in_f32(folded, {n_row, rate * n_out, 1, 1});
}

RewrittenTensor repeated(const TensorInfo& tensor, int rate) {
    const std::vector<float> once = values_of(tensor, 1);
    std::vector<float> values;
    for (int i = 0; i < rate; ++i) values.insert(values.end(), once.begin(), once.end());
    return in_f32(values, {static_cast<int64_t>(values.size()), 1, 1, 1});
}

}  // namespace minicpmo
