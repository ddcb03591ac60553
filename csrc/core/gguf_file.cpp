#include "core/gguf_file.h"

#include <cmath>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "core/mapped_file.h"

namespace minicpmo {

namespace {

constexpr const char* kSplitNumber = "split.no";
constexpr const char* kSplitCount = "split.count";
constexpr const char* kSplitTensorCount = "split.tensors.count";
constexpr int64_t kMaxParts = 99999;  // five digits in the file name

// --- typed values ---

template <class T>
constexpr bool kIsNumber =
    std::is_same_v<T, int64_t> || std::is_same_v<T, uint64_t> || std::is_same_v<T, double>;

template <class T>
struct ElementOf {
    using type = void;
};
template <class T>
struct ElementOf<std::vector<T>> {
    using type = T;
};

template <class T>
std::string kind_name() {
    if constexpr (std::is_same_v<T, bool>) return "bool";
    if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, uint64_t>) return "integer";
    if constexpr (std::is_same_v<T, double>) return "number";
    if constexpr (std::is_same_v<T, std::string>) return "string";
    if constexpr (!std::is_void_v<typename ElementOf<T>::type>) {
        return "array of " + kind_name<typename ElementOf<T>::type>() + "s";
    }
}

// The kind and, where it is short, the value.
std::string describe(const MetaValue& value) {
    return std::visit(
        [](const auto& v) {
            using V = std::decay_t<decltype(v)>;
            if constexpr (std::is_same_v<V, bool>)
                return format("{} {}", kind_name<V>(), v ? "true" : "false");
            if constexpr (std::is_same_v<V, std::string>)
                return format("{} {}", kind_name<V>(), printable(v));
            if constexpr (kIsNumber<V>) return format("{} {}", kind_name<V>(), v);
            if constexpr (!std::is_void_v<typename ElementOf<V>::type>) {
                return format("{} of length {}", kind_name<V>(), v.size());
            }
        },
        value);
}

// The number as `To` if that is exactly the same number. (A uint64_t value is always too large for int64_t.)
template <class To, class From>
std::optional<To> exact_number(From value) {
    if constexpr (std::is_same_v<To, From>) {
        return value;
    } else if constexpr (std::is_same_v<To, double>) {
        const double wide = static_cast<double>(value);
        // Rounding up to 2^63 or 2^64 would make the cast back undefined.
        if (wide >= (std::is_signed_v<From> ? 0x1p63 : 0x1p64) || static_cast<From>(wide) != value) return {};
        return wide;
    } else if constexpr (std::is_same_v<From, double>) {
        if (!(value >= -0x1p63 && value < 0x1p63) || value != std::trunc(value)) return {};
        return static_cast<To>(value);
    } else {
        return {};
    }
}

template <class T>
std::optional<T> convert(const MetaValue& value) {
    return std::visit(
        [](const auto& v) -> std::optional<T> {
            using V = std::decay_t<decltype(v)>;
            using To = typename ElementOf<T>::type;
            if constexpr (std::is_same_v<T, V>) {
                return v;
            } else if constexpr (kIsNumber<T> && kIsNumber<V>) {
                return exact_number<T>(v);
            } else if constexpr (kIsNumber<To> && kIsNumber<typename ElementOf<V>::type>) {
                T all;
                all.reserve(v.size());
                for (const auto element : v) {
                    const std::optional<To> number = exact_number<To>(element);
                    if (!number) return {};
                    all.push_back(*number);
                }
                return all;
            } else {
                return {};
            }
        },
        value);
}

template <class T>
T value_of(const Metadata& metadata, std::string_view key, const std::filesystem::path& path) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) {
        fail<ModelFileError>("[gguf] expected key {} of kind {}, got none ({})", printable(key),
                             kind_name<T>(), utf8_path(path));
    }
    std::optional<T> value = convert<T>(found->second);
    if (!value) {
        fail<ModelFileError>("[gguf] expected key {} of kind {}, got {} ({})", printable(key), kind_name<T>(),
                             describe(found->second), utf8_path(path));
    }
    return std::move(*value);
}

// --- split files ---

std::string part_suffix(int64_t part, int64_t n_part) {
    const auto padded = [](int64_t n) {
        const std::string digits = std::to_string(n);
        return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
    };
    return "-" + padded(part) + "-of-" + padded(n_part) + ".gguf";
}

// `path` with its `-<from>-of-<n_part>.gguf` replaced for part `to`; nothing if the name does not end so.
// Parts count from 1.
std::optional<std::filesystem::path> sibling_part(const std::filesystem::path& path, int64_t from, int64_t to,
                                                  int64_t n_part) {
    const std::filesystem::path::string_type name = path.filename().native();
    const std::filesystem::path::string_type suffix =
        std::filesystem::path(part_suffix(from, n_part)).native();
    if (!name.ends_with(suffix)) return {};
    std::filesystem::path sibling = path;
    sibling.replace_filename(name.substr(0, name.size() - suffix.size()) +
                             std::filesystem::path(part_suffix(to, n_part)).native());
    return sibling;
}

