#include "text/chat_template.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace minicpmo {
namespace {

constexpr std::string_view kThinkBegin = "<think>";
constexpr std::string_view kThinkEnd = "</think>";

// Builds a prompt; neighbouring text of the same trust becomes one segment.
class SegmentList {
public:
    void add_text(std::string_view text, bool parse_special) {
        if (text.empty()) return;
        const bool continues = !segments_.empty() && segments_.back().kind == PartKind::text &&
                               segments_.back().span.parse_special == parse_special;
        if (!continues) segments_.push_back({PartKind::text, {"", parse_special}, -1});
        segments_.back().span.text += text;
    }
    void add_template(std::string_view text) { add_text(text, true); }
    void add(const std::vector<Segment>& segments) {
        for (const Segment& segment : segments) {
            if (segment.kind == PartKind::text) {
                add_text(segment.span.text, segment.span.parse_special);
            } else {
                segments_.push_back(segment);
            }
        }
    }
    std::vector<Segment> take() { return std::move(segments_); }

private:
    std::vector<Segment> segments_;
};

std::string_view without_newlines_in_front(std::string_view text) {
    return text.substr(std::min(text.find_first_not_of('\n'), text.size()));
}

std::string_view without_newlines_behind(std::string_view text) {
    return text.substr(0, text.find_last_not_of('\n') + 1);  // npos + 1 is 0
}

// An assistant's turn: what it thought, without the tags, and what it said.
struct AssistantTurn {
    std::string reasoning;
    std::vector<Segment> answer;
};

AssistantTurn split_thinking(const ChatMessage& message, const TemplateOptions& options) {
    std::vector<Segment> segments = render_content(message.content, options);
    // With media in it the content is no string to search; otherwise it is one segment, or none.
    if (segments.size() != 1 || segments[0].kind != PartKind::text) return {"", std::move(segments)};
    std::string_view content = segments[0].span.text;
    const size_t first_end = content.find(kThinkEnd);
    if (first_end == std::string_view::npos) return {"", std::move(segments)};
    std::string_view reasoning = without_newlines_behind(content.substr(0, first_end));
    if (const size_t begin = reasoning.rfind(kThinkBegin); begin != std::string_view::npos) {
        reasoning.remove_prefix(begin + kThinkBegin.size());
    }
    content.remove_prefix(content.rfind(kThinkEnd) + kThinkEnd.size());
    SegmentList answer;
    answer.add_text(without_newlines_in_front(content), options.parse_special);
    return {std::string(without_newlines_in_front(reasoning)), answer.take()};
}

bool is_tool_response(const ChatMessage& message, const TemplateOptions& options) {
    const std::string content = rendered_text(render_content(message.content, options));
    return content.starts_with("<tool_response>") && content.ends_with("</tool_response>");
}

// Thinking is shown only in turns that answer the last question, which a tool's response is not.
size_t last_question(const std::vector<ChatMessage>& messages, const TemplateOptions& options) {
    for (size_t i = messages.size(); i-- > 0;) {
        if (messages[i].role == Role::user && !is_tool_response(messages[i], options)) return i;
    }
    return messages.size() - 1;
}

// Jinja's trim of a message's content, which a slot for media at an end stops.
void trim_ends(std::vector<Segment>& segments) {
    constexpr std::string_view kSpaces = " \t\n\r\v\f";
    if (segments.empty()) return;
    if (segments.front().kind == PartKind::text) {
        std::string& text = segments.front().span.text;
        text.erase(0, std::min(text.find_first_not_of(kSpaces), text.size()));
    }
    if (segments.back().kind == PartKind::text) {
        std::string& text = segments.back().span.text;
        text.erase(text.find_last_not_of(kSpaces) + 1);
    }
}

void check_roles(const std::vector<ChatMessage>& messages) {
    check<ArgumentError>(!messages.empty(), "[chat template] expected at least one message, got none");
    check<ArgumentError>(messages[0].role != Role::assistant,
                         "[chat template] expected a system or user message first, got one of role {}",
                         role_name(messages[0].role));
}

void add_thinking_turn(SegmentList& list, AssistantTurn turn, const TemplateOptions& options) {
    list.add_template("<think>\n");
    list.add_text(without_newlines_behind(turn.reasoning), options.parse_special);
    list.add_template("\n</think>\n\n");
    if (!turn.answer.empty() && turn.answer[0].kind == PartKind::text) {
        std::string& first = turn.answer[0].span.text;
        first = std::string(without_newlines_in_front(first));
    }
    list.add(turn.answer);
}

}  // namespace

