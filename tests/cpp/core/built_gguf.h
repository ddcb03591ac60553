#pragma once
// Opening what GgufBuilder wrote, and checking how a wrong file is refused.

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "core/gguf_builder.h"
#include "core/gguf_file.h"
#include "core/mapped_file.h"
#include "core/temp_folder.h"

namespace minicpmo {

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();

inline GgufFile open_built(const GgufBuilder& builder) {
    const TempFolder folder;
    return GgufFile::open(folder.write("model.gguf", builder.build()));
}

// The message with which `action` refuses; empty if it does not.
template <class F>
std::string refusal(const F& action) {
    try {
        action();
    } catch (const ModelFileError& error) {
        return error.what();
    }
    return "";
}

inline void check_contains(const std::string& message, const std::vector<std::string>& parts) {
    CAPTURE(message);
    for (const std::string& part : parts) {
        CAPTURE(part);
        CHECK(message.find(part) != std::string::npos);
    }
}

// Every refusal names the file; `parts` are what else it must say.
inline void check_refused(const std::string& bytes, std::vector<std::string> parts) {
    const TempFolder folder;
    const auto path = folder.write("model.gguf", bytes);
    parts.insert(parts.end(), {"[gguf] expected ", utf8_path(path)});
    check_contains(refusal([&] { GgufFile::open(path); }), parts);
}
inline void check_refused(const GgufBuilder& builder, std::vector<std::string> parts) {
    check_refused(builder.build(), std::move(parts));
}

inline GgufBuilder sound() {
    GgufBuilder b;
    b.add("general.architecture", "qwen3").add("qwen3.block_count", uint32_t{36});
    b.array("tokens", std::vector<std::string>{"a", "", "c"});
    b.tensor({.name = "first.weight", .dims = {8, 1}});
    b.tensor({.name = "second", .dims = {32, 2}, .type = GGML_TYPE_Q8_0, .data = std::string(68, '\x22')});
    b.tensor({.name = "third", .dims = {1, 2, 1, 3}, .type = GGML_TYPE_F16, .data = std::string(12, '\x33')});
    return b;
}

}  // namespace minicpmo
