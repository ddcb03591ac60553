#pragma once
// Message: what a caller says, with its pictures and sounds borrowed for the length of one call.

#include <span>
#include <string>
#include <vector>

#include "image/image.h"
#include "text/chat_template.h"

namespace minicpmo {

struct MessagePart {
    PartKind kind = PartKind::text;
    std::string text;              // of a text part
    ImageView image;               // of an image part
    std::span<const float> audio;  // of an audio part: mono samples at the rate the model hears, 16 kHz
    // Of an image part that is several frames of a video: those after `image`, and the times of all, in
    // tenths of a second, -1 for none. One slice of each becomes one picture.
    std::vector<ImageView> later_frames = {};
    std::vector<int32_t> times = {};
};

struct Message {
    Role role = Role::user;
    std::vector<MessagePart> content;
};

}  // namespace minicpmo
