#include "core/backend.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/error.h"

using namespace minicpmo;

TEST_CASE("the CPU is always among the devices, and has a handle") {
    const auto devices = Backend::devices();
    const Backend backend({.device = "cpu", .n_threads = 3});
    CHECK(std::count(devices.begin(), devices.end(), backend.name()) == 1);
    CHECK(backend.is_cpu());
    CHECK(backend.n_threads() == 3);
    CHECK(backend.make_handles().size() == 1);
    CHECK(Backend({.device = backend.name()}).is_cpu());
}

TEST_CASE("no thread count means at least one thread") { CHECK(Backend({.device = "cpu"}).n_threads() >= 1); }

TEST_CASE("an unknown device is refused with the names of those there are") {
    try {
        const Backend backend({.device = "NPU7"});
        FAIL("accepted");
    } catch (const ArgumentError& error) {
        const std::string message = error.what();
        CHECK(message.find("NPU7") != std::string::npos);
        for (const std::string& name : Backend::devices()) CHECK(message.find(name) != std::string::npos);
    }
}

TEST_CASE("thread counts out of range are refused") {
    CHECK_THROWS_AS(Backend({.device = "cpu", .n_threads = -1}), ArgumentError);
    CHECK_THROWS_AS(Backend({.device = "cpu", .n_threads = 1025}), ArgumentError);
}
