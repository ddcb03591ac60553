#pragma once
// Saved conversations as bytes, damaged ones among them: with a checksum that is right again, so that only
// what the numbers mean can refuse them.

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>

#include "base/checksum.h"
#include "base/rng.h"
#include "core/temp_folder.h"

namespace minicpmo {

constexpr size_t kSumBytes = sizeof(uint64_t);

inline std::string read_bytes(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

template <class S>
std::string saved(S& session) {
    const TempFolder folder;
    session.save(folder.path() / "saved.session");
    return read_bytes(folder.path() / "saved.session");
}

template <class S>
void load_bytes(S& session, std::string_view bytes) {
    const TempFolder folder;
    session.load(folder.write("saved.session", bytes));
}

inline void sign(std::string& bytes) {
    Checksum sum;
    const size_t n_body = bytes.size() - kSumBytes;
    sum.add(std::as_bytes(std::span(bytes).first(n_body)));
    std::memcpy(bytes.data() + n_body, &sum.value, kSumBytes);
}

// A copy with one to three places changed, half of them at `begin` and a few hundred bytes from there.
inline std::string damaged(std::string bytes, size_t begin, Rng& rng) {
    const size_t n_body = bytes.size() - kSumBytes;
    const auto below = [&](size_t n) { return static_cast<size_t>(rng.next() % n); };
    for (size_t n = 1 + below(3); n > 0; --n) {
        const size_t at =
            below(2) == 0 ? begin + below(std::min<size_t>(400, n_body - begin)) : below(n_body);
        constexpr int64_t kNumbers[] = {0,
                                        1,
                                        -1,
                                        2,
                                        7,
                                        255,
                                        1000,
                                        1 << 24,
                                        std::numeric_limits<int32_t>::max(),
                                        std::numeric_limits<int32_t>::min(),
                                        int64_t{1} << 40,
                                        std::numeric_limits<int64_t>::max()};
        const int64_t number =
            below(3) == 0 ? static_cast<int64_t>(rng.next()) : kNumbers[below(std::size(kNumbers))];
        constexpr size_t kWidths[] = {1, 4, 8};
        std::memcpy(bytes.data() + at, &number, std::min(kWidths[below(3)], n_body - at));
    }
    sign(bytes);
    return bytes;
}

}  // namespace minicpmo
