#include "core/graph.h"

#include "base/error.h"

namespace minicpmo {

Graph::Graph(size_t max_nodes, bool on_cpu) : on_cpu_(on_cpu) {
    const size_t n_bytes = ggml_tensor_overhead() * max_nodes + ggml_graph_overhead_custom(max_nodes, false);
    context_.reset(ggml_init({n_bytes, nullptr, true}));
    check<OutOfMemoryError>(context_ != nullptr, "[graph] no memory for {} bytes of graph", n_bytes);
    cgraph_ = ggml_new_graph_custom(context_.get(), max_nodes, false);
}

Tensor Graph::input(const std::string& name, ggml_type type, std::initializer_list<int64_t> ne) {
    const Tensor tensor = ggml_new_tensor(ctx(), type, static_cast<int>(ne.size()), ne.begin());
    ggml_set_name(tensor, name.c_str());
    ggml_set_input(tensor);
    inputs_[name] = tensor;
    return tensor;
}

Tensor Graph::name(Tensor tensor, const char* label, int layer) {
    if (layer < 0) {
        ggml_set_name(tensor, label);
    } else {
        ggml_format_name(tensor, "%s.%d", label, layer);
    }
    return tensor;
}

void Graph::output(const std::string& name, Tensor tensor) {
    ggml_set_output(tensor);
    ggml_build_forward_expand(cgraph_, tensor);
    outputs_[name] = tensor;
}

void Graph::run(Tensor tensor) { ggml_build_forward_expand(cgraph_, tensor); }

Tensor Graph::shared(Tensor source, int form, const std::function<Tensor()>& make) {
    const auto [entry, is_new] = shared_.try_emplace({source, form}, nullptr);
    if (is_new) entry->second = make();
    return entry->second;
}

Tensor Graph::find_input(const std::string& name) const {
    const auto found = inputs_.find(name);
    check<Error>(found != inputs_.end(), "[graph] expected an input \"{}\", got none", name);
    return found->second;
}

Tensor Graph::find_output(const std::string& name) const {
    const auto found = outputs_.find(name);
    check<Error>(found != outputs_.end(), "[graph] expected an output \"{}\", got none", name);
    return found->second;
}

}  // namespace minicpmo
