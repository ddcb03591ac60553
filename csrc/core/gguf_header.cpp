#include "core/gguf_header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace minicpmo {

namespace {

static_assert(std::endian::native == std::endian::little,
              "tensor data is used in place, in the file's byte order");

constexpr uint64_t kMaxInt64 = std::numeric_limits<int64_t>::max();
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMinAlignment = 8;  // docs/gguf.md: a multiple of 8
constexpr uint64_t kMaxAlignment = 1ULL << 31;
constexpr uint64_t kMaxKeyBytes = 65535;               // docs/gguf.md
constexpr uint64_t kMaxNameBytes = 63;                 // ggml.h: GGML_MAX_NAME without the end
constexpr uint64_t kMinKeyValueBytes = 8 + 1 + 4 + 1;  // length, a letter, type, a one-byte value
constexpr uint64_t kMinTensorInfoBytes =
    8 + 1 + 4 + 8 + 4 + 8;  // the same; n_dims, a dimension, type, offset

// Decoded values take more memory than their bytes in the file. These limits lie far above every real model
// and keep a large hostile file from using that.
constexpr uint64_t kMaxKeys = 1ULL << 16;
constexpr uint64_t kMaxTensors = 1ULL << 18;
constexpr uint64_t kMaxArrayElements = 1ULL << 24;  // of all arrays of a file together

enum class ValueType : uint32_t {
    uint8,
    int8,
    uint16,
    int16,
    uint32,
    int32,
    float32,
    boolean,
    string,
    array,
    uint64,
    int64,
    float64
};
constexpr std::array<const char*, 13> kValueTypeNames = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                                         "int32",  "float32", "bool",   "string", "array",
                                                         "uint64", "int64",   "float64"};

bool multiply_within(uint64_t& product, uint64_t factor, uint64_t limit) {
    if (factor != 0 && product > limit / factor) return false;
    product *= factor;
    return true;
}

