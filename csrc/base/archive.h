#pragma once
// Archive: the state of objects, written to a stream of bytes or read back from one by the same function:
// `archive(a); archive(b);` writes a and b, or gives them the values they had. What is read is hostile: every
// length is checked against what is left, and whoever reads checks what the values mean.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/array.h"
#include "base/checksum.h"
#include "base/error.h"

namespace minicpmo {

class Archive {
public:
    explicit Archive(std::ostream& out) : out_(&out) {}
    // The bytes must outlive the archive.
    explicit Archive(std::span<const std::byte> bytes) : in_(bytes) {}

    bool is_reading() const { return out_ == nullptr; }
    size_t n_left() const { return in_.size(); }           // bytes still to be read
    uint64_t checksum() const { return checksum_.value; }  // of what was written so far
    void bytes(std::span<std::byte> values);               // so many, neither more nor fewer

    template <class T>
    void operator()(T& value)
        requires std::is_arithmetic_v<T>
    {
        if constexpr (std::is_same_v<T, bool>) {
            uint8_t byte = value ? 1 : 0;
            (*this)(byte);
            check<ModelFileError>(byte <= 1, "[archive] expected 0 or 1, got {}", int{byte});
            value = byte == 1;
        } else {
            bytes(std::as_writable_bytes(std::span(&value, 1)));
        }
    }
    void operator()(std::string& value) { values(value); }
    template <class T>
    void operator()(std::vector<T>& list) {
        if constexpr (std::is_arithmetic_v<T>) {
            values(list);
        } else {
            items(list);
        }
    }
    template <class T>
    void operator()(std::deque<T>& list) {
        items(list);
    }
    template <class T>
    void operator()(std::optional<T>& value) {
        bool has_value = value.has_value();
        (*this)(has_value);
        if (is_reading()) value = has_value ? std::optional<T>(T{}) : std::nullopt;
        if (has_value) (*this)(*value);
    }
    template <class T>
    void operator()(Array<T>& array) {
        (*this)(array.shape);
        (*this)(array.data);
        uint64_t n = array.shape.empty() ? 0 : 1;
        for (const int64_t d : array.shape) {
            constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
            const bool fits = d >= 0 && (n == 0 || static_cast<uint64_t>(d) <= kMost / n);
            check<ModelFileError>(fits, "[archive] expected sides whose product is a number, got {}", d);
            n *= static_cast<uint64_t>(d);
        }
        check<ModelFileError>(n == array.data.size(), "[archive] expected an array of {} values, got {}", n,
                              array.data.size());
    }
    template <class T>
    void operator()(T& object)
        requires requires(Archive& a) { object.archive(a); }
    {
        object.archive(*this);
    }

private:
    size_t length(size_t n, size_t least_bytes_each);
    template <class List>
    void values(List& list) {
        const size_t n = length(list.size(), sizeof(list[0]));
        if (is_reading()) list.resize(n);
        bytes(std::as_writable_bytes(std::span(list.data(), n)));
    }
    template <class List>
    void items(List& list) {
        const size_t n = length(list.size(), 1);
        if (is_reading()) list.clear();
        for (size_t i = 0; i < n; ++i) {
            if (is_reading()) list.emplace_back();
            (*this)(list[i]);
        }
    }

    std::ostream* out_ = nullptr;
    std::span<const std::byte> in_;
    Checksum checksum_;
};

}  // namespace minicpmo
