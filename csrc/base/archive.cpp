#include "base/archive.h"

namespace minicpmo {

void Archive::bytes(std::span<std::byte> values) {
    if (!is_reading()) {
        out_->write(reinterpret_cast<const char*>(values.data()),
                    static_cast<std::streamsize>(values.size()));
        checksum_.add(values);
        return;
    }
    check<ModelFileError>(values.size() <= in_.size(), "[archive] expected {} more bytes, got {}",
                          values.size(), in_.size());
    if (!values.empty()) std::memcpy(values.data(), in_.data(), values.size());
    in_ = in_.subspan(values.size());
}

size_t Archive::length(size_t n, size_t least_bytes_each) {
    uint64_t count = n;
    (*this)(count);
    check<ModelFileError>(!is_reading() || count <= in_.size() / least_bytes_each,
                          "[archive] expected a list of at most {} values, got {}",
                          in_.size() / least_bytes_each, count);
    return static_cast<size_t>(count);
}

}  // namespace minicpmo