class HeaderReader {
public:
    HeaderReader(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

    GgufHeader read() {
        read_version();
        const uint64_t n_tensor = read_integer<uint64_t>("tensor count");
        const uint64_t n_key = read_integer<uint64_t>("key count");
        check_count("tensors", n_tensor, kMinTensorInfoBytes, kMaxTensors);
        check_count("keys", n_key, kMinKeyValueBytes, kMaxKeys);
        for (uint64_t i = 0; i < n_key; ++i) read_key_value(i);
        read_alignment();
        header_.tensors.reserve(n_tensor);
        for (uint64_t i = 0; i < n_tensor; ++i) read_tensor_info(i);
        place_tensors();
        check_overlaps();
        return std::move(header_);
    }

private:
    std::string_view take(uint64_t n_bytes, const char* what);
    template <class T>
    T read_integer(const char* what) {
        T value;
        std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
        return value;
    }
    std::string_view read_string(const char* what) { return take(read_integer<uint64_t>(what), what); }

    void read_version();
    void check_count(const char* what, uint64_t n, uint64_t min_bytes, uint64_t max) const;
    void read_key_value(uint64_t index);
    ValueType read_value_type(const char* what);
    MetaValue read_value(ValueType type, std::optional<uint64_t> n);
    MetaValue read_array();
    template <class Raw>
    MetaValue read_numbers(std::optional<uint64_t> n);
    MetaValue read_bools(std::optional<uint64_t> n);
    MetaValue read_strings(std::optional<uint64_t> n);
    void read_alignment();
    void read_tensor_info(uint64_t index);
    void read_shape(TensorInfo& info);
    ggml_type read_tensor_type();
    uint64_t n_bytes_of(const TensorInfo& info) const;
    void place_tensors();
    void check_overlaps() const;

    std::span<const std::byte> bytes_;
    const std::string& file_;
    uint64_t position_ = 0;
    std::string subject_ = "the header";  // what is being read, for messages
    uint64_t n_array_element_ = 0;
    uint64_t alignment_ = kDefaultAlignment;
    std::vector<uint64_t> offsets_;  // of each tensor in the data section
    GgufHeader header_;
};

std::string_view HeaderReader::take(uint64_t n_bytes, const char* what) {
    const uint64_t left = bytes_.size() - position_;
    if (n_bytes > left) {
        fail<ModelFileError>(
            "[gguf] expected {} bytes for the {} of {}, got {} up to the end of the file ({})", n_bytes, what,
            subject_, left, file_);
    }
    const auto* start = reinterpret_cast<const char*>(bytes_.data());
    return {start + std::exchange(position_, position_ + n_bytes), n_bytes};
}

void HeaderReader::read_version() {
    const std::string_view magic = take(4, "magic");
    check<ModelFileError>(magic == "GGUF", "[gguf] expected a file that starts with 'GGUF', got {} ({})",
                          printable(magic), file_);
    const uint32_t version = read_integer<uint32_t>("version");
    check<ModelFileError>(
        version != 1, "[gguf] expected version 2 or 3, got the retired version 1: convert again ({})", file_);
    check<ModelFileError>(version == 0 || (version & 0xffff) != 0,
                          "[gguf] expected a little-endian file, got a big-endian one: convert again ({})",
                          file_);
    check<ModelFileError>(version == 2 || version == 3, "[gguf] expected version 2 or 3, got {} ({})",
                          version, file_);
}

void HeaderReader::check_count(const char* what, uint64_t n, uint64_t min_bytes, uint64_t max) const {
    const uint64_t bound = std::min((bytes_.size() - position_) / min_bytes, max);
    check<ModelFileError>(n <= bound, "[gguf] expected at most {} {} in a file of {} bytes, got {} ({})",
                          bound, what, bytes_.size(), n, file_);
}

ValueType HeaderReader::read_value_type(const char* what) {
    const uint32_t type = read_integer<uint32_t>(what);
    check<ModelFileError>(type < kValueTypeNames.size(), "[gguf] expected a {} below {} for {}, got {} ({})",
                          what, kValueTypeNames.size(), subject_, type, file_);
    return static_cast<ValueType>(type);
}

void HeaderReader::read_key_value(uint64_t index) {
    subject_ = format("key number {}", index + 1);
    const std::string_view key = read_string("name");
    check<ModelFileError>(!key.empty() && key.size() <= kMaxKeyBytes,
                          "[gguf] expected a name of 1 to {} bytes for {}, got {} bytes ({})", kMaxKeyBytes,
                          subject_, key.size(), file_);
    subject_ = format("key {}", printable(key));
    const ValueType type = read_value_type("value type");
    check<ModelFileError>(
        key != "general.architecture" || type == ValueType::string,
        "[gguf] expected a string for {}, got the value type {}: some older TTS converters write wrong "
        "type codes, convert again from the original weights ({})",
        subject_, kValueTypeNames[static_cast<size_t>(type)], file_);
    MetaValue value = type == ValueType::array ? read_array() : read_value(type, std::nullopt);
    check<ModelFileError>(header_.metadata.try_emplace(std::string(key), std::move(value)).second,
                          "[gguf] expected each key once, got {} twice ({})", subject_, file_);
}

MetaValue HeaderReader::read_array() {
    const ValueType type = read_value_type("element type");
    check<ModelFileError>(type != ValueType::array,
                          "[gguf] expected plain elements for {}, got nested arrays ({})", subject_, file_);
    const uint64_t n = read_integer<uint64_t>("array length");
    const uint64_t left = kMaxArrayElements - n_array_element_;
    check<ModelFileError>(n <= left, "[gguf] expected an array of at most {} elements for {}, got {} ({})",
                          left, subject_, n, file_);
    n_array_element_ += n;
    return read_value(type, n);
}

// One value, or with `n` an array of so many.
MetaValue HeaderReader::read_value(ValueType type, std::optional<uint64_t> n) {
    switch (type) {
        case ValueType::uint8:
            return read_numbers<uint8_t>(n);
        case ValueType::int8:
            return read_numbers<int8_t>(n);
        case ValueType::uint16:
            return read_numbers<uint16_t>(n);
        case ValueType::int16:
            return read_numbers<int16_t>(n);
        case ValueType::uint32:
            return read_numbers<uint32_t>(n);
        case ValueType::int32:
            return read_numbers<int32_t>(n);
        case ValueType::float32:
            return read_numbers<float>(n);
        case ValueType::boolean:
            return read_bools(n);
        case ValueType::string:
            return read_strings(n);
        case ValueType::uint64:
            return read_numbers<uint64_t>(n);
        case ValueType::int64:
            return read_numbers<int64_t>(n);
        case ValueType::float64:
            return read_numbers<double>(n);
        case ValueType::array:
            break;
    }
    fail<ModelFileError>("[gguf] expected a plain value for {}, got an array ({})", subject_, file_);
}

template <class Raw>
MetaValue HeaderReader::read_numbers(std::optional<uint64_t> n) {
    using Wide = std::conditional_t<std::is_floating_point_v<Raw>, double, int64_t>;
    const size_t n_value = static_cast<size_t>(n.value_or(1));
    const std::string_view taken = take(n_value * sizeof(Raw), "value");
    std::vector<Raw> raw(n_value);
    if (n_value > 0) std::memcpy(raw.data(), taken.data(), taken.size());
    if constexpr (std::is_same_v<Raw, uint64_t>) {
        if (std::any_of(raw.begin(), raw.end(), [](uint64_t v) { return v > kMaxInt64; })) {
            return n ? MetaValue(std::move(raw)) : MetaValue(raw[0]);
        }
    }
    if (!n) return static_cast<Wide>(raw[0]);
    if constexpr (std::is_same_v<Raw, Wide>) return raw;
    return std::vector<Wide>(raw.begin(), raw.end());
}

MetaValue HeaderReader::read_bools(std::optional<uint64_t> n) {
    std::vector<bool> values;
    for (const char value : take(n.value_or(1), "value")) {
        check<ModelFileError>(value == 0 || value == 1,
                              "[gguf] expected 0 or 1 for the bool of {}, got {} ({})", subject_, int{value},
                              file_);
        values.push_back(value == 1);
    }
    if (!n) return MetaValue(static_cast<bool>(values[0]));
    return values;
}

MetaValue HeaderReader::read_strings(std::optional<uint64_t> n) {
    if (!n) return std::string(read_string("value"));
    const uint64_t bound =
        (bytes_.size() - position_) / sizeof(uint64_t);  // each string has at least its length
    check<ModelFileError>(*n <= bound,
                          "[gguf] expected at most {} strings for {} in the rest of the file, got {} ({})",
                          bound, subject_, *n, file_);
    std::vector<std::string> values;
    values.reserve(*n);
    for (uint64_t i = 0; i < *n; ++i) values.emplace_back(read_string("array element"));
    return values;
}

void HeaderReader::read_alignment() {
    const auto found = header_.metadata.find("general.alignment");
    if (found == header_.metadata.end()) return;
    const int64_t* value = std::get_if<int64_t>(&found->second);
    check<ModelFileError>(value != nullptr,
                          "[gguf] expected an integer for key 'general.alignment', got another kind ({})",
                          file_);
    const uint64_t alignment = static_cast<uint64_t>(*value);
    check<ModelFileError>(
        alignment >= kMinAlignment && alignment <= kMaxAlignment && std::has_single_bit(alignment),
        "[gguf] expected a power of two from {} to {} for key 'general.alignment', got {} ({})",
        kMinAlignment, kMaxAlignment, *value, file_);
    alignment_ = alignment;
}

void HeaderReader::read_tensor_info(uint64_t index) {
    subject_ = format("tensor number {}", index + 1);
    TensorInfo info;
    const std::string_view name = read_string("name");
    check<ModelFileError>(!name.empty() && name.size() <= kMaxNameBytes,
                          "[gguf] expected a name of 1 to {} bytes for {}, got {} bytes ({})", kMaxNameBytes,
                          subject_, name.size(), file_);
    info.name = name;
    subject_ = format("tensor {}", printable(name));
    // ggml's names end at a zero byte: what follows it would be lost, and two names could become one.
    check<ModelFileError>(name.find('\0') == std::string_view::npos,
                          "[gguf] expected a name without zero bytes, got {} ({})", subject_, file_);
    read_shape(info);
    info.type = read_tensor_type();
    const uint64_t offset = read_integer<uint64_t>("offset");
    check<ModelFileError>(offset % alignment_ == 0,
                          "[gguf] expected an offset aligned to {} bytes for {}, got {} ({})", alignment_,
                          subject_, offset, file_);
    offsets_.push_back(offset);
    header_.tensors.push_back(std::move(info));
}

void HeaderReader::read_shape(TensorInfo& info) {
    const uint32_t n_dims = read_integer<uint32_t>("dimension count");
    check<ModelFileError>(n_dims >= 1 && n_dims <= info.ne.size(),
                          "[gguf] expected 1 to {} dimensions for {}, got {} ({})", info.ne.size(), subject_,
                          n_dims, file_);
    info.n_dims = static_cast<int>(n_dims);
    uint64_t n_element = 1;
    for (uint32_t i = 0; i < n_dims; ++i) {
        const uint64_t extent = read_integer<uint64_t>("dimensions");
        check<ModelFileError>(
            extent >= 1 && multiply_within(n_element, extent, kMaxInt64),
            "[gguf] expected dimensions of at least 1 with a 63-bit product for {}, got {} in "
            "dimension {} ({})",
            subject_, extent, i, file_);
        info.ne[i] = static_cast<int64_t>(extent);
    }
}

ggml_type HeaderReader::read_tensor_type() {
    const uint32_t id = read_integer<uint32_t>("type");
    check<ModelFileError>(id < GGML_TYPE_COUNT,
                          "[gguf] expected a tensor type below {} for {}, got the unknown type {} ({})",
                          static_cast<int>(GGML_TYPE_COUNT), subject_, id, file_);
    const ggml_type type = static_cast<ggml_type>(id);
    check<ModelFileError>(
        ggml_blck_size(type) > 0 && ggml_type_size(type) > 0,
        "[gguf] expected a current tensor type for {}, got the removed type {}: convert again ({})", subject_,
        id, file_);
    return type;
}

uint64_t HeaderReader::n_bytes_of(const TensorInfo& info) const {
    const int64_t block = ggml_blck_size(info.type);
    check<ModelFileError>(
        info.ne[0] % block == 0,
        "[gguf] expected rows that are a multiple of {} for tensor {} of type {}, got {} ({})", block,
        printable(info.name), ggml_type_name(info.type), info.ne[0], file_);
    uint64_t n_bytes = static_cast<uint64_t>(info.ne[0] / block);
    bool fits = multiply_within(n_bytes, ggml_type_size(info.type), kMaxInt64);
    for (size_t i = 1; i < info.ne.size(); ++i) {
        fits = fits && multiply_within(n_bytes, static_cast<uint64_t>(info.ne[i]), kMaxInt64);
    }
    check<ModelFileError>(fits,
                          "[gguf] expected a byte count of at most 63 bits for tensor {}, got more ({})",
                          printable(info.name), file_);
    return n_bytes;
}

// The data section starts at the next aligned position after the header; a file without tensors may end
// before it.
void HeaderReader::place_tensors() {
    const uint64_t start = (position_ + alignment_ - 1) / alignment_ * alignment_;
    const uint64_t available = start < bytes_.size() ? bytes_.size() - start : 0;
    for (size_t i = 0; i < header_.tensors.size(); ++i) {
        TensorInfo& info = header_.tensors[i];
        const uint64_t n_bytes = n_bytes_of(info);
        check<ModelFileError>(
            n_bytes <= available && offsets_[i] <= available - n_bytes,
            "[gguf] expected {} bytes at offset {} for tensor {}, got a data section of {} bytes: is "
            "the file cut short? ({})",
            n_bytes, offsets_[i], printable(info.name), available, file_);
        info.data = bytes_.subspan(start + offsets_[i], n_bytes);
    }
}

void HeaderReader::check_overlaps() const {
    std::vector<size_t> order(offsets_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [this](size_t a, size_t b) { return offsets_[a] < offsets_[b]; });
    for (size_t i = 1; i < order.size(); ++i) {
        const TensorInfo& before = header_.tensors[order[i - 1]];
        const TensorInfo& after = header_.tensors[order[i]];
        check<ModelFileError>(before.data.data() + before.data.size() <= after.data.data(),
                              "[gguf] expected separate data for each tensor, got {} and {} overlapping ({})",
                              printable(before.name), printable(after.name), file_);
    }
}

}  // namespace

GgufHeader read_gguf_header(std::span<const std::byte> bytes, const std::string& file) {
    return HeaderReader(bytes, file).read();
}

std::string printable(std::string_view text) {
    constexpr size_t kMaxShown = 80;
    constexpr std::string_view kHexDigits = "0123456789abcdef";
    std::string shown = "'";
    for (const char c : text.substr(0, kMaxShown)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f) {
            shown += c;
        } else {
            shown += "\\x";
            shown += kHexDigits[byte >> 4];
            shown += kHexDigits[byte & 15];
        }
    }
    return shown + (text.size() > kMaxShown ? "...'" : "'");
}

}  // namespace minicpmo
