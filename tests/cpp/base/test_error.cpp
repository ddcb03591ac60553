#include "base/error.h"

#include <doctest/doctest.h>

using namespace minicpmo;

TEST_CASE("format fills its slots in order and keeps surplus arguments visible") {
    CHECK(format("expected {}, got {}", 3, "x") == "expected 3, got x");
    CHECK(format("no slots") == "no slots");
    CHECK(format("short", 7) == "short 7");
}

TEST_CASE("check throws the named error only when the condition fails") {
    CHECK_NOTHROW(check<ArgumentError>(true, "unused"));
    CHECK_THROWS_WITH_AS(check<ArgumentError>(false, "[x] got {}", 1), "[x] got 1", ArgumentError);
}
