#include "core/mapped_file.h"

#include <cstdint>
#include <limits>
#include <system_error>

#include "base/error.h"

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#endif

namespace minicpmo {

namespace {

[[noreturn]] void fail_system(std::string_view action, const std::filesystem::path& path) {
#ifdef _WIN32
    const std::error_code reason(static_cast<int>(GetLastError()), std::system_category());
#else
    const std::error_code reason(errno, std::generic_category());
#endif
    fail<ModelFileError>("[mapped_file] cannot {} {}: {}", action, utf8_path(path), reason.message());
}

// Opening a pipe would wait for a writer, and a folder opens on some systems: both are refused by name first.
void check_regular(const std::filesystem::path& path) {
    std::error_code reason;
    const std::filesystem::file_status status = std::filesystem::status(path, reason);
    if (status.type() == std::filesystem::file_type::none ||
        status.type() == std::filesystem::file_type::not_found) {
        fail<ModelFileError>("[mapped_file] cannot open {}: {}", utf8_path(path),
                             reason ? reason.message() : "no such file");
    }
    if (!std::filesystem::is_regular_file(status)) {
        fail<ModelFileError>("[mapped_file] expected a file, got a {} ({})",
                             std::filesystem::is_directory(status) ? "folder" : "device, pipe or socket",
                             utf8_path(path));
    }
}

size_t checked_size(uint64_t n_bytes, const std::filesystem::path& path) {
    check<ModelFileError>(n_bytes > 0, "[mapped_file] expected a file with content, got an empty one ({})",
                          utf8_path(path));
    check<ModelFileError>(n_bytes <= std::numeric_limits<size_t>::max() / 2,
                          "[mapped_file] expected a file that fits the address space, got {} bytes ({})",
                          n_bytes, utf8_path(path));
    return static_cast<size_t>(n_bytes);
}

#ifdef _WIN32

class Handle {
public:
    explicit Handle(HANDLE handle) : handle_(handle) {}
    ~Handle() {
        if (*this) CloseHandle(handle_);
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    explicit operator bool() const { return handle_ != nullptr && handle_ != INVALID_HANDLE_VALUE; }
    HANDLE get() const { return handle_; }

private:
    HANDLE handle_;
};

// The view keeps the mapping and the file open, so both handles can go at once.
std::span<const std::byte> map_whole(const std::filesystem::path& path) {
    const Handle file(CreateFileW(path.c_str(), GENERIC_READ, FILE_SHARE_READ, nullptr, OPEN_EXISTING,
                                  FILE_ATTRIBUTE_NORMAL, nullptr));
    if (!file) fail_system("open", path);
    LARGE_INTEGER end;
    if (!GetFileSizeEx(file.get(), &end)) fail_system("read the size of", path);
    const size_t n_bytes = checked_size(static_cast<uint64_t>(end.QuadPart), path);
    const Handle mapping(CreateFileMappingW(file.get(), nullptr, PAGE_READONLY, 0, 0, nullptr));
    if (!mapping) fail_system("map", path);
    const void* view = MapViewOfFile(mapping.get(), FILE_MAP_READ, 0, 0, n_bytes);
    if (view == nullptr) fail_system("map", path);
    return {static_cast<const std::byte*>(view), n_bytes};
}

void unmap(std::span<const std::byte> bytes) { UnmapViewOfFile(bytes.data()); }

#else

class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }

private:
    int fd_;
};

// The mapping outlives the descriptor. Shared, so that the page cache holds the only copy.
std::span<const std::byte> map_whole(const std::filesystem::path& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) fail_system("open", path);
    struct stat status = {};
    if (::fstat(file.get(), &status) != 0) fail_system("read the size of", path);
    const size_t n_bytes = checked_size(static_cast<uint64_t>(status.st_size), path);
    void* view = ::mmap(nullptr, n_bytes, PROT_READ, MAP_SHARED, file.get(), 0);
    if (view == MAP_FAILED) fail_system("map", path);
    return {static_cast<const std::byte*>(view), n_bytes};
}

void unmap(std::span<const std::byte> bytes) { ::munmap(const_cast<std::byte*>(bytes.data()), bytes.size()); }

#endif

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
    check_regular(path);
    bytes_ = map_whole(path);
}

MappedFile::~MappedFile() { unmap(bytes_); }

std::string utf8_path(const std::filesystem::path& path) {
    const std::u8string text = path.u8string();
    return {text.begin(), text.end()};
}

}  // namespace minicpmo
