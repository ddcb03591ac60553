#pragma once
// Checksum: tells whole bytes from damaged ones. FNV-1a, 64 bits (Fowler, Noll, Vo).

#include <cstddef>
#include <cstdint>
#include <span>

namespace minicpmo {

struct Checksum {
    uint64_t value = 0xcbf29ce484222325ULL;

    void add(std::span<const std::byte> bytes) {
        for (const std::byte byte : bytes) value = (value ^ static_cast<uint64_t>(byte)) * 0x100000001b3ULL;
    }
};

}  // namespace minicpmo
