#include "core/backend.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <limits>
#include <mutex>

#include "base/error.h"
#include "base/log.h"
#include "core/processors.h"

namespace minicpmo {

namespace {

void forward_ggml_log(ggml_log_level level, const char* text, void*) {
    if (level == GGML_LOG_LEVEL_CONT || text == nullptr) return;
    std::string message(text);
    while (!message.empty() && message.back() == '\n') message.pop_back();
    const LogLevel ours = level == GGML_LOG_LEVEL_ERROR  ? LogLevel::error
                          : level == GGML_LOG_LEVEL_WARN ? LogLevel::warn
                                                         : LogLevel::debug;
    log(ours, "ggml: " + message);
}

// ggml writes to stderr on its own and keeps a global device registry: both are set up once.
void prepare_ggml() {
    static std::once_flag once;
    std::call_once(once, [] {
        ggml_log_set(forward_ggml_log, nullptr);
        ggml_backend_load_all();
    });
}

ggml_backend_dev_t find_device(const std::string& wanted) {
    if (wanted == "cpu") return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (wanted == "auto") {
        for (const auto type : {GGML_BACKEND_DEVICE_TYPE_GPU, GGML_BACKEND_DEVICE_TYPE_IGPU}) {
            if (const auto device = ggml_backend_dev_by_type(type)) return device;
        }
        return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    }
    return ggml_backend_dev_by_name(wanted.c_str());
}

}  // namespace

std::vector<std::string> Backend::devices() {
    prepare_ggml();
    std::vector<std::string> names;
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        names.emplace_back(ggml_backend_dev_name(ggml_backend_dev_get(i)));
    }
    return names;
}

Backend::Backend(const BackendOptions& options) {
    prepare_ggml();
    check<ArgumentError>(options.n_threads >= 0 && options.n_threads <= 1024,
                         "[backend] expected n_threads of 0 (all) to 1024, got {}", options.n_threads);
    cpu_device_ = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    check<Error>(cpu_device_ != nullptr, "[backend] expected a CPU device in ggml, got none");
    device_ = find_device(options.device);
    if (device_ == nullptr) {
        std::string known = "auto, cpu";
        for (const auto& name : devices()) known += ", " + name;
        fail<ArgumentError>("[backend] expected a device among {}; got \"{}\"", known, options.device);
    }
    n_threads_ = options.n_threads > 0 ? options.n_threads : n_usable_cores();
}

std::string Backend::name() const { return ggml_backend_dev_name(device_); }

uint64_t Backend::free_device_bytes() const {
    size_t n_free = 0;
    size_t n_all = 0;
    ggml_backend_dev_memory(device_, &n_free, &n_all);
    return n_all > 0 ? n_free : std::numeric_limits<uint64_t>::max();
}

ggml_backend_buffer_type_t Backend::weight_buffer_type() const {
    return ggml_backend_dev_buffer_type(device_);
}

std::vector<ggml_backend_ptr> Backend::make_handles() const {
    std::vector<ggml_backend_ptr> handles;
    if (!is_cpu()) handles.emplace_back(ggml_backend_dev_init(device_, nullptr));
    handles.emplace_back(ggml_backend_dev_init(cpu_device_, nullptr));
    for (const auto& handle : handles) check<Error>(handle != nullptr, "[backend] {} did not start", name());
    ggml_backend_cpu_set_n_threads(handles.back().get(), n_threads_);
    return handles;
}

}  // namespace minicpmo
