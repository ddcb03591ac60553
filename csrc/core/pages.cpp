#include "core/pages.h"

#include <cstdint>

#ifndef _WIN32
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace minicpmo {

namespace {

// The whole pages inside of it.
[[maybe_unused]] std::span<std::byte> inner_pages(std::span<const std::byte> memory, size_t page) {
    const auto begin = reinterpret_cast<uintptr_t>(memory.data());
    const uintptr_t first = (begin + page - 1) / page * page;
    const uintptr_t end = (begin + memory.size()) / page * page;
    if (end <= first) return {};
    return {const_cast<std::byte*>(memory.data()) + (first - begin), end - first};
}

}  // namespace

void prefer_large_pages([[maybe_unused]] std::span<std::byte> memory) {
#ifdef MADV_HUGEPAGE
    constexpr size_t kLargePage = size_t{2} << 20;
    const std::span<std::byte> pages = inner_pages(memory, kLargePage);
    if (!pages.empty()) ::madvise(pages.data(), pages.size(), MADV_HUGEPAGE);
#endif
}

void drop_file_pages([[maybe_unused]] std::span<const std::byte> mapping) {
#ifdef MADV_DONTNEED
    const std::span<std::byte> pages = inner_pages(mapping, static_cast<size_t>(::sysconf(_SC_PAGESIZE)));
    if (!pages.empty()) ::madvise(pages.data(), pages.size(), MADV_DONTNEED);
#endif
}

}  // namespace minicpmo
