#include "layouts/file_search.h"

#include <algorithm>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/log.h"
#include "core/mapped_file.h"

namespace minicpmo {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMostFiles = 256;  // no model has so many; a folder of everything has

// Ends in -0000N-of-0000M.gguf with N above 1.
bool is_later_part(const std::string& name) {
    constexpr std::string_view kFirst = "-00001-of-";
    const size_t at = name.rfind("-of-");
    return at != std::string::npos && at >= 6 && name[at - 6] == '-' &&
           name.compare(at - 6, kFirst.size(), kFirst) != 0;
}

void append_files(const fs::path& folder, bool enters, std::vector<fs::path>& files) {
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
        std::error_code ignored;
        const fs::path& path = entry->path();
        if (entry->is_directory(ignored)) {
            if (enters) append_files(path, false, files);
        } else if (path.extension() == ".gguf" && entry->is_regular_file(ignored) &&
                   !is_later_part(utf8_path(path.filename()))) {
            files.push_back(path);
        }
    }
}

}  // namespace

std::vector<fs::path> find_gguf_files(const fs::path& folder) {
    std::vector<fs::path> files;
    append_files(folder.empty() ? fs::path(".") : folder, true, files);
    std::sort(files.begin(), files.end());
    if (files.size() > kMostFiles) {
        log(LogLevel::warn,
            format("[files] expected at most {} GGUF files, got {}: the first ones count ({})", kMostFiles,
                   files.size(), utf8_path(folder)));
        files.resize(kMostFiles);
    }
    return files;
}

}  // namespace minicpmo
