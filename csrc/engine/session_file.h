#pragma once
// SessionFile: a conversation as a file: which kind it is, which model it belongs to, its state, and a
// checksum of all that.

#include <filesystem>
#include <functional>

#include "base/archive.h"
#include "engine/model.h"

namespace minicpmo {

enum class SessionKind : uint32_t { turns = 1, duplex = 2 };

// Writes beside `path` and renames, so that a file there stays whole whatever happens. Throws Error with the
// path.
void save_session(const std::filesystem::path& path, SessionKind kind, const Model& model,
                  const std::function<void(Archive&)>& write);
// Checks all but what `read` reads before that is called, and that nothing is left behind it. Throws
// ModelFileError with the path.
void load_session(const std::filesystem::path& path, SessionKind kind, const Model& model,
                  const std::function<void(Archive&)>& read);

}  // namespace minicpmo
