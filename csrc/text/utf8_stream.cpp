#include "text/utf8_stream.h"

#include <utility>

#include "text/unicode.h"

namespace minicpmo {

std::string Utf8Stream::push(std::string_view bytes) {
    pending_ += bytes;
    std::string out;
    std::string_view rest = pending_;
    while (!rest.empty()) {
        const Utf8Character character = first_character(rest);
        if (character.is_incomplete) break;
        append_utf8(out, character.code);
        rest.remove_prefix(character.n_byte);
    }
    pending_.erase(0, pending_.size() - rest.size());
    return out;
}

void Utf8Stream::archive(Archive& archive) {
    constexpr size_t kMaxBytes = 3;  // of a character that is not complete
    archive(pending_);
    check<ModelFileError>(pending_.size() <= kMaxBytes,
                          "[text] expected the begin of a character, got {} bytes", pending_.size());
}

std::string Utf8Stream::finish() { return utf8_lossy(std::exchange(pending_, {})); }

std::string utf8_lossy(std::string_view bytes) {
    std::string out;
    out.reserve(bytes.size());
    while (!bytes.empty()) {
        const Utf8Character character = first_character(bytes);
        append_utf8(out, character.code);
        bytes.remove_prefix(character.n_byte);
    }
    return out;
}

}  // namespace minicpmo
