#pragma once
// MappedFile: a whole file, read-only in memory, for as long as the object lives.
// Reference: mmap of POSIX, MapViewOfFile of Windows.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace minicpmo {

class MappedFile {
public:
    // Throws ModelFileError with the path and the system's reason: absent, a folder, empty, unreadable.
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    std::span<const std::byte> bytes() const { return bytes_; }

private:
    std::span<const std::byte> bytes_;
};

// The path as UTF-8 on every system, for messages.
std::string utf8_path(const std::filesystem::path& path);

}  // namespace minicpmo
