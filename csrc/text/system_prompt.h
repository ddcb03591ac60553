#pragma once
// The official system prompts. Reference: MiniCPMO.get_sys_prompt(ref_audio, mode, language).

#include <string>
#include <string_view>

#include "text/chat_template.h"

namespace minicpmo {

// mode: omni, audio_assistant, audio_roleplay, voice_cloning, anything else is the default prompt; language
// "zh" or any other. With reference audio the message has an audio part with media index 0. Throws
// ArgumentError for voice_cloning without it.
ChatMessage system_prompt(bool has_reference_audio, std::string_view mode, std::string_view language);

}  // namespace minicpmo
