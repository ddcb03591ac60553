#pragma once
// PlainEncoder: how text without added tokens becomes ids, and what its tokens stand for.

#include <cstdint>
#include <string>
#include <vector>

#include "text/vocabulary.h"

namespace minicpmo {

class PlainEncoder {
public:
    virtual ~PlainEncoder() = default;
    virtual void encode(const std::string& text, std::vector<int32_t>& ids) const = 0;  // appends
    virtual std::string bytes_of(const std::string& token, TokenType type) const = 0;   // if not an added one
};

}  // namespace minicpmo