void check_split_value(const Metadata& metadata, const char* key, int64_t expected,
                       const std::filesystem::path& path) {
    const int64_t value = value_of<int64_t>(metadata, key, path);
    check<ModelFileError>(value == expected, "[gguf] expected {} for key '{}', got {} ({})", expected, key,
                          value, utf8_path(path));
}

// Only the first part has the metadata, and its name leads to the others.
void check_first_part(const Metadata& metadata, int64_t n_part, const std::filesystem::path& path) {
    const int64_t part = value_of<int64_t>(metadata, kSplitNumber, path);
    check<ModelFileError>(part >= 0 && part < n_part, "[gguf] expected key '{}' from 0 to {}, got {} ({})",
                          kSplitNumber, n_part - 1, part, utf8_path(path));
    if (part > 0) {
        const auto first = sibling_part(path, part + 1, 1, n_part);
        fail<ModelFileError>(
            "[gguf] expected the first part of a split model, got part {} of {}: pass {} instead ({})",
            part + 1, n_part,
            first ? utf8_path(first->filename()) : "the file that ends in " + part_suffix(1, n_part),
            utf8_path(path));
    }
    check<ModelFileError>(sibling_part(path, 1, 1, n_part).has_value(),
                          "[gguf] expected a file name that ends in {} for the first of {} parts, got {}",
                          part_suffix(1, n_part), n_part, utf8_path(path));
}

}  // namespace

GgufFile GgufFile::open(const std::filesystem::path& path) {
    GgufFile file;
    file.path_ = path;
    file.metadata_ = file.append_part(path);
    file.append_other_parts();
    return file;
}

GgufFile GgufFile::assemble(const std::filesystem::path& path, Metadata metadata,
                            std::vector<TensorInfo> tensors, std::vector<MemoryRegion> regions) {
    GgufFile file;
    file.path_ = path;
    file.metadata_ = std::move(metadata);
    file.regions_ = std::move(regions);
    for (TensorInfo& info : tensors) file.append_tensor(std::move(info));
    return file;
}

void GgufFile::append_tensor(TensorInfo info) {
    check<ModelFileError>(tensor_index_.try_emplace(info.name, tensors_.size()).second,
                          "[gguf] expected each tensor once, got {} twice ({})", printable(info.name),
                          utf8_path(path_));
    tensors_.push_back(std::move(info));
}

// Maps one more file, appends its tensors and returns its metadata.
Metadata GgufFile::append_part(const std::filesystem::path& path) {
    auto mapping = std::make_shared<const MappedFile>(path);
    regions_.push_back({mapping->bytes(), mapping});
    GgufHeader header = read_gguf_header(regions_.back().bytes, utf8_path(path));
    for (TensorInfo& info : header.tensors) {
        info.region = regions_.size() - 1;
        append_tensor(std::move(info));
    }
    return std::move(header.metadata);
}

void GgufFile::append_other_parts() {
    if (!has(kSplitCount)) return;
    const int64_t n_part = get<int64_t>(kSplitCount);
    check<ModelFileError>(n_part >= 0 && n_part <= kMaxParts,
                          "[gguf] expected key '{}' from 0 to {}, got {} ({})", kSplitCount, kMaxParts,
                          n_part, utf8_path(path_));
    if (n_part <= 1) return;  // merged files keep the key
    check_first_part(metadata_, n_part, path_);
    const int64_t n_tensor = get<int64_t>(kSplitTensorCount);
    for (int64_t part = 1; part < n_part; ++part) {
        const std::filesystem::path path = *sibling_part(path_, 1, part + 1, n_part);
        std::error_code ignored;
        check<ModelFileError>(std::filesystem::exists(path, ignored),
                              "[gguf] expected part {} of {} at {}, got no such file (first part {})",
                              part + 1, n_part, utf8_path(path), utf8_path(path_));
        const Metadata metadata = append_part(path);
        check_split_value(metadata, kSplitNumber, part, path);
        check_split_value(metadata, kSplitCount, n_part, path);
        check_split_value(metadata, kSplitTensorCount, n_tensor, path);
    }
    check<ModelFileError>(std::cmp_equal(n_tensor, tensors_.size()),
                          "[gguf] expected {} tensors in {} parts as key '{}' says, got {} ({})", n_tensor,
                          n_part, kSplitTensorCount, tensors_.size(), utf8_path(path_));
}

template <class T>
T GgufFile::get(std::string_view key) const {
    return value_of<T>(metadata_, key, path_);
}

template bool GgufFile::get(std::string_view) const;
template int64_t GgufFile::get(std::string_view) const;
template double GgufFile::get(std::string_view) const;
template std::string GgufFile::get(std::string_view) const;
template std::vector<bool> GgufFile::get(std::string_view) const;
template std::vector<int64_t> GgufFile::get(std::string_view) const;
template std::vector<double> GgufFile::get(std::string_view) const;
template std::vector<std::string> GgufFile::get(std::string_view) const;

const TensorInfo* GgufFile::find_tensor(std::string_view name) const {
    const auto found = tensor_index_.find(name);
    return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

size_t GgufFile::n_bytes() const {
    size_t total = 0;
    for (const MemoryRegion& region : regions_) total += region.bytes.size();
    return total;
}

}  // namespace minicpmo
