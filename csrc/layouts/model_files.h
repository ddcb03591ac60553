#pragma once
// The files of one model, found, told apart by what is in them, and read as one in our schema.

#include <filesystem>
#include <memory>
#include <span>

#include "core/gguf_file.h"
#include "layouts/module_choice.h"

namespace minicpmo {

// `path` is a whole model; or a folder of files; or any file of a published set. Then `parts` are the others,
// and if there are none and it `looks_around`, those that lie beside it (or one folder up) and fit. A
// language model without any is returned as it is. Of modules that are not chosen nothing is there, and
// nothing is rewritten. Throws ModelFileError, UnsupportedModelError.
std::shared_ptr<const GgufFile> open_model(const std::filesystem::path& path,
                                           std::span<const std::filesystem::path> parts = {},
                                           bool looks_around = true, const ModuleChoice& choice = {});

}  // namespace minicpmo
