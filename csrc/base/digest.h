#pragma once
// Digest: names bytes by their content; nobody can find two contents of one name. Reference: RFC 7693,
// BLAKE2b with 32 bytes of output and no key.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace minicpmo {

using Digest = std::array<uint8_t, 32>;

class DigestMaker {
public:
    DigestMaker();
    // What the bytes are: contents of two kinds never have one name, whatever their bytes.
    explicit DigestMaker(std::string_view kind);

    void add(std::span<const std::byte> bytes);
    template <class T>
        requires std::is_arithmetic_v<T>
    void add(std::span<const T> values) {
        add(std::as_bytes(values));
    }
    void add(int64_t value) { add(std::as_bytes(std::span(&value, 1))); }
    Digest finish();  // once

private:
    static constexpr size_t kBlock = 128;  // bytes
    void compress(std::span<const std::byte, kBlock> block, bool is_last);

    std::array<uint64_t, 8> state_;
    std::array<std::byte, kBlock> pending_;
    size_t n_pending_ = 0;
    uint64_t n_byte_ = 0;  // compressed so far; contents are shorter than 2^64
};

}  // namespace minicpmo
