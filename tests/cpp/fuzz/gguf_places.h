#pragma once
// Where the numbers of a sound GGUF file are: metadata values, counts, lengths, extents, types and offsets.
// Reference: github.com/ggml-org/ggml, docs/gguf.md.

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/gguf_builder.h"

namespace minicpmo {

struct Place {
    size_t at = 0;
    uint32_t type = kGgufU32;  // as the header numbers them
};

inline size_t n_bytes_of(uint32_t type) {
    switch (type) {
        case kGgufU8:
        case kGgufI8:
        case kGgufBool:
            return 1;
        case kGgufU16:
        case kGgufI16:
            return 2;
        case kGgufU64:
        case kGgufI64:
        case kGgufF64:
            return 8;
        default:
            return 4;
    }
}

// Walks a file that GgufFile::open accepted.
class PlaceFinder {
public:
    explicit PlaceFinder(const std::string& bytes) : bytes_(bytes) {
        at_ = 8;  // magic and version
        const uint64_t n_tensor = number(kGgufU64);
        const uint64_t n_key = number(kGgufU64);
        for (uint64_t i = 0; i < n_key; ++i) key_value();
        for (uint64_t i = 0; i < n_tensor; ++i) tensor();
    }
    std::vector<Place> values;     // of metadata; of an array the first ones
    std::vector<Place> structure;  // everything else
    std::vector<Place> types;      // of tensors; among the structure too

private:
    uint64_t read(uint32_t type) {
        uint64_t value = 0;
        std::memcpy(&value, bytes_.data() + at_, n_bytes_of(type));
        at_ += n_bytes_of(type);
        return value;
    }
    uint64_t number(uint32_t type) {
        structure.push_back({at_, type});
        return read(type);
    }
    void skip_string() { at_ += number(kGgufU64); }
    void key_value() {
        skip_string();
        const auto type = static_cast<uint32_t>(number(kGgufU32));
        if (type == kGgufString) return skip_string();
        if (type != kGgufArray) return value(type);
        const auto element = static_cast<uint32_t>(number(kGgufU32));
        const uint64_t n = number(kGgufU64);
        constexpr uint64_t kShown = 16;
        for (uint64_t i = 0; i < n; ++i) {
            if (element == kGgufString) {
                if (i < kShown) {
                    skip_string();
                } else {
                    at_ += read(kGgufU64);
                }
            } else if (i < kShown) {
                value(element);
            } else {
                at_ += n_bytes_of(element);
            }
        }
    }
    void value(uint32_t type) {
        values.push_back({at_, type});
        at_ += n_bytes_of(type);
    }
    void tensor() {
        skip_string();
        const uint64_t n_dims = number(kGgufU32);
        for (uint64_t i = 0; i < n_dims; ++i) number(kGgufU64);
        types.push_back({at_, kGgufU32});
        number(kGgufU32);
        number(kGgufU64);
    }

    const std::string& bytes_;
    size_t at_ = 0;
};

}  // namespace minicpmo
