#pragma once
// Mutator: endless damaged copies of one sound GGUF file, the same ones for the same seed.

#include <cstdint>
#include <string>
#include <vector>

#include "base/rng.h"
#include "fuzz/gguf_places.h"

namespace minicpmo {

class Mutator {
public:
    Mutator(std::string sound, size_t n_header_bytes, uint64_t seed)
        : sound_(std::move(sound)), n_header_bytes_(n_header_bytes), places_(sound_), rng_{seed, 0} {}

    std::string next();

private:
    uint64_t below(uint64_t n) { return n == 0 ? 0 : rng_.next() % n; }
    template <class T>
    T one_of(const std::vector<T>& choices) {
        return choices[below(choices.size())];
    }
    size_t place(const std::string& bytes);  // mostly in the header, sometimes anywhere
    uint64_t extreme_integer(uint64_t value, uint64_t n_byte);
    template <class T>
    T extreme_real();

    void mutate(std::string& bytes);
    void flip(std::string& bytes);
    void overwrite(std::string& bytes, const Place& where);  // a number at a known place becomes another
    void retype(std::string& bytes);                         // another type reads the same bytes
    void splice(std::string& bytes);                         // copies, inserts or removes a range
    void poison(std::string& bytes);                         // weights that are no numbers, infinite or huge

    std::string sound_;
    size_t n_header_bytes_;
    PlaceFinder places_;
    Rng rng_;
};

}  // namespace minicpmo
