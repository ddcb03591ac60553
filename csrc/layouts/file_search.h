#pragma once
// The GGUF files of a folder, for what may belong together.

#include <filesystem>
#include <vector>

namespace minicpmo {

// In the folder and in the folders directly inside it, sorted; of split files the first parts. Folders that
// cannot be read count as empty.
std::vector<std::filesystem::path> find_gguf_files(const std::filesystem::path& folder);

}  // namespace minicpmo
