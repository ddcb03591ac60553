#include "base/rng.h"

#include <doctest/doctest.h>

using minicpmo::Rng;

TEST_CASE("a generator copied at a counter continues with the same values") {
    Rng a{42, 0};
    for (int i = 0; i < 5; ++i) a.next();
    Rng b = a;
    CHECK(a.next() == b.next());
    CHECK(Rng{42, 5}.next() == Rng{a.seed, 5}.next());
    CHECK(Rng{1, 0}.next() != Rng{2, 0}.next());
}

TEST_CASE("uniform stays in [0, 1) and has mean one half") {
    Rng rng{7, 0};
    double sum = 0;
    for (int i = 0; i < 100000; ++i) {
        const double u = rng.uniform();
        CHECK_FALSE((u < 0 || u >= 1));
        sum += u;
    }
    CHECK(sum / 100000 == doctest::Approx(0.5).epsilon(0.01));
}
