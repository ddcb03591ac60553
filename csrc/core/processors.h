#pragma once
// How many cores there are to compute on: threads that share a core share its multipliers, so more of them
// gain nothing and meet more often.

#include <filesystem>
#include <span>

namespace minicpmo {

// Cores among the processors that this process may use; at least 1. Where nothing says which processors share
// a core, each counts.
int n_usable_cores();

// The same of given processors. `folder` describes them as Linux does: cpu<i>/topology/thread_siblings_list,
// the processors of one core. Reference: Linux, Documentation/ABI/stable/sysfs-devices-system-cpu.
int n_cores(std::span<const int> processors, const std::filesystem::path& folder);

}  // namespace minicpmo
