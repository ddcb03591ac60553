#pragma once
// Graph: one ggml computation under construction, with its inputs and outputs by name.

#include <ggml-cpp.h>
#include <ggml.h>

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/weights.h"

namespace minicpmo {

class Graph {
public:
    explicit Graph(size_t max_nodes, bool on_cpu);

    ggml_context* ctx() const { return context_.get(); }
    ggml_cgraph* cgraph() const { return cgraph_; }
    bool on_cpu() const { return on_cpu_; }  // our own kernels run there, a GPU takes ggml's operations

    Tensor input(const std::string& name, ggml_type type,
                 std::initializer_list<int64_t> ne);                // filled before each run
    Tensor name(Tensor tensor, const char* label, int layer = -1);  // a label for whoever looks at the graph
    void output(const std::string& name, Tensor tensor);            // kept until it is read
    void run(Tensor tensor);  // a node wanted for its effect: a cache write

    // A node that several others derive from `source`, in one of several forms: made by `make` for the first,
    // given to the rest.
    Tensor shared(Tensor source, int form, const std::function<Tensor()>& make);

    // An object that lives as long as the graph: what a custom operation needs beside its tensors.
    template <class T>
    T* own() {
        auto object = std::make_shared<T>();
        owned_.push_back(object);
        return object.get();
    }

    Tensor find_input(const std::string& name) const;  // throws Error if the graph has none of that name
    Tensor find_output(const std::string& name) const;

private:
    ggml_context_ptr context_;
    ggml_cgraph* cgraph_ = nullptr;
    bool on_cpu_ = true;
    std::map<std::string, Tensor> inputs_;
    std::map<std::string, Tensor> outputs_;
    std::map<std::pair<Tensor, int>, Tensor> shared_;
    std::vector<std::shared_ptr<void>> owned_;
};

}  // namespace minicpmo
