#pragma once
// Keys: the metadata of one namespace of a model file, each value within its range.
// Reference: docs/gguf.md lists the keys.

#include <string>

#include "base/error.h"
#include "core/gguf_file.h"

namespace minicpmo {

// Reads the keys of one namespace, each within a range; everything else is a damaged file.
class Keys {
public:
    Keys(const GgufFile& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

    int integer(const std::string& key, int64_t low, int64_t high) const {
        return in_range(key, file_.get<int64_t>(prefix_ + key), low, high);
    }
    int integer(const std::string& key, int64_t low, int64_t high, int64_t fallback) const {
        return in_range(key, file_.get_or<int64_t>(prefix_ + key, fallback), low, high);
    }
    float number(const std::string& key, double low, double high) const {
        return in_range(key, file_.get<double>(prefix_ + key), low, high);
    }
    float number(const std::string& key, double low, double high, double fallback) const {
        return in_range(key, file_.get_or<double>(prefix_ + key, fallback), low, high);
    }
    const GgufFile& file() const { return file_; }
    const std::string& prefix() const { return prefix_; }

private:
    template <class T>
    void check_range(const std::string& key, T value, T low, T high) const {
        check<ModelFileError>(value >= low && value <= high,
                              "[config] key {}{}: expected {} to {}, got {} ({})", prefix_, key, low, high,
                              value, file_.path().string());
    }
    int in_range(const std::string& key, int64_t value, int64_t low, int64_t high) const {
        check_range(key, value, low, high);
        return static_cast<int>(value);
    }
    float in_range(const std::string& key, double value, double low, double high) const {
        check_range(key, value, low, high);
        return static_cast<float>(value);
    }

    const GgufFile& file_;
    std::string prefix_;
};

inline constexpr int64_t kMaxWidth = 1 << 20;   // features of a layer
inline constexpr int64_t kMaxLayers = 1 << 10;  // and heads
inline constexpr int64_t kMaxTokens = 1 << 24;  // of a vocabulary or a context

}  // namespace minicpmo
