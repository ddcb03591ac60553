#include "core/machine_memory.h"

#include <doctest/doctest.h>

#include "core/temp_folder.h"

using namespace minicpmo;

namespace {

// A root folder whose files say what a test wants.
class Machine {
public:
    Machine& say(const std::string& place, const std::string& text) {
        std::filesystem::create_directories((folder_.path() / place).parent_path());
        folder_.write(place, text);
        return *this;
    }
    uint64_t available() const { return available_on_linux(folder_.path()); }

private:
    TempFolder folder_;
};

constexpr const char* kMeminfo =
    "MemTotal:  8000 kB\nMemFree:  10 kB\nMemAvailable:    3000 kB\nSwapFree: 9 kB\n";
constexpr uint64_t kThere = 3000 * 1024;

}  // namespace

TEST_CASE("without limits, what the kernel says is there") {
    CHECK(Machine().say("proc/meminfo", kMeminfo).available() == kThere);
    Machine grouped;
    grouped.say("proc/meminfo", kMeminfo).say("proc/self/cgroup", "0::/a/b\n");
    CHECK(grouped.available() == kThere);
    grouped.say("sys/fs/cgroup/a/b/memory.max", "max\n").say("sys/fs/cgroup/a/b/memory.current", "77\n");
    CHECK(grouped.available() == kThere);
}

TEST_CASE("a system that says nothing, or nonsense, is unknown") {
    CHECK(Machine().available() == MachineMemory::kUnknown);
    CHECK(Machine().say("proc/meminfo", "MemAvailable:\nMemAvailable: many kB").available() ==
          MachineMemory::kUnknown);
    Machine odd;
    odd.say("proc/meminfo", kMeminfo).say("proc/self/cgroup", "::\n:\n\nx\n3:memory\n0::\n");
    CHECK(odd.available() == kThere);
}

TEST_CASE("the tightest limit of the groups counts, and pages of files do not") {
    Machine second;
    second.say("proc/meminfo", kMeminfo).say("proc/self/cgroup", "0::/a/b\n");
    second.say("sys/fs/cgroup/a/b/memory.max", "100000\n").say("sys/fs/cgroup/a/b/memory.current", "60000\n");
    CHECK(second.available() == 40000);
    second.say("sys/fs/cgroup/a/b/memory.stat", "anon 30000\nactive_file 20000\ninactive_file 10000\n");
    CHECK(second.available() == 70000);
    second.say("sys/fs/cgroup/a/memory.max", "50000\n").say("sys/fs/cgroup/a/memory.current", "49000\n");
    CHECK(second.available() == 1000);
    second.say("sys/fs/cgroup/a/memory.current", "51000\n");  // above its limit
    CHECK(second.available() == 0);
}

TEST_CASE("version 1 of control groups") {
    Machine first;
    first.say("proc/meminfo", kMeminfo).say("proc/self/cgroup", "5:cpu:/x\n4:memory,hugetlb:/c\n");
    first.say("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "90000\n");
    first.say("sys/fs/cgroup/memory/c/memory.usage_in_bytes", "80000\n");
    first.say("sys/fs/cgroup/memory/c/memory.stat",
              "cache 1\ntotal_active_file 500\ntotal_inactive_file 1500\n");
    CHECK(first.available() == 12000);
}

TEST_CASE("in a container the mount's root is the group") {
    Machine inside;
    inside.say("proc/meminfo", kMeminfo).say("proc/self/cgroup", "0::/docker/outside\n");
    inside.say("sys/fs/cgroup/memory.max", "20000\n").say("sys/fs/cgroup/memory.current", "5000\n");
    CHECK(inside.available() == 15000);
}

TEST_CASE("this machine has some, and the CPU is no device") {
    const MachineMemory memory = available_memory(Backend({.device = "cpu"}));
    CHECK(memory.host > 0);
    CHECK(memory.device == 0);
}
