#include "core/machine_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#elif defined(__APPLE__)
#include <mach/mach.h>
#endif

namespace minicpmo {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kUnknown = MachineMemory::kUnknown;

std::optional<uint64_t> to_number(std::string_view text) {
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end == text.data()) return std::nullopt;
    return number;
}

// The first word of a file as a number; "max" is none.
std::optional<uint64_t> read_number(const fs::path& path) {
    std::ifstream in(path);
    std::string word;
    if (!(in >> word)) return std::nullopt;
    return to_number(word);
}

// The number behind a word that begins a line.
std::optional<uint64_t> read_entry(const fs::path& path, const std::string& name) {
    std::ifstream in(path);
    std::string line;
    while (std::getline(in, line)) {
        std::istringstream words(line);
        std::string word;
        std::string value;
        if (words >> word >> value && word == name) return to_number(value);
    }
    return std::nullopt;
}

// The files that version 1 and 2 of control groups keep their numbers in.
struct GroupNames {
    const char* limit;
    const char* used;
    const char* cached[2];  // entries of memory.stat: pages of files, which the group can give back
};
constexpr GroupNames kSecond = {"memory.max", "memory.current", {"active_file", "inactive_file"}};
constexpr GroupNames kFirst = {
    "memory.limit_in_bytes", "memory.usage_in_bytes", {"total_active_file", "total_inactive_file"}};

uint64_t left_in_group(const fs::path& folder, const GroupNames& names) {
    const std::optional<uint64_t> limit = read_number(folder / names.limit);
    const std::optional<uint64_t> used = read_number(folder / names.used);
    if (!limit || !used) return kUnknown;
    uint64_t cached = 0;
    for (const char* entry : names.cached) cached += read_entry(folder / "memory.stat", entry).value_or(0);
    const uint64_t held = *used - std::min(*used, cached);
    return *limit - std::min(*limit, held);
}

// A group and those around it. In a container the group's own path may lead nowhere, and the mount's root is
// the group.
uint64_t left_in_groups(const fs::path& mount, const fs::path& group, const GroupNames& names) {
    uint64_t least = left_in_group(mount, names);
    fs::path folder = mount;
    for (const fs::path& part : group.relative_path()) {
        folder /= part;
        least = std::min(least, left_in_group(folder, names));
    }
    return least;
}

bool has_memory(std::string_view controllers) {
    while (!controllers.empty()) {
        const size_t comma = std::min(controllers.find(','), controllers.size());
        if (controllers.substr(0, comma) == "memory") return true;
        controllers.remove_prefix(std::min(comma + 1, controllers.size()));
    }
    return false;
}

#if defined(_WIN32)
uint64_t available_on_host() {
    MEMORYSTATUSEX status = {};
    status.dwLength = sizeof(status);
    return GlobalMemoryStatusEx(&status) ? status.ullAvailPhys : kUnknown;
}
#elif defined(__APPLE__)
// Free pages, and those that nobody has touched lately.
uint64_t available_on_host() {
    vm_statistics64_data_t statistics = {};
    mach_msg_type_number_t n = HOST_VM_INFO64_COUNT;
    vm_size_t page = 0;
    const mach_port_t host = mach_host_self();
    if (host_page_size(host, &page) != KERN_SUCCESS) return kUnknown;
    if (host_statistics64(host, HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&statistics), &n) !=
        KERN_SUCCESS) {
        return kUnknown;
    }
    return (uint64_t{statistics.free_count} + statistics.inactive_count) * page;
}
#else
uint64_t available_on_host() { return available_on_linux("/"); }
#endif

}  // namespace

uint64_t available_on_linux(const fs::path& root) {
    uint64_t available = kUnknown;
    if (const auto kilobytes = read_entry(root / "proc/meminfo", "MemAvailable:"))
        available = *kilobytes * 1024;
    std::ifstream groups(root / "proc/self/cgroup");  // lines of number:controllers:path
    std::string line;
    while (std::getline(groups, line)) {
        const size_t first = line.find(':');
        const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string_view controllers = std::string_view(line).substr(first + 1, second - first - 1);
        const fs::path group = line.substr(second + 1);
        const fs::path mount = root / "sys/fs/cgroup";
        if (controllers.empty()) available = std::min(available, left_in_groups(mount, group, kSecond));
        if (has_memory(controllers))
            available = std::min(available, left_in_groups(mount / "memory", group, kFirst));
    }
    return available;
}

MachineMemory available_memory(const Backend& backend) {
    return {available_on_host(), backend.is_cpu() ? 0 : backend.free_device_bytes()};
}

}  // namespace minicpmo
