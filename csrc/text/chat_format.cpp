#include "text/chat_format.h"

namespace minicpmo {

namespace {

bool holds(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// The words of a system turn that the template spells out: '<|im_start|>system\nWORDS<|im_end|>', with \n as
// Jinja writes it, or as a line break.
std::string spelled_system(std::string_view chat_template) {
    constexpr std::string_view kBegin = "<|im_start|>system", kEnd = "<|im_end|>";
    for (size_t at = 0; (at = chat_template.find(kBegin, at)) != std::string_view::npos;) {
        at += kBegin.size();
        std::string_view rest = chat_template.substr(at);
        if (rest.starts_with("\\n")) {
            rest.remove_prefix(2);
        } else if (rest.starts_with("\n")) {
            rest.remove_prefix(1);
        } else {
            continue;
        }
        const size_t end = rest.find(kEnd);
        const std::string_view words = rest.substr(0, end);
        const bool is_plain = words.find_first_of("'\"{}\\") == std::string_view::npos;
        if (end != std::string_view::npos && is_plain && !words.empty()) return std::string(words);
    }
    return "";
}

}  // namespace

ChatFormat read_chat_format(std::string_view chat_template) {
    ChatFormat format;
    if (holds(chat_template, "<|start_header_id|>")) {  // Llama 3
        format.begin = "<|begin_of_text|>";
        format.turn_begin = "<|start_header_id|>";
        format.role_end = "<|end_header_id|>\n\n";
        format.turn_end = "<|eot_id|>";
        format.thinks = false;
        format.trims = holds(chat_template, "trim");
    } else if (holds(chat_template, "<|im_start|>")) {
        format.default_system = spelled_system(chat_template);
        format.thinks = holds(chat_template, "enable_thinking");
        if (holds(chat_template, "enable_thinking is true")) format.thought_begin = "<think>\n";
    }
    return format;
}

}  // namespace minicpmo
