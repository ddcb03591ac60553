#pragma once
// Keyword arguments of Python -> LoadOptions of the engine.

#include <optional>
#include <string>
#include <vector>

#include "core/quantize.h"
#include "engine/model.h"

namespace minicpmo::bindings {

struct MemoryArguments {
    std::optional<std::vector<std::string>> modules;  // all if absent
    int n_ctx = 0;
    std::optional<std::string> kv_type;
    bool checks_memory = true;
    std::optional<uint64_t> available;  // bytes of all kinds of memory; the machine's if absent
    bool copies_weights = false;
};

inline LoadOptions to_load_options(const std::vector<std::string>& parts, const std::string& device,
                                   int n_threads, int max_sessions, const MemoryArguments& memory) {
    LoadOptions options{.backend = {device, n_threads}};
    options.parts.assign(parts.begin(), parts.end());
    options.max_sessions = max_sessions;
    if (memory.modules) options.modules = parse_modules(*memory.modules);
    options.n_ctx = memory.n_ctx;
    if (memory.kv_type) options.kv_type = parse_type(*memory.kv_type);
    options.checks_memory = memory.checks_memory;
    if (memory.copies_weights) options.weight_memory = WeightMemory::copied;
    if (memory.available) options.available = MachineMemory{*memory.available, *memory.available};
    return options;
}

}  // namespace minicpmo::bindings
