#include "text/system_prompt.h"

#include <array>
#include <utility>

#include "base/error.h"

namespace minicpmo {
namespace {

constexpr const char* kDefaultPrompt =
    "You are a helpful assistant. You can accept audio and text input and output voice and text.";
constexpr const char* kNoVoicePrefix = "Use the <reserved_53> voice.";  // plain text: no such token exists

// What stands before and after the reference audio.
struct VoicePrompt {
    std::string_view mode, prefix, suffix;
};

constexpr std::array<VoicePrompt, 4> kChinesePrompts = {{
    {"omni", "模仿音频样本的音色并生成新的内容。",
     "请用这种声音风格来为用户提供帮助。 请认真、高质量地回复用户的问题。 请用高自然度的方式和用户聊天。"},
    {"audio_assistant", "模仿音频样本的音色并生成新的内容。",
     "你的任务是用这种声音模式来当一个助手。请认真、高质量地回复用户的问题。请用高自然度的方式和用户聊天。"
     "你是由面壁智能开发的人工智能助手：面壁小钢炮。"},
    {"audio_roleplay", "模仿输入音频中的声音特征。", "假装你是上述音频中的人物，与我进行对话。"},
    {"voice_cloning", "模仿输入音频中的声音特征。", ""},
}};
constexpr std::array<VoicePrompt, 4> kEnglishPrompts = {{
    {"omni", "Clone the voice in the provided audio prompt.",
     "As an assistant, you will speak using this voice style."},
    {"audio_assistant", "Use the voice in the audio prompt to synthesize new content.",
     "You are a helpful assistant with the above voice style."},
    {"audio_roleplay", "Clone the voice in the provided audio prompt.",
     "Try to role-play the character based on the audio prompt above."},
    {"voice_cloning", "Clone the voice in the provided audio prompt.", ""},
}};

ContentPart text_part(std::string_view text) { return {PartKind::text, std::string(text), -1}; }

std::vector<ContentPart> voice_content(const VoicePrompt& prompt, bool has_reference_audio) {
    if (!has_reference_audio) {
        check<ArgumentError>(prompt.mode != "voice_cloning",
                             "[system prompt] expected reference audio, got none (mode voice_cloning)");
        if (prompt.mode == "omni") return {text_part("")};
        return {text_part(kNoVoicePrefix), text_part(prompt.suffix)};
    }
    std::vector<ContentPart> content = {text_part(prompt.prefix), {PartKind::audio, "", 0}};
    if (!prompt.suffix.empty()) content.push_back(text_part(prompt.suffix));
    return content;
}

}  // namespace

ChatMessage system_prompt(bool has_reference_audio, std::string_view mode, std::string_view language) {
    for (const VoicePrompt& prompt : language == "zh" ? kChinesePrompts : kEnglishPrompts) {
        if (prompt.mode == mode) return {Role::system, voice_content(prompt, has_reference_audio)};
    }
    return {Role::system, {text_part(kDefaultPrompt)}};
}

}  // namespace minicpmo
