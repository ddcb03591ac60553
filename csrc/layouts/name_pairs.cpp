#include "layouts/name_pairs.h"

#include <utility>

#include "base/error.h"
#include "core/mapped_file.h"

namespace minicpmo {

namespace {

constexpr int kMostLayers = 1 << 10;

const TensorInfo& find_any(const GgufFile& file, const std::string& name) {
    const TensorInfo* found = file.find_tensor(name);
    check<ModelFileError>(found != nullptr, "[layout] expected a tensor {}, got none ({})", name,
                          utf8_path(file.path()));
    return *found;
}

// A column is as good as a vector.
TensorInfo as_vector(TensorInfo tensor) {
    if (tensor.ne[0] == 1) std::swap(tensor.ne[0], tensor.ne[1]);
    tensor.n_dims = 1;
    return tensor;
}

}  // namespace

NamePrefix layer_prefix(std::string_view stored, std::string_view ours, int layer) {
    const std::string number = "." + std::to_string(layer) + ".";
    return {std::string(stored) + number, std::string(ours) + number};
}

void add_tensors(Container& container, const GgufFile& file, std::span<const NamePair> names,
                 const NamePrefix& prefix) {
    for (const NamePair& pair : names) {
        const std::string stored = prefix.stored + pair.stored, ours = prefix.ours + pair.ours;
        const auto link = [&](const char* part) {
            container.link(file, find_any(file, stored + part), ours + part);
        };
        switch (pair.form) {
            case Form::as_stored:
                link("");
                break;
            case Form::weight:
                link(".weight");
                break;
            case Form::linear:
                link(".weight");
                link(".bias");
                break;
            case Form::convolution:
                container.add(taps_first(find_any(file, stored + ".weight")), ours + ".weight");
                container.link(file, as_vector(find_any(file, stored + ".bias")), ours + ".bias");
                break;
        }
    }
}

int count_layers(const GgufFile& file, const std::string& before, const std::string& after) {
    int n = 0;
    while (n < kMostLayers && file.find_tensor(before + std::to_string(n) + after) != nullptr) ++n;
    check<ModelFileError>(n > 0, "[layout] expected a tensor {}0{}, got none ({})", before, after,
                          utf8_path(file.path()));
    return n;
}

}  // namespace minicpmo
