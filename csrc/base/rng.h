#pragma once
// A counter-based random generator: value i of a seed never depends on how many were drawn before in another
// place. SplitMix64 finaliser (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014) over
// seed and counter.

#include <cstdint>

namespace minicpmo {

struct Rng {
    uint64_t seed = 0;
    uint64_t counter = 0;

    uint64_t next() {
        uint64_t z = seed + 0x9e3779b97f4a7c15ULL * ++counter;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }
    double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }  // [0, 1)
};

}  // namespace minicpmo
