#pragma once
// GgufHeader: what one GGUF file (v2 or v3) says about itself, read from its bytes and checked against them.
// Reference: github.com/ggml-org/ggml, docs/gguf.md. ggml's own reader is not used: it trusts too much of the
// file.

#include <ggml.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace minicpmo {

struct TensorInfo {
    std::string name;  // 1 to 63 bytes, unique in the model
    ggml_type type = GGML_TYPE_F32;
    std::array<int64_t, 4> ne = {1, 1, 1, 1};  // ggml order, unused dimensions are 1
    int n_dims = 1;
    size_t region = 0;                // of the model's memory: which split holds it
    std::span<const std::byte> data;  // its bytes inside that, aligned as general.alignment says (at least 8)
};

// One metadata value. Integers of every width are int64_t; uint64_t holds only what int64_t cannot (an array
// that has one such value is uint64_t as a whole). Floats are double.
using MetaValue =
    std::variant<bool, int64_t, uint64_t, double, std::string, std::vector<bool>, std::vector<int64_t>,
                 std::vector<uint64_t>, std::vector<double>, std::vector<std::string>>;
using Metadata = std::map<std::string, MetaValue, std::less<>>;

struct GgufHeader {
    Metadata metadata;
    std::vector<TensorInfo> tensors;  // in the file's order
};

// Reads the header at the start of `bytes` (the whole file, which must outlive the tensors' data). `file` is
// its name for messages. Throws ModelFileError.
GgufHeader read_gguf_header(std::span<const std::byte> bytes, const std::string& file);

// Text of a file for a message: in quotes, cut when long, bytes that are not printable ASCII as \xNN.
std::string printable(std::string_view text);

}  // namespace minicpmo
