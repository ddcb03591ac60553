#pragma once
// What a process may ask of the system about pages of its memory. Requests only: a system that does not know
// them goes on as it was. Reference: madvise(2) of Linux, admin-guide/mm/transhuge.rst of its kernel.

#include <cstddef>
#include <span>

namespace minicpmo {

// Pages of 2 MiB instead of 4 KiB for memory that nothing was written to yet.
void prefer_large_pages(std::span<std::byte> memory);

// Gives back what was read of a mapped file; it is read again when it is needed. For no other memory.
void drop_file_pages(std::span<const std::byte> mapping);

}  // namespace minicpmo
