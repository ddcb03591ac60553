#pragma once
// GgufBuilder: writes a GGUF file into memory, and on purpose whatever wrong thing a test asks for.
// Reference: github.com/ggml-org/ggml, docs/gguf.md.

#include <ggml.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace minicpmo {

constexpr uint32_t kGgufU8 = 0, kGgufI8 = 1, kGgufU16 = 2, kGgufI16 = 3, kGgufU32 = 4, kGgufI32 = 5,
                   kGgufF32 = 6;
constexpr uint32_t kGgufBool = 7, kGgufString = 8, kGgufArray = 9, kGgufU64 = 10, kGgufI64 = 11,
                   kGgufF64 = 12;

// The bytes of one number, little-endian.
template <class T>
std::string le(T value) {
    return {reinterpret_cast<const char*>(&value), sizeof(T)};
}
inline std::string text(std::string_view s) { return le(uint64_t{s.size()}) + std::string(s); }

template <class T>
constexpr uint32_t gguf_type() {
    if constexpr (std::is_same_v<T, bool>) return kGgufBool;
    if constexpr (std::is_same_v<T, float>) return kGgufF32;
    if constexpr (std::is_same_v<T, double>) return kGgufF64;
    if constexpr (std::is_same_v<T, std::string>) return kGgufString;
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        constexpr bool kSigned = std::is_signed_v<T>;
        if constexpr (sizeof(T) == 1) return kSigned ? kGgufI8 : kGgufU8;
        if constexpr (sizeof(T) == 2) return kSigned ? kGgufI16 : kGgufU16;
        if constexpr (sizeof(T) == 4) return kSigned ? kGgufI32 : kGgufU32;
        if constexpr (sizeof(T) == 8) return kSigned ? kGgufI64 : kGgufU64;
    }
}

struct BuilderTensor {
    std::string name;
    std::vector<uint64_t> dims = {8};
    uint32_t type = GGML_TYPE_F32;
    std::string data = std::string(32, '\x11');
    std::optional<uint64_t> offset = std::nullopt;  // instead of the next free one
    std::optional<uint32_t> n_dims = std::nullopt;  // instead of dims.size()
};

struct GgufBuilder {
    std::string magic = "GGUF";
    uint32_t version = 3;
    std::optional<uint64_t> n_tensor = std::nullopt;  // instead of the true counts
    std::optional<uint64_t> n_key = std::nullopt;
    uint64_t alignment = 32;  // of the layout; the key general.alignment is the test's
    std::vector<std::string> keys = {};
    std::vector<BuilderTensor> tensors = {};

    // A key with any type number and any bytes.
    GgufBuilder& raw(std::string_view key, uint32_t type, std::string_view payload) {
        keys.push_back(text(key) + le(type) + std::string(payload));
        return *this;
    }
    template <class T>
    GgufBuilder& add(std::string_view key, const T& value) {
        return raw(key, gguf_type<T>(), encode(value));
    }
    GgufBuilder& add(std::string_view key, const char* value) { return add(key, std::string(value)); }
    template <class T>
    GgufBuilder& array(std::string_view key, const std::vector<T>& values) {
        std::string payload = le(gguf_type<T>()) + le(uint64_t{values.size()});
        for (const T& value : values) payload += encode(value);
        return raw(key, kGgufArray, payload);
    }
    GgufBuilder& tensor(BuilderTensor t) {
        tensors.push_back(std::move(t));
        return *this;
    }

    std::string build() const {
        std::string bytes =
            magic + le(version) + le(n_tensor.value_or(tensors.size())) + le(n_key.value_or(keys.size()));
        for (const std::string& key : keys) bytes += key;
        std::string data;
        for (const BuilderTensor& t : tensors) {
            bytes += text(t.name) + le(t.n_dims.value_or(static_cast<uint32_t>(t.dims.size())));
            for (const uint64_t extent : t.dims) bytes += le(extent);
            bytes += le(t.type) + le(t.offset.value_or(data.size()));
            data += padded(t.data);
        }
        return tensors.empty() ? bytes : padded(bytes) + data;
    }

private:
    template <class T>
    static std::string encode(const T& value) {
        if constexpr (std::is_same_v<T, std::string>)
            return text(value);
        else
            return le(value);
    }
    std::string padded(std::string bytes) const {
        bytes.resize((bytes.size() + alignment - 1) / alignment * alignment, '\0');
        return bytes;
    }
};

}  // namespace minicpmo
