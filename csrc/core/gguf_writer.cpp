#include "core/gguf_writer.h"

#include <fstream>
#include <type_traits>

#include "base/error.h"
#include "core/mapped_file.h"

namespace minicpmo {

namespace {

constexpr uint32_t kVersion = 3;
constexpr uint32_t kUint32 = 4;  // value types of keys
constexpr uint32_t kString = 8;
constexpr size_t kAlignment = 32;  // of tensors, where no key says otherwise

template <class T>
std::string bytes_of(T value) {
    return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

std::string text(std::string_view s) { return bytes_of(uint64_t{s.size()}) + std::string(s); }

void pad(std::string& bytes) {
    bytes.resize((bytes.size() + kAlignment - 1) / kAlignment * kAlignment, '\0');
}

}  // namespace

void GgufWriter::add(std::string_view key, uint32_t value) {
    keys_ += text(key) + bytes_of(kUint32) + bytes_of(value);
    ++n_key_;
}

void GgufWriter::add(std::string_view key, std::string_view value) {
    keys_ += text(key) + bytes_of(kString) + text(value);
    ++n_key_;
}

template <class T>
void GgufWriter::add_tensor(std::string_view name, std::span<const int64_t> ne, std::span<const T> values) {
    constexpr ggml_type kType = std::is_same_v<T, float>     ? GGML_TYPE_F32
                                : std::is_same_v<T, int32_t> ? GGML_TYPE_I32
                                                             : GGML_TYPE_I16;
    tensors_ += text(name) + bytes_of(static_cast<uint32_t>(ne.size()));
    for (const int64_t extent : ne) tensors_ += bytes_of(extent);
    tensors_ += bytes_of(static_cast<uint32_t>(kType)) + bytes_of(uint64_t{data_.size()});
    ++n_tensor_;
    data_.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
    pad(data_);
}

template void GgufWriter::add_tensor(std::string_view, std::span<const int64_t>, std::span<const float>);
template void GgufWriter::add_tensor(std::string_view, std::span<const int64_t>, std::span<const int32_t>);
template void GgufWriter::add_tensor(std::string_view, std::span<const int64_t>, std::span<const int16_t>);

void GgufWriter::write(const std::filesystem::path& path) const {
    std::string bytes =
        "GGUF" + bytes_of(kVersion) + bytes_of(n_tensor_) + bytes_of(n_key_) + keys_ + tensors_;
    pad(bytes);
    bytes += data_;
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    check<Error>(!file.fail(), "[gguf] expected a file that can be written, got an error ({})",
                 utf8_path(path));
}

}  // namespace minicpmo
