#include "core/processors.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace minicpmo {

namespace {

#if defined(__linux__)
constexpr int kMaxProcessors = 8192;  // as many as Linux can be built for

std::vector<int> usable_processors() {
    std::vector<int> found;
    cpu_set_t* set = CPU_ALLOC(kMaxProcessors);
    const size_t n_byte = CPU_ALLOC_SIZE(kMaxProcessors);
    if (set == nullptr) return found;
    if (sched_getaffinity(0, n_byte, set) == 0) {
        for (int i = 0; i < kMaxProcessors; ++i) {
            if (CPU_ISSET_S(static_cast<size_t>(i), n_byte, set)) found.push_back(i);
        }
    }
    CPU_FREE(set);
    return found;
}
#else
std::vector<int> usable_processors() { return {}; }
#endif

}  // namespace

int n_cores(std::span<const int> processors, const std::filesystem::path& folder) {
    std::set<std::string> cores;  // each named by the processors that share it
    for (const int i : processors) {
        const std::string name = "cpu" + std::to_string(i);
        std::ifstream file(folder / name / "topology" / "thread_siblings_list");
        std::string siblings;
        std::getline(file, siblings);
        cores.insert(siblings.empty() ? name : siblings);
    }
    return std::max(1, static_cast<int>(cores.size()));
}

int n_usable_cores() {
    const std::vector<int> processors = usable_processors();
    if (processors.empty()) return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    return n_cores(processors, "/sys/devices/system/cpu");
}

}  // namespace minicpmo
