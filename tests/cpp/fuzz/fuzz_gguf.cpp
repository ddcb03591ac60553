// fuzz_gguf SEED_FILE N [SEED]: opens N damaged copies of a GGUF file. Each must either open and be readable
// to its last byte, or be refused with minicpmo::Error; anything else ends the run with status 1 and keeps
// the damaged copy.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "core/gguf_file.h"

using namespace minicpmo;

namespace {

constexpr size_t kMaxHeaderBytes = size_t{1} << 20;

class Mutator {
public:
    Mutator(std::string sound, size_t n_header_bytes, uint64_t seed)
        : sound_(std::move(sound)), n_header_bytes_(n_header_bytes), rng_{seed, 0} {
        // Counts, lengths, extents and offsets are small non-zero 64-bit integers: their places are worth
        // more than others.
        for (size_t i = 0; i + 8 <= n_header_bytes_; ++i) {
            uint64_t value = 0;
            std::memcpy(&value, sound_.data() + i, sizeof(value));
            if (value != 0 && value < uint64_t{1} << 32) integer_places_.push_back(i);
        }
    }

    std::string next() {
        std::string bytes = sound_;
        for (int n = below(4) == 0 ? 3 : 1; n > 0 && !bytes.empty(); --n) mutate(bytes);
        if (bytes.empty()) bytes.push_back('G');
        return bytes;
    }

private:
    uint64_t below(uint64_t n) { return n == 0 ? 0 : rng_.next() % n; }

    // Mostly in the header; sometimes anywhere.
    size_t place(const std::string& bytes) {
        const bool anywhere = below(10) == 0;
        return static_cast<size_t>(below(anywhere ? bytes.size() : std::min(bytes.size(), n_header_bytes_)));
    }

    void mutate(std::string& bytes) {
        switch (below(8)) {
            case 0:
                bytes.resize(place(bytes));
                break;
            case 1:
                bytes.resize(static_cast<size_t>(below(bytes.size())));
                break;
            case 2:
                flip(bytes);
                break;
            case 3:
            case 4:
            case 5:
                overwrite_integer(bytes);
                break;
            default:
                splice(bytes);
                break;
        }
    }

    void flip(std::string& bytes) {
        for (int n = below(2) == 0 ? 8 : 1; n > 0; --n) {
            char& byte = bytes[place(bytes)];
            byte = static_cast<char>(below(2) == 0 ? byte ^ (1 << below(8)) : static_cast<int>(below(256)));
        }
    }

    void overwrite_integer(std::string& bytes) {
        const bool is_known = !integer_places_.empty() && below(4) != 0;
        const size_t at = is_known ? integer_places_[below(integer_places_.size())] : place(bytes);
        const size_t width = below(3) == 0 ? 4 : 8;
        if (at + width > bytes.size()) return;
        uint64_t value = 0;
        std::memcpy(&value, bytes.data() + at, width);
        const std::vector<uint64_t> choices = {0,
                                               1,
                                               value + 1,
                                               value - 1,
                                               value * 2,
                                               value + 32,
                                               uint64_t{1} << 24,
                                               uint64_t{1} << 31,
                                               uint64_t{1} << 32,
                                               uint64_t{1} << 61,
                                               uint64_t{1} << 63,
                                               (uint64_t{1} << 63) - 1,
                                               std::numeric_limits<uint64_t>::max(),
                                               std::numeric_limits<uint64_t>::max() - 31,
                                               bytes.size(),
                                               bytes.size() - at,
                                               below(64)};
        value = choices[below(choices.size())];
        std::memcpy(bytes.data() + at, &value, width);
    }

    // Copies, inserts or removes a range.
    void splice(std::string& bytes) {
        const size_t from = place(bytes);
        const size_t n =
            std::min(static_cast<size_t>(1 + below(below(4) == 0 ? 4096 : 64)), bytes.size() - from);
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

    std::string sound_;
    size_t n_header_bytes_;
    Rng rng_;
    std::vector<size_t> integer_places_;
};

template <class T>
void try_get(const GgufFile& file, const std::string& key) {
    try {
        static_cast<void>(file.get<T>(key));
    } catch (const ModelFileError&) {
        // Of another kind, or a number that T cannot hold.
    }
}

// Reads all that an open file offers, so that a sanitizer sees any byte outside the mapping.
void exercise(const GgufFile& file) {
    for (const auto& [key, value] : file.metadata()) {
        try_get<bool>(file, key);
        try_get<int64_t>(file, key);
        try_get<double>(file, key);
        try_get<std::string>(file, key);
        try_get<std::vector<bool>>(file, key);
        try_get<std::vector<int64_t>>(file, key);
        try_get<std::vector<double>>(file, key);
        try_get<std::vector<std::string>>(file, key);
    }
    volatile unsigned sink = 0;
    for (const TensorInfo& info : file.tensors()) {
        const auto mapping = file.mappings()[info.file]->bytes();
        check<std::logic_error>(file.find_tensor(info.name) == &info, "tensor {} is not found by its name",
                                info.name);
        check<std::logic_error>(info.data.data() >= mapping.data() &&
                                    info.data.data() + info.data.size() <= mapping.data() + mapping.size(),
                                "tensor {} lies outside its file", info.name);
        sink =
            sink + std::to_integer<unsigned>(info.data.front()) + std::to_integer<unsigned>(info.data.back());
    }
}

size_t header_bytes(const GgufFile& file) {
    size_t n = std::min(file.n_bytes(), kMaxHeaderBytes);
    const std::byte* start = file.mappings()[0]->bytes().data();
    for (const TensorInfo& info : file.tensors())
        n = std::min(n, static_cast<size_t>(info.data.data() - start));
    return n;
}

int run(const std::filesystem::path& seed_file, int n_mutant, uint64_t seed) {
    std::ifstream in(seed_file, std::ios::binary);
    std::string sound{std::istreambuf_iterator<char>(in), {}};
    const GgufFile opened = GgufFile::open(seed_file);
    exercise(opened);
    Mutator mutator(std::move(sound), header_bytes(opened), seed);
    const auto path = std::filesystem::temp_directory_path() /
                      ("fuzz_gguf_" + std::to_string(std::random_device{}()) + ".gguf");
    int n_accepted = 0;
    for (int i = 0; i < n_mutant; ++i) {
        {
            const std::string bytes = mutator.next();
            std::ofstream(path, std::ios::binary)
                .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        }
        try {
            exercise(GgufFile::open(path));
            ++n_accepted;
        } catch (const Error&) {
            // Refused, as it should be.
        } catch (const std::exception& error) {
            std::cout << "mutant " << i << " of seed " << seed << " (" << path.string()
                      << "): " << error.what() << "\n";
            return 1;
        }
    }
    std::filesystem::remove(path);
    std::cout << n_mutant << " mutated files: " << n_accepted << " accepted, " << n_mutant - n_accepted
              << " refused\n";
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3 && argc != 4) {
        std::cerr << "usage: fuzz_gguf SEED_FILE N [SEED]\n";
        return 2;
    }
    try {
        return run(argv[1], std::stoi(argv[2]), argc == 4 ? std::stoull(argv[3]) : 1);
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
}
