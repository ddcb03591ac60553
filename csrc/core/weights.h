#pragma once
// Weights: the tensors of a model file on a device, found by name and checked by shape.

#include <ggml-cpp.h>
#include <ggml.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/backend.h"
#include "core/gguf_file.h"

namespace minicpmo {

using Tensor = ggml_tensor*;  // not owning; lives as long as its Weights, Graph or KvCache

class Weights;

// A name prefix inside Weights: scope / "blk" / 3 reads "blk.3.".
class WeightScope {
public:
    WeightScope operator/(std::string_view name) const;
    WeightScope operator/(int index) const;
    // The tensor `prefix.name` of exactly the shape ne (ggml order). Throws ModelFileError with expected and
    // actual.
    Tensor get(std::string_view name, std::initializer_list<int64_t> ne) const;
    Tensor try_get(std::string_view name, std::initializer_list<int64_t> ne) const;  // nullptr if absent
    // The same for what is added or multiplied element by element: F32 only.
    Tensor get_f32(std::string_view name, std::initializer_list<int64_t> ne) const;
    Tensor try_get_f32(std::string_view name, std::initializer_list<int64_t> ne) const;
    bool has(std::string_view name) const;
    // Outputs [begin, begin + n) of a matrix [n_in, n_out] or a bias [n_out], as a view.
    Tensor slice(Tensor tensor, int64_t begin, int64_t n) const;

private:
    friend class Weights;
    WeightScope(Weights* weights, std::string prefix) : weights_(weights), prefix_(std::move(prefix)) {}
    Weights* weights_;
    std::string prefix_;  // empty or ends in '.'
};

// Where the CPU reads weights: where they lie in the file, there at once and shared by processes; or in a
// copy in memory with large pages, which takes seconds to make and is faster to read.
enum class WeightMemory { mapped, copied };

class Weights {
public:
    // On a GPU tensors are uploaded, whatever `memory` says.
    Weights(std::shared_ptr<const GgufFile> file, const Backend& backend,
            WeightMemory memory = WeightMemory::mapped);

    // Whether the CPU reads this tensor of the file where it lies. A copy may be asked for of what a file
    // has; what was made is in memory already.
    static bool stays_in_place(const GgufFile& file, const TensorInfo& info, WeightMemory memory);

    WeightScope root() { return {this, ""}; }
    std::vector<std::string> unused() const;  // tensors that nobody asked for
    const GgufFile& file() const { return *file_; }

private:
    friend class WeightScope;
    void map_tensors(WeightMemory memory);
    void upload_tensors(const Backend& backend);

    std::shared_ptr<const GgufFile> file_;
    ggml_context_ptr context_;
    std::vector<ggml_backend_buffer_ptr> buffers_;
    struct Entry {
        Tensor tensor;
        bool used = false;
    };
    std::unordered_map<std::string, Entry> entries_;
};

}  // namespace minicpmo
