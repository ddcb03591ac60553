#include "fuzz/mutator.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace minicpmo {

std::string Mutator::next() {
    std::string bytes = sound_;
    for (int n = below(4) == 0 ? 3 : 1; n > 0 && !bytes.empty(); --n) mutate(bytes);
    if (bytes.empty()) bytes.push_back('G');
    return bytes;
}

size_t Mutator::place(const std::string& bytes) {
    const bool anywhere = below(10) == 0;
    return static_cast<size_t>(below(anywhere ? bytes.size() : std::min(bytes.size(), n_header_bytes_)));
}

uint64_t Mutator::extreme_integer(uint64_t value, uint64_t n_byte) {
    constexpr uint64_t kOne = 1;
    return one_of<uint64_t>({0,
                             1,
                             2,
                             3,
                             value + 1,
                             value - 1,
                             value * 2,
                             value / 2,
                             value + 32,
                             below(64),
                             below(1024),
                             n_byte,
                             kOne << 24,
                             kOne << 31,
                             kOne << 32,
                             kOne << 61,
                             kOne << 63,
                             (kOne << 31) - 1,
                             (kOne << 63) - 1,
                             std::numeric_limits<uint64_t>::max(),
                             std::numeric_limits<uint64_t>::max() - 31});
}

template <class T>
T Mutator::extreme_real() {
    using Limits = std::numeric_limits<T>;
    return one_of<T>({0, T(-0.0), 1, -1, T(0.5), 2, T(1e-30), T(1e30), Limits::max(), Limits::lowest(),
                      Limits::min(), Limits::denorm_min(), Limits::infinity(), -Limits::infinity(),
                      Limits::quiet_NaN(), T(2147483648.0), T(1e6)});
}

void Mutator::mutate(std::string& bytes) {
    switch (below(16)) {
        case 0:
            return bytes.resize(place(bytes));
        case 1:
            return bytes.resize(static_cast<size_t>(below(bytes.size())));
        case 2:
        case 3:
            return flip(bytes);
        case 4:
        case 5:
            return splice(bytes);
        case 6:
            return poison(bytes);
        case 7:
            return retype(bytes);
        case 8:
        case 9:
            return overwrite(bytes, one_of(places_.structure));
        default:  // some files state no numbers
            return overwrite(bytes, one_of(places_.values.empty() ? places_.structure : places_.values));
    }
}

void Mutator::flip(std::string& bytes) {
    for (int n = below(2) == 0 ? 8 : 1; n > 0; --n) {
        char& byte = bytes[place(bytes)];
        byte = static_cast<char>(below(2) == 0 ? byte ^ (1 << below(8)) : static_cast<int>(below(256)));
    }
}

void Mutator::overwrite(std::string& bytes, const Place& where) {
    const size_t n = n_bytes_of(where.type);
    if (where.at + n > bytes.size()) return;
    uint64_t value = 0;
    std::memcpy(&value, bytes.data() + where.at, n);
    if (where.type == kGgufF32) {
        const float real = extreme_real<float>();
        std::memcpy(&value, &real, sizeof(real));
    } else if (where.type == kGgufF64) {
        const double real = extreme_real<double>();
        std::memcpy(&value, &real, sizeof(real));
    } else {
        value = extreme_integer(value, bytes.size());
    }
    std::memcpy(bytes.data() + where.at, &value, n);
}

void Mutator::retype(std::string& bytes) {
    const Place where = one_of(places_.types);
    const uint32_t type = static_cast<uint32_t>(below(GGML_TYPE_COUNT));
    if (where.at + sizeof(type) <= bytes.size()) std::memcpy(bytes.data() + where.at, &type, sizeof(type));
}

void Mutator::splice(std::string& bytes) {
    const size_t from = place(bytes);
    const size_t n = std::min(static_cast<size_t>(1 + below(below(4) == 0 ? 4096 : 64)), bytes.size() - from);
    const std::string range = bytes.substr(from, n);
    const size_t to = place(bytes);
    switch (below(3)) {
        case 0:
            bytes.replace(to, std::min(n, bytes.size() - to), range);
            break;
        case 1:
            bytes.insert(to, range);
            break;
        default:
            bytes.erase(from, n);
            break;
    }
}

void Mutator::poison(std::string& bytes) {
    if (bytes.size() <= n_header_bytes_ + 64) return;
    const size_t at = (n_header_bytes_ + below(bytes.size() - n_header_bytes_ - 64)) / 4 * 4;
    const std::string pattern = one_of<std::string>(
        {le(std::nanf("")), le(std::numeric_limits<float>::infinity()), le(std::numeric_limits<float>::max()),
         std::string(4, '\xff'), std::string(4, '\x7c'), std::string(4, '\0')});
    const size_t n = below(2) == 0 ? 1 : 16;
    for (size_t i = 0; i < n; ++i) bytes.replace(at + 4 * i, 4, pattern);
}

}  // namespace minicpmo
