#pragma once
// GgufWriter: a small GGUF file (v3) put together in memory. Reference: github.com/ggml-org/ggml,
// docs/gguf.md.

#include <ggml.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace minicpmo {

class GgufWriter {
public:
    void add(std::string_view key, uint32_t value);
    void add(std::string_view key, std::string_view value);
    // ne in ggml's order, the fastest dimension first; T: float, int32_t or int16_t.
    template <class T>
    void add_tensor(std::string_view name, std::span<const int64_t> ne, std::span<const T> values);

    void write(const std::filesystem::path& path) const;  // throws Error with the path

private:
    uint64_t n_key_ = 0;
    uint64_t n_tensor_ = 0;
    std::string keys_;
    std::string tensors_;  // their descriptions
    std::string data_;
};

}  // namespace minicpmo
