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
};

struct Message {
    Role role = Role::user;
    std::vector<MessagePart> content;
};

}  // namespace minicpmo
