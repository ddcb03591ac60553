#include "core/weights.h"

#include <ggml-cpu.h>

#include "base/error.h"
#include "core/pages.h"

namespace minicpmo {

namespace {

constexpr size_t kMostSlices = 3;        // of one tensor: a fused query, key and value
constexpr size_t kTensorAlignment = 32;  // what ggml's CPU kernels expect of a tensor's address

template <class Shape>
std::string shape_text(const Shape& ne) {
    std::string text = "[";
    for (const int64_t n : ne) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
    return text + "]";
}

bool same_shape(const ggml_tensor* tensor, std::initializer_list<int64_t> ne) {
    size_t axis = 0;
    for (const int64_t n : ne) {
        if (tensor->ne[axis++] != n) return false;
    }
    for (; axis < GGML_MAX_DIMS; ++axis) {
        if (tensor->ne[axis] != 1) return false;
    }
    return true;
}

// ggml aborts on a product with integers or with the formats it keeps for activations.
bool is_computable(ggml_type type) {
    const bool is_float = type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr;
    return is_float && ggml_get_type_traits_cpu(type)->vec_dot != nullptr;
}

}  // namespace

WeightScope WeightScope::operator/(std::string_view name) const {
    return {weights_, prefix_ + std::string(name) + "."};
}

WeightScope WeightScope::operator/(int index) const {
    return {weights_, prefix_ + std::to_string(index) + "."};
}

bool WeightScope::has(std::string_view name) const {
    return weights_->entries_.contains(prefix_ + std::string(name));
}

Tensor WeightScope::try_get(std::string_view name, std::initializer_list<int64_t> ne) const {
    const auto found = weights_->entries_.find(prefix_ + std::string(name));
    if (found == weights_->entries_.end()) return nullptr;
    const Tensor tensor = found->second.tensor;
    check<ModelFileError>(same_shape(tensor, ne), "[weights] tensor {}: expected shape {}, got {} ({})",
                          tensor->name, shape_text(ne), shape_text(tensor->ne),
                          weights_->file_->path().string());
    check<ModelFileError>(is_computable(tensor->type),
                          "[weights] tensor {}: expected a type that can be multiplied, got {} ({})",
                          tensor->name, ggml_type_name(tensor->type), weights_->file_->path().string());
    found->second.used = true;
    return tensor;
}

Tensor WeightScope::get(std::string_view name, std::initializer_list<int64_t> ne) const {
    const Tensor tensor = try_get(name, ne);
    check<ModelFileError>(tensor != nullptr, "[weights] expected a tensor {}{} of shape {}, got none ({})",
                          prefix_, name, shape_text(ne), weights_->file_->path().string());
    return tensor;
}

Tensor WeightScope::try_get_f32(std::string_view name, std::initializer_list<int64_t> ne) const {
    const Tensor tensor = try_get(name, ne);
    check<ModelFileError>(tensor == nullptr || tensor->type == GGML_TYPE_F32,
                          "[weights] tensor {}{}: expected type f32, got {} ({})", prefix_, name,
                          tensor == nullptr ? "" : ggml_type_name(tensor->type),
                          weights_->file_->path().string());
    return tensor;
}

Tensor WeightScope::get_f32(std::string_view name, std::initializer_list<int64_t> ne) const {
    get(name, ne);
    return try_get_f32(name, ne);
}

Tensor WeightScope::slice(Tensor tensor, int64_t begin, int64_t n) const {
    ggml_context* ctx = weights_->context_.get();
    const Tensor view = tensor->ne[1] == 1
                            ? ggml_view_1d(ctx, tensor, n, static_cast<size_t>(begin) * tensor->nb[0])
                            : ggml_view_2d(ctx, tensor, tensor->ne[0], n, tensor->nb[1],
                                           static_cast<size_t>(begin) * tensor->nb[1]);
    ggml_backend_view_init(view);
    return view;
}

Weights::Weights(std::shared_ptr<const GgufFile> file, const Backend& backend, WeightMemory memory)
    : file_(std::move(file)) {
    const size_t n_tensor = file_->tensors().size();
    const size_t n_header = 1 + n_tensor * (1 + kMostSlices);
    context_.reset(ggml_init({ggml_tensor_overhead() * n_header, nullptr, true}));
    check<OutOfMemoryError>(context_ != nullptr, "[weights] no memory for {} tensor headers", n_tensor);
    for (const TensorInfo& info : file_->tensors()) {
        const Tensor tensor = ggml_new_tensor(context_.get(), info.type, GGML_MAX_DIMS, info.ne.data());
        ggml_set_name(tensor, info.name.c_str());
        entries_.emplace(info.name, Entry{tensor});
    }
    if (backend.is_cpu()) {
        map_tensors(memory);
    } else {
        upload_tensors(backend);
    }
}

bool Weights::stays_in_place(const GgufFile& file, const TensorInfo& info, WeightMemory memory) {
    if (memory == WeightMemory::copied && file.regions()[info.region].is_file) return false;
    return reinterpret_cast<uintptr_t>(info.data.data()) % kTensorAlignment == 0;
}

void Weights::map_tensors(WeightMemory memory) {
    std::vector<ggml_backend_buffer_t> by_region;
    for (const MemoryRegion& region : file_->regions()) {
        // ggml takes a mutable address but never writes to a weight; a mapped file is read-only anyway.
        void* base = const_cast<std::byte*>(region.bytes.data());
        buffers_.emplace_back(ggml_backend_cpu_buffer_from_ptr(base, region.bytes.size()));
        by_region.push_back(buffers_.back().get());
    }
    size_t n_copied = 0;
    for (const TensorInfo& info : file_->tensors()) {
        if (!stays_in_place(*file_, info, memory)) n_copied += GGML_PAD(info.data.size(), kTensorAlignment);
    }
    size_t copy_offset = 0;
    ggml_backend_buffer_t copies = nullptr;
    if (n_copied > 0) {
        buffers_.emplace_back(ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), n_copied));
        copies = buffers_.back().get();
        check<OutOfMemoryError>(copies != nullptr, "[weights] no memory for {} bytes of weights", n_copied);
        prefer_large_pages({static_cast<std::byte*>(ggml_backend_buffer_get_base(copies)), n_copied});
    }
    for (const TensorInfo& info : file_->tensors()) {
        const Tensor tensor = entries_.at(info.name).tensor;
        if (stays_in_place(*file_, info, memory)) {
            ggml_backend_tensor_alloc(by_region[info.region], tensor,
                                      const_cast<std::byte*>(info.data.data()));
        } else {
            ggml_backend_tensor_alloc(copies, tensor,
                                      static_cast<char*>(ggml_backend_buffer_get_base(copies)) + copy_offset);
            ggml_backend_tensor_set(tensor, info.data.data(), 0, info.data.size());
            copy_offset += GGML_PAD(info.data.size(), kTensorAlignment);
            if (file_->regions()[info.region].is_file) drop_file_pages(info.data);
        }
    }
    for (const auto& buffer : buffers_)
        ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
}

void Weights::upload_tensors(const Backend& backend) {
    if (file_->tensors().empty()) return;
    buffers_.emplace_back(
        ggml_backend_alloc_ctx_tensors_from_buft(context_.get(), backend.weight_buffer_type()));
    check<OutOfMemoryError>(buffers_.back() != nullptr, "[weights] {} has no room for {} bytes of weights",
                            backend.name(), file_->n_bytes());
    ggml_backend_buffer_set_usage(buffers_.back().get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    for (const TensorInfo& info : file_->tensors()) {
        ggml_backend_tensor_set(entries_.at(info.name).tensor, info.data.data(), 0, info.data.size());
    }
}

std::vector<std::string> Weights::unused() const {
    std::vector<std::string> names;
    for (const auto& [name, entry] : entries_) {
        if (!entry.used) names.push_back(name);
    }
    return names;
}

}  // namespace minicpmo
