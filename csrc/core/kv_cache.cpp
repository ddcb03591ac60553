#include "core/kv_cache.h"

#include <algorithm>
#include <atomic>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr int kFirstCapacity = 512;  // cells; doubles from there
constexpr int kStep = 256;           // capacities are multiples of it

uint64_t bytes_of(const KvShape& shape, int64_t n_cell) {
    const size_t cell = ggml_row_size(shape.type, int64_t{shape.d_head} * shape.n_head_kv);
    return 2 * static_cast<uint64_t>(shape.n_layer) * cell * static_cast<uint64_t>(n_cell);
}

// Unique over all caches, so that a graph built for one is never run on another.
int64_t next_generation() {
    static std::atomic<int64_t> counter = 0;
    return ++counter;
}

uint64_t next_cell_name() {
    static std::atomic<uint64_t> counter = 0;
    return ++counter;
}

}  // namespace

KvCache::KvCache(const KvShape& shape, std::shared_ptr<const Backend> backend)
    : shape_(shape), backend_(std::move(backend)) {
    check_shape(shape);
}

void KvCache::check_shape(const KvShape& shape) {
    const ggml_type type = shape.type;
    check<ArgumentError>(
        type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16 || type == GGML_TYPE_Q8_0,
        "[kv cache] expected type f32, f16, bf16 or q8_0, got {}", ggml_type_name(type));
    check<ArgumentError>(shape.d_head % ggml_blck_size(type) == 0,
                         "[kv cache] expected d_head to be a multiple of {} for {}, got {}",
                         ggml_blck_size(type), ggml_type_name(type), shape.d_head);
    check<ArgumentError>(shape.n_ctx > 0, "[kv cache] expected n_ctx > 0, got {}", shape.n_ctx);
}

uint64_t KvCache::full_bytes(const KvShape& shape) { return bytes_of(shape, GGML_PAD(shape.n_ctx, kStep)); }

uint64_t KvCache::growing_bytes(const KvShape& shape) {
    int64_t before = 0;
    for (int64_t cells = kFirstCapacity; cells < GGML_PAD(int64_t{shape.n_ctx}, kStep); cells *= 2)
        before = cells;
    const int64_t n_tensor = 2 * int64_t{shape.n_layer};
    return bytes_of(shape, before) + bytes_of(shape, before) / static_cast<uint64_t>(n_tensor);
}

size_t KvCache::n_bytes() const { return buffer_ ? ggml_backend_buffer_get_size(buffer_.get()) : 0; }

void KvCache::reserve(int n) {
    const int64_t needed = int64_t{length_} + n;
    check<ContextFullError>(needed <= shape_.n_ctx,
                            "[kv cache] expected at most {} tokens in the context, got {} + {}", shape_.n_ctx,
                            length_, n);
    if (needed <= capacity_) return;
    int64_t capacity = std::max(capacity_, kFirstCapacity);
    while (capacity < needed) capacity *= 2;
    grow(static_cast<int>(std::min<int64_t>(capacity, GGML_PAD(shape_.n_ctx, kStep))));
}

void KvCache::truncate(int n) {
    check<ArgumentError>(n >= 0 && n <= length_, "[kv cache] expected a length of 0 to {}, got {}", length_,
                         n);
    length_ = n;
    names_.resize(static_cast<size_t>(n));
}

void KvCache::advance(int n) {
    length_ += n;
    while (names_.size() < static_cast<size_t>(length_)) names_.push_back(next_cell_name());
}

size_t KvCache::cell_bytes() const {
    return ggml_row_size(shape_.type, int64_t{shape_.d_head} * shape_.n_head_kv);
}

void KvCache::move_tail(int from, int to) {
    check<ArgumentError>(from >= 0 && from <= length_ && to >= 0 && to + length_ - from <= capacity_,
                         "[kv cache] expected cells of 0 to {} and room for them, got {} to {}", length_,
                         from, to);
    const int n = length_ - from;
    const size_t cell = cell_bytes();
    std::vector<std::byte> bounce(cell * static_cast<size_t>(n));
    for (int i = 0; n > 0 && from != to && i < n_tensor(); ++i) {
        ggml_backend_tensor_get(tensor(i), bounce.data(), cell * static_cast<size_t>(from), bounce.size());
        ggml_backend_tensor_set(tensor(i), bounce.data(), cell * static_cast<size_t>(to), bounce.size());
    }
    truncate(std::min(from, to));
    advance(to + n - length_);
}

void KvCache::archive(Archive& archive) {
    int32_t n = length_;
    archive(n);
    const size_t n_bytes = cell_bytes() * static_cast<size_t>(std::max(n, 0));
    if (archive.is_reading()) {
        check<ModelFileError>(
            n >= 0 && n <= shape_.n_ctx && n_bytes <= archive.n_left() / static_cast<size_t>(n_tensor()),
            "[kv cache] expected 0 to {} cells of {} bytes, got {}", shape_.n_ctx, cell_bytes(), n);
        truncate(0);
        reserve(n);
    }
    std::vector<std::byte> bounce(n_bytes);
    for (int i = 0; n > 0 && i < n_tensor(); ++i) {
        if (!archive.is_reading()) ggml_backend_tensor_get(tensor(i), bounce.data(), 0, n_bytes);
        archive.bytes(bounce);
        if (archive.is_reading()) ggml_backend_tensor_set(tensor(i), bounce.data(), 0, n_bytes);
    }
    if (archive.is_reading()) advance(n);
}

void KvCache::grow(int capacity) {
    const int64_t n_embd = int64_t{shape_.d_head} * shape_.n_head_kv;
    const size_t n_tensor = static_cast<size_t>(shape_.n_layer) * 2;
    ggml_context_ptr context(ggml_init({ggml_tensor_overhead() * (n_tensor + 1), nullptr, true}));
    check<OutOfMemoryError>(context != nullptr, "[kv cache] no memory for {} tensor headers", n_tensor);
    std::vector<Tensor> keys;
    std::vector<Tensor> values;
    for (int layer = 0; layer < shape_.n_layer; ++layer) {
        keys.push_back(ggml_new_tensor_2d(context.get(), shape_.type, n_embd, capacity));
        values.push_back(ggml_new_tensor_2d(context.get(), shape_.type, n_embd, capacity));
    }
    ggml_backend_buffer_ptr buffer(
        ggml_backend_alloc_ctx_tensors_from_buft(context.get(), backend_->weight_buffer_type()));
    check<OutOfMemoryError>(buffer != nullptr, "[kv cache] no memory for {} cells of {} layers", capacity,
                            shape_.n_layer);
    // Cells beyond the length are masked, but minus infinity plus a stray NaN would still be NaN.
    ggml_backend_buffer_clear(buffer.get(), 0);
    std::vector<std::byte> bounce(ggml_row_size(shape_.type, n_embd) * static_cast<size_t>(length_));
    const auto copy = [&](Tensor from, Tensor to) {
        ggml_backend_tensor_get(from, bounce.data(), 0, bounce.size());
        ggml_backend_tensor_set(to, bounce.data(), 0, bounce.size());
    };
    for (size_t i = 0; length_ > 0 && i < keys_.size(); ++i) {
        copy(keys_[i], keys[i]);
        copy(values_[i], values[i]);
    }
    keys_ = std::move(keys);
    values_ = std::move(values);
    buffer_ = std::move(buffer);
    context_ = std::move(context);
    capacity_ = capacity;
    generation_ = next_generation();
}

}  // namespace minicpmo
