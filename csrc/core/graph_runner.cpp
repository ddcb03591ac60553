#include "core/graph_runner.h"

#include <ggml-cpu.h>

#include "base/error.h"

namespace minicpmo {

GraphRunner::GraphRunner(std::span<const ggml_backend_ptr> handles, size_t max_nodes, bool on_cpu)
    : max_nodes_(max_nodes), on_cpu_(on_cpu) {
    std::vector<ggml_backend_t> raw;
    for (const auto& handle : handles) raw.push_back(handle.get());
    scheduler_.reset(
        ggml_backend_sched_new(raw.data(), nullptr, static_cast<int>(raw.size()), max_nodes, false, true));
    check<OutOfMemoryError>(scheduler_ != nullptr, "[graph] no memory for a scheduler of {} nodes",
                            max_nodes);
}

void GraphRunner::prepare(const GraphKey& key, const std::function<void(Graph&)>& build) {
    if (key_ == key) return;
    key_.reset();
    ggml_backend_sched_reset(scheduler_.get());
    graph_ = std::make_unique<Graph>(max_nodes_, on_cpu_);
    build(*graph_);
    check<OutOfMemoryError>(ggml_backend_sched_alloc_graph(scheduler_.get(), graph_->cgraph()),
                            "[graph] no memory for the intermediate results of {} nodes",
                            ggml_graph_n_nodes(graph_->cgraph()));
    key_ = key;
}

void GraphRunner::set_bytes(const std::string& input, const void* data, size_t n_bytes) {
    const Tensor tensor = graph_->find_input(input);
    check<Error>(ggml_nbytes(tensor) == n_bytes, "[graph] input {}: expected {} bytes, got {}", input,
                 ggml_nbytes(tensor), n_bytes);
    if (tensor->buffer != nullptr)
        ggml_backend_tensor_set(tensor, data, 0, n_bytes);  // unused inputs have no memory
}

void GraphRunner::set(const std::string& input, std::span<const float> v) {
    set_bytes(input, v.data(), v.size_bytes());
}
void GraphRunner::set(const std::string& input, std::span<const int32_t> v) {
    set_bytes(input, v.data(), v.size_bytes());
}
void GraphRunner::set(const std::string& input, std::span<const int64_t> v) {
    set_bytes(input, v.data(), v.size_bytes());
}
void GraphRunner::set(const std::string& input, std::span<const ggml_fp16_t> v) {
    set_bytes(input, v.data(), v.size_bytes());
}

void GraphRunner::compute() {
    const ggml_status status = ggml_backend_sched_graph_compute(scheduler_.get(), graph_->cgraph());
    check<InterruptedError>(status != GGML_STATUS_ABORTED, "[graph] interrupted");
    check<OutOfMemoryError>(status != GGML_STATUS_ALLOC_FAILED, "[graph] no memory for the work buffer");
    check<Error>(status == GGML_STATUS_SUCCESS, "[graph] ggml could not compute the graph (status {})",
                 static_cast<int>(status));
}

void GraphRunner::read(const std::string& output, std::span<float> dst) const {
    const Tensor tensor = graph_->find_output(output);
    check<Error>(ggml_nbytes(tensor) == dst.size_bytes(),
                 "[graph] output {}: expected room for {} bytes, got {}", output, ggml_nbytes(tensor),
                 dst.size_bytes());
    ggml_backend_tensor_get(tensor, dst.data(), 0, dst.size_bytes());
}

size_t GraphRunner::n_bytes() const {
    size_t n = 0;
    for (int i = 0; i < ggml_backend_sched_get_n_backends(scheduler_.get()); ++i) {
        n += ggml_backend_sched_get_buffer_size(scheduler_.get(),
                                                ggml_backend_sched_get_backend(scheduler_.get(), i));
    }
    return n;
}

Workspace::Workspace(std::shared_ptr<const Backend> backend)
    : backend_(std::move(backend)), handles_(backend_->make_handles()) {
    ggml_backend_cpu_set_abort_callback(
        handles_.back().get(), [](void* self) { return static_cast<Workspace*>(self)->is_interrupted(); },
        this);
}

GraphRunner& Workspace::runner(const std::string& component, size_t max_nodes) {
    return runners_.try_emplace(component, handles_, max_nodes, backend_->is_cpu()).first->second;
}

size_t Workspace::scratch_bytes(const std::string& component) const {
    const auto found = runners_.find(component);
    return found == runners_.end() ? 0 : found->second.n_bytes();
}

void Workspace::release(const std::string& component) { runners_.erase(component); }

}  // namespace minicpmo
