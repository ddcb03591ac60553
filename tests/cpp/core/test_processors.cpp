#include "core/processors.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

#include "core/temp_folder.h"

using namespace minicpmo;

namespace {

void describe(const TempFolder& folder, int processor, std::string_view siblings) {
    const auto place = std::filesystem::path("cpu" + std::to_string(processor)) / "topology";
    std::filesystem::create_directories(folder.path() / place);
    folder.write((place / "thread_siblings_list").string(), siblings);
}

}  // namespace

TEST_CASE("processors that share a core count once") {
    const TempFolder folder;
    for (const int i : {0, 4}) describe(folder, i, "0,4\n");
    for (const int i : {1, 5}) describe(folder, i, "1,5\n");
    for (const int i : {2, 3}) describe(folder, i, "2-3\n");
    CHECK(n_cores(std::vector{0, 1, 2, 3, 4, 5}, folder.path()) == 3);
    CHECK(n_cores(std::vector{0, 4}, folder.path()) == 1);  // all that this process may use
    CHECK(n_cores(std::vector{4, 5}, folder.path()) == 2);
}

TEST_CASE("processors of which nothing is known count each") {
    const TempFolder folder;
    describe(folder, 0, "");
    CHECK(n_cores(std::vector{0, 1, 7}, folder.path()) == 3);
    CHECK(n_cores(std::vector<int>{}, folder.path()) == 1);
}

TEST_CASE("this machine has at least a core, and no more than processors") {
    CHECK(n_usable_cores() >= 1);
    CHECK(n_usable_cores() <= static_cast<int>(std::thread::hardware_concurrency()));
}
