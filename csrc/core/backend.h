#pragma once
// Backend: the devices one model runs on, chosen once. Handles that compute are made from it, one set per
// Workspace.

#include <ggml-backend.h>
#include <ggml-cpp.h>

#include <cstdint>
#include <string>
#include <vector>

namespace minicpmo {

struct BackendOptions {
    std::string device =
        "auto";         // "auto": the first GPU, else the CPU; "cpu"; or a name that devices() lists
    int n_threads = 0;  // 0: one for each core this process may use
};

class Backend {
public:
    explicit Backend(const BackendOptions& options);  // throws ArgumentError naming the devices there are

    bool is_cpu() const { return device_ == cpu_device_; }
    std::string name() const;
    int n_threads() const { return n_threads_; }
    uint64_t free_device_bytes() const;  // as the device says; the largest number if it does not say
    ggml_backend_buffer_type_t weight_buffer_type() const;  // where weights and caches live
    // Fresh compute handles: the device first, the CPU last (ggml_backend_sched wants it so).
    std::vector<ggml_backend_ptr> make_handles() const;

    static std::vector<std::string> devices();

private:
    ggml_backend_dev_t device_ = nullptr;
    ggml_backend_dev_t cpu_device_ = nullptr;
    int n_threads_ = 1;
};

}  // namespace minicpmo