Role parse_role(const std::string& name) {
    for (Role role : {Role::system, Role::user, Role::assistant}) {
        if (name == role_name(role)) return role;
    }
    fail<ArgumentError>("[chat template] expected the role system, user or assistant, got '{}'", name);
}

const char* role_name(Role role) {
    switch (role) {
        case Role::system:
            return "system";
        case Role::user:
            return "user";
        case Role::assistant:
            return "assistant";
    }
    return "unknown";
}

std::vector<Segment> render_content(const std::vector<ContentPart>& content, const TemplateOptions& options) {
    SegmentList list;
    for (size_t i = 0; i < content.size(); ++i) {
        const ContentPart& part = content[i];
        if (i > 0) list.add_text(options.separator, options.parse_special);
        if (part.kind == PartKind::text) {
            list.add_text(part.text, options.parse_special);
        } else {
            list.add({{part.kind, {}, part.media}});
        }
    }
    std::vector<Segment> segments = list.take();
    if (options.format.trims) trim_ends(segments);
    return segments;
}

std::string opening(Role first, const TemplateOptions& options) {
    const ChatFormat& format = options.format;
    // NOTE: an answer that is said has a template of its own in the reference, without a system of its own.
    if (first == Role::system || format.default_system.empty() || options.use_tts) return format.begin;
    return format.begin + format.open_turn(role_name(Role::system)) + format.default_system + format.turn_end;
}

std::string generation_prompt(const TemplateOptions& options) {
    const ChatFormat& format = options.format;
    std::string prompt = format.open_turn(role_name(Role::assistant));
    if (format.thinks) prompt += options.enable_thinking ? format.thought_begin : "<think>\n\n</think>\n\n";
    if (options.use_tts) prompt += format.spoken_begin;
    return prompt;
}

std::vector<Segment> render_chat(const std::vector<ChatMessage>& messages, const TemplateOptions& options) {
    check_roles(messages);
    const ChatFormat& format = options.format;
    const size_t question = last_question(messages, options);
    SegmentList list;
    list.add_template(opening(messages[0].role, options));
    for (size_t i = 0; i < messages.size(); ++i) {
        list.add_template(format.open_turn(role_name(messages[i].role)));
        if (messages[i].role == Role::assistant && format.thinks) {
            AssistantTurn turn = split_thinking(messages[i], options);
            const bool shows_thinking = i > question && (i + 1 == messages.size() || !turn.reasoning.empty());
            if (shows_thinking) {
                add_thinking_turn(list, std::move(turn), options);
            } else {
                list.add(turn.answer);
            }
        } else {
            list.add(render_content(messages[i].content, options));
        }
        list.add_template(format.turn_end);
    }
    if (options.add_generation_prompt) list.add_template(generation_prompt(options));
    return list.take();
}

std::string rendered_text(const std::vector<Segment>& segments) {
    std::string text;
    for (const Segment& segment : segments) {
        switch (segment.kind) {
            case PartKind::text:
                text += segment.span.text;
                break;
            case PartKind::image:
                text += "<image>./</image>";
                break;
            case PartKind::audio:
                text += "<audio>./</audio>";
                break;
        }
    }
    return text;
}

}  // namespace minicpmo
