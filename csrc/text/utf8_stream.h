#pragma once
// Utf8Stream: bytes arrive token by token, whole characters leave.

#include <string>
#include <string_view>

#include "base/archive.h"

namespace minicpmo {

class Utf8Stream {
public:
    std::string push(std::string_view bytes);  // complete characters so far; invalid bytes become U+FFFD
    std::string finish();                      // what was still incomplete, as U+FFFD
    void archive(Archive& archive);

private:
    std::string pending_;
};

// Python's bytes.decode("utf-8", "replace"): one U+FFFD per maximal invalid subpart.
std::string utf8_lossy(std::string_view bytes);

}  // namespace minicpmo
