#pragma once
// MachineMemory: how many bytes this process may still take. Reference: proc_meminfo(5); the kernel's
// admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; host_statistics64 of macOS, GlobalMemoryStatusEx of
// Windows.

#include <cstdint>
#include <filesystem>
#include <limits>

#include "core/backend.h"

namespace minicpmo {

struct MachineMemory {
    static constexpr uint64_t kUnknown = std::numeric_limits<uint64_t>::max();  // a system that does not say
    uint64_t host = kUnknown;
    uint64_t device = 0;  // of the GPU; 0 where the CPU computes
};

MachineMemory available_memory(const Backend& backend);

// Of Linux, whose root folder is `root`: what is free or can be freed without swapping, or what the tightest
// limit of the process's control groups leaves, whichever is less.
uint64_t available_on_linux(const std::filesystem::path& root);

}  // namespace minicpmo
