#pragma once
// GgufFile: a GGUF model (v2 or v3, one file or all its splits), memory-mapped and fully validated before
// anyone reads it; or what has been put together from several such files. Reference:
// github.com/ggml-org/ggml, docs/gguf.md; split files as llama.cpp's gguf-split writes them.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/gguf_header.h"

namespace minicpmo {

// Memory that tensors lie in: a mapped file, or values that were made.
struct MemoryRegion {
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> owner;
    bool is_file = true;  // its pages can be dropped and read again
};

class GgufFile {
public:
    // Opens `path`; for a split file (-00001-of-0000N.gguf) all its parts. Throws ModelFileError naming the
    // file, the key or tensor, what was expected and what was found.
    static GgufFile open(const std::filesystem::path& path);
    // A model that is in no file as such. The tensors lie in `regions`; `path` is for messages. Throws
    // ModelFileError if two tensors have one name.
    static GgufFile assemble(const std::filesystem::path& path, Metadata metadata,
                             std::vector<TensorInfo> tensors, std::vector<MemoryRegion> regions);

    const std::filesystem::path& path() const { return path_; }
    bool has(std::string_view key) const { return metadata_.contains(key); }
    // T: bool, int64_t, double, std::string or std::vector of one of those. Numbers are coerced where the
    // value survives unchanged (writers differ in u32, i32, u64, f32, f64). Throws ModelFileError if absent
    // or of another kind.
    template <class T>
    T get(std::string_view key) const;
    template <class T>
    T get_or(std::string_view key, T fallback) const {
        return has(key) ? get<T>(key) : fallback;
    }
    const Metadata& metadata() const { return metadata_; }  // of the first part

    std::span<const TensorInfo> tensors() const { return tensors_; }
    const TensorInfo* find_tensor(std::string_view name) const;  // nullptr if absent
    size_t n_bytes() const;                                      // of all parts together
    std::span<const MemoryRegion> regions() const { return regions_; }

private:
    Metadata append_part(const std::filesystem::path& path);
    void append_tensor(TensorInfo info);
    void append_other_parts();

    std::filesystem::path path_;
    std::vector<MemoryRegion> regions_;
    Metadata metadata_;
    std::vector<TensorInfo> tensors_;
    std::map<std::string, size_t, std::less<>> tensor_index_;
};

}  // namespace minicpmo
