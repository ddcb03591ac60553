#include "layouts/container.h"

#include "base/error.h"
#include "core/mapped_file.h"

namespace minicpmo {

Container::Container(const GgufFile& base) : path_(base.path()), metadata_(base.metadata()) {
    for (const TensorInfo& tensor : base.tensors()) link(base, tensor, tensor.name);
}

void Container::set(std::string_view key, MetaValue value) {
    metadata_.insert_or_assign(std::string(key), std::move(value));
}

int64_t Container::count(std::string_view key) const {
    const auto found = metadata_.find(key);
    const auto* number = found == metadata_.end() ? nullptr : std::get_if<int64_t>(&found->second);
    return number == nullptr ? 0 : *number;
}

double Container::number(std::string_view key, double fallback) const {
    const auto found = metadata_.find(key);
    const auto* value = found == metadata_.end() ? nullptr : std::get_if<double>(&found->second);
    return value == nullptr ? fallback : *value;
}

size_t Container::first_region(const GgufFile& file) {
    const auto [found, is_new] = first_regions_.try_emplace(&file, regions_.size());
    if (is_new) regions_.insert(regions_.end(), file.regions().begin(), file.regions().end());
    return found->second;
}

void Container::link(const GgufFile& file, const TensorInfo& tensor, std::string_view name) {
    TensorInfo info = tensor;
    info.name = name;
    info.region += first_region(file);
    tensors_.push_back(std::move(info));
}

void Container::add(RewrittenTensor tensor, std::string_view name) {
    TensorInfo info;
    info.name = name;
    info.type = tensor.type;
    info.ne = tensor.ne;
    info.n_dims = tensor.ne[1] > 1 ? 2 : 1;
    info.region = regions_.size();
    info.data = tensor.memory.bytes;
    regions_.push_back(std::move(tensor.memory));
    tensors_.push_back(std::move(info));
}

GgufFile Container::build() && {
    return GgufFile::assemble(path_, std::move(metadata_), std::move(tensors_), std::move(regions_));
}

const TensorInfo& find_tensor(const GgufFile& file, std::string_view name, int n_dims) {
    const TensorInfo* found = file.find_tensor(name);
    check<ModelFileError>(found != nullptr, "[layout] expected a tensor {}, got none ({})", name,
                          utf8_path(file.path()));
    check<ModelFileError>(found->n_dims == n_dims, "[layout] expected {} with {} dimensions, got {} ({})",
                          name, n_dims, found->n_dims, utf8_path(file.path()));
    return *found;
}

}  // namespace minicpmo
