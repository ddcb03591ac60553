#pragma once
// GraphRunner: scratch memory and the last built graph of one component; a graph whose key has not changed is
// run again. Workspace: the runners of one session, and the compute handles they share. Neither is
// thread-safe; interrupt() is.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/graph.h"

namespace minicpmo {

using GraphKey = std::vector<int64_t>;  // everything the topology depends on

class GraphRunner {
public:
    GraphRunner(std::span<const ggml_backend_ptr> handles, size_t max_nodes, bool on_cpu);

    // Builds and allocates with `build` unless the last graph had the same key. Throws OutOfMemoryError.
    void prepare(const GraphKey& key, const std::function<void(Graph&)>& build);
    void set(const std::string& input, std::span<const float> values);
    void set(const std::string& input, std::span<const int32_t> values);
    void set(const std::string& input, std::span<const int64_t> values);
    void set(const std::string& input, std::span<const ggml_fp16_t> values);
    void compute();                                                    // throws InterruptedError
    void read(const std::string& output, std::span<float> dst) const;  // sizes must match
    size_t n_bytes() const;  // of its scratch memory, on all devices

private:
    void set_bytes(const std::string& input, const void* data, size_t n_bytes);

    size_t max_nodes_;
    bool on_cpu_;
    ggml_backend_sched_ptr scheduler_;
    std::unique_ptr<Graph> graph_;
    std::optional<GraphKey> key_;
};

class Workspace {
public:
    explicit Workspace(std::shared_ptr<const Backend> backend);

    GraphRunner& runner(const std::string& component, size_t max_nodes);  // made on first use
    void release(const std::string& component);                           // gives its scratch memory back
    void release_all() { runners_.clear(); }
    size_t scratch_bytes(const std::string& component) const;  // that it holds now
    const Backend& backend() const { return *backend_; }

    void interrupt() noexcept { interrupted_ = true; }  // the running graph stops at its next node
    void clear_interrupt() noexcept { interrupted_ = false; }
    bool is_interrupted() const noexcept { return interrupted_; }

private:
    std::shared_ptr<const Backend> backend_;
    std::vector<ggml_backend_ptr> handles_;
    std::map<std::string, GraphRunner> runners_;
    std::atomic<bool> interrupted_ = false;
};

}  // namespace minicpmo
