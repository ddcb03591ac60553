#pragma once
// The chat template: messages become text spans with image and audio slots between them.
// Reference: tokenizer_config.json chat_template of the members (Qwen3's, Qwen2's, Llama 3's) and
// MiniCPMO.chat's joining of content.

#include <cstdint>
#include <string>
#include <vector>

#include "text/chat_format.h"
#include "text/tokenizer.h"

namespace minicpmo {

enum class Role { system, user, assistant };
Role parse_role(const std::string& name);  // throws ArgumentError naming the three
const char* role_name(Role role);

enum class PartKind { text, image, audio };

struct ContentPart {
    PartKind kind = PartKind::text;
    std::string text;  // of a text part
    int media = -1;    // of an image or audio part: index into the caller's list
};

struct ChatMessage {
    Role role = Role::user;
    std::vector<ContentPart> content;
};

struct TemplateOptions {
    ChatFormat format = {};
    bool add_generation_prompt = true;
    bool enable_thinking = false;
    bool use_tts = false;          // opens the answer as one that is said
    std::string separator = "\n";  // between the parts of one message; empty in omni and streaming mode
    bool parse_special = false;    // recognise special tokens in the caller's own text too
};

// One piece of a rendered prompt: text, or a slot that the prompt builder fills.
struct Segment {
    PartKind kind = PartKind::text;
    TextSpan span;   // of a text segment
    int media = -1;  // of a slot
};

std::vector<Segment> render_chat(const std::vector<ChatMessage>& messages, const TemplateOptions& options);
// The parts of one message joined by the separator, without role tags: what streaming prefill appends to an
// open turn.
std::vector<Segment> render_content(const std::vector<ContentPart>& content, const TemplateOptions& options);
std::string generation_prompt(const TemplateOptions& options);  // "<|im_start|>assistant\n..."
// What a conversation opens with: its first token, and what the system says where no message does.
std::string opening(Role first, const TemplateOptions& options);
// All segments as one string, slots written "<image>./</image>" and "<audio>./</audio>" as the official code
// prints them.
std::string rendered_text(const std::vector<Segment>& segments);

}  // namespace minicpmo
