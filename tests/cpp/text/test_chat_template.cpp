#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/chat_template.h"
#include "text/system_prompt.h"

using namespace minicpmo;

namespace {

const std::string kAnswer = "<|im_start|>assistant\n<think>\n\n</think>\n\n";

ContentPart text(std::string words) { return {PartKind::text, std::move(words), -1}; }
ContentPart image(int media) { return {PartKind::image, "", media}; }
ContentPart audio(int media) { return {PartKind::audio, "", media}; }

ChatMessage user(std::string words) { return {Role::user, {text(std::move(words))}}; }
ChatMessage assistant(std::string words) { return {Role::assistant, {text(std::move(words))}}; }

std::string render(const std::vector<ChatMessage>& messages, const TemplateOptions& options = {}) {
    return rendered_text(render_chat(messages, options));
}

std::vector<std::string> contents(const ChatMessage& message) {
    std::vector<std::string> out;
    for (const ContentPart& part : message.content) {
        out.push_back(part.kind == PartKind::audio ? "AUDIO " + std::to_string(part.media) : part.text);
    }
    return out;
}
using Contents = std::vector<std::string>;

}  // namespace

TEST_CASE("A question is rendered as the official code prints it") {
    CHECK(render({user("Hello, who are you?")}) ==
          "<|im_start|>user\nHello, who are you?<|im_end|>\n" + kAnswer);
    CHECK(render({user("Hello, who are you?")}, {.enable_thinking = true}) ==
          "<|im_start|>user\nHello, who are you?<|im_end|>\n<|im_start|>assistant\n");
    CHECK(render({user("q")}, {.use_tts = true}) ==
          "<|im_start|>user\nq<|im_end|>\n" + kAnswer + "<|tts_bos|>");
    CHECK(render({user("q")}, {.add_generation_prompt = false}) == "<|im_start|>user\nq<|im_end|>\n");
}

TEST_CASE("Media slots and text are joined by the separator") {
    const ChatMessage message = {Role::user, {image(0), image(1), text("Compare.")}};
    CHECK(render({message}) ==
          "<|im_start|>user\n<image>./</image>\n<image>./</image>\nCompare.<|im_end|>\n" + kAnswer);
    const ChatMessage system = {Role::system, {text("Clone."), audio(0), text("Be helpful.")}};
    const ChatMessage omni = {Role::user, {image(0), audio(1), image(1), audio(2)}};
    CHECK(render({system, omni}, {.use_tts = true, .separator = ""}) ==
          "<|im_start|>system\nClone.<audio>./</audio>Be helpful.<|im_end|>\n<|im_start|>user\n"
          "<image>./</image><audio>./</audio><image>./</image><audio>./</audio><|im_end|>\n" +
              kAnswer + "<|tts_bos|>");
}

TEST_CASE("Turns follow one another and a later system message keeps its place") {
    const std::string expected =
        "<|im_start|>user\n<image>./</image>\nproduction date<|im_end|>\n"
        "<|im_start|>assistant\n2023.08.04<|im_end|>\n<|im_start|>system\nshort<|im_end|>\n"
        "<|im_start|>user\nagain<|im_end|>\n";
    CHECK(render({{Role::user, {image(0), text("production date")}},
                  assistant("2023.08.04"),
                  {Role::system, {text("short")}},
                  user("again")}) == expected + kAnswer);
}

TEST_CASE("Slots keep their media index and their place") {
    const auto segments = render_content({text("a"), image(3), audio(5), text("b")}, {.separator = ""});
    REQUIRE(segments.size() == 4);
    CHECK(segments[0].span.text == "a");
    CHECK((segments[1].kind == PartKind::image && segments[1].media == 3));
    CHECK((segments[2].kind == PartKind::audio && segments[2].media == 5));
    CHECK(segments[3].span.text == "b");
    CHECK(rendered_text(render_content({text("a"), text("b")}, {})) == "a\nb");
    CHECK(render_content({}, {}).empty());
}

TEST_CASE("Only the template's own text is parsed for special tokens") {
    const auto trusted = [](const TemplateOptions& options) {
        std::string out;
        for (const Segment& segment : render_chat({user("<|im_end|>"), assistant("<think>\ny\n</think>\n\nx"),
                                                   user("z"), assistant("<think>w</think>v")},
                                                  options)) {
            if (segment.span.parse_special) out += segment.span.text;
        }
        return out;
    };
    const TemplateOptions options;
    CHECK(trusted(options) ==
          "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n<|im_start|>user\n<|im_end|>\n"
          "<|im_start|>assistant\n<think>\n\n</think>\n\n<|im_end|>\n" +
              kAnswer);
    CHECK(trusted({.parse_special = true}) ==
          rendered_text(render_chat(
              {user("<|im_end|>"), assistant("x"), user("z"), assistant("<think>w</think>v")}, {})));
}

TEST_CASE("Thoughts of turns before the last question are dropped") {
    CHECK(render({user("q"), assistant("<think>\nhm\n</think>\n\nyes"), user("r")}) ==
          "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n<|im_start|>user\nr<|im_end|>"
          "\n" +
              kAnswer);
}

TEST_CASE("Thoughts after the last question are shown") {
    const TemplateOptions options = {.add_generation_prompt = false};
    const std::string question = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n";
    CHECK(render({user("q"), assistant("\nyes")}, options) ==
          question + "<think>\n\n</think>\n\nyes<|im_end|>\n");
    CHECK(render({user("q"), assistant("a<think>\n\nx<think>\nhm\n\n</think>n</think>\n\nyes")}, options) ==
          question + "<think>\nhm\n</think>\n\nyes<|im_end|>\n");
    CHECK(render({user("q"), assistant("yes"), assistant("</think>no")}, options) ==
          question + "yes<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nno<|im_end|>\n");
    CHECK(render({user("q"), assistant("hm</think>yes"), assistant("no")}, options) ==
          question +
              "<think>\nhm\n</think>\n\nyes<|im_end|>\n<|im_start|>assistant\n<think>\n\n</"
              "think>\n\nno<|im_end|>\n");
}

TEST_CASE("A tool's response is no question") {
    const TemplateOptions options = {.add_generation_prompt = false};
    const std::string turns =
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\ncall<|im_end|>\n";
    CHECK(render({user("q"), assistant("<think>hm</think>call"), user("<tool_response>1</tool_response>")},
                 options) == turns + "<|im_start|>user\n<tool_response>1</tool_response><|im_end|>\n");
    CHECK(render({user("q"), assistant("<think>hm</think>call"), user("<tool_response>1</tool_response>.")},
                 options) ==
          "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\ncall<|im_end|>\n"
          "<|im_start|>user\n<tool_response>1</tool_response>.<|im_end|>\n");
}

TEST_CASE("An assistant's content with media is left as it is") {
    const ChatMessage answer = {Role::assistant, {text("<think>a</think>b"), image(0)}};
    CHECK(render({user("q"), answer, user("r")}, {.add_generation_prompt = false}) ==
          "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>a</think>b\n<image>./</"
          "image><|im_end|>\n"
          "<|im_start|>user\nr<|im_end|>\n");
}

TEST_CASE("The first message is a user's or the system's") {
    CHECK_THROWS_AS(render({}), ArgumentError);
    CHECK_THROWS_AS(render({assistant("hi"), user("q")}), ArgumentError);
    CHECK_NOTHROW(render({{Role::system, {}}}));
}

TEST_CASE("Roles are read by name") {
    for (Role role : {Role::system, Role::user, Role::assistant}) CHECK(parse_role(role_name(role)) == role);
    CHECK_THROWS_WITH_AS(parse_role("tool"),
                         "[chat template] expected the role system, user or assistant, got 'tool'",
                         ArgumentError);
}

TEST_CASE("System prompts put the reference audio between two sentences") {
    CHECK(contents(system_prompt(true, "omni", "en")) ==
          Contents{"Clone the voice in the provided audio prompt.", "AUDIO 0",
                   "As an assistant, you will speak using this voice style."});
    CHECK(contents(system_prompt(true, "audio_roleplay", "zh")) ==
          Contents{"模仿输入音频中的声音特征。", "AUDIO 0", "假装你是上述音频中的人物，与我进行对话。"});
    CHECK(contents(system_prompt(true, "voice_cloning", "fr")) ==
          Contents{"Clone the voice in the provided audio prompt.", "AUDIO 0"});
    CHECK(system_prompt(true, "omni", "zh").role == Role::system);
}

TEST_CASE("System prompts without reference audio name a stock voice, or nothing") {
    CHECK(contents(system_prompt(false, "omni", "zh")) == Contents{""});
    CHECK(
        contents(system_prompt(false, "audio_assistant", "en")) ==
        Contents{"Use the <reserved_53> voice.", "You are a helpful assistant with the above voice style."});
    CHECK_THROWS_AS(system_prompt(false, "voice_cloning", "en"), ArgumentError);
    const Contents standard = {
        "You are a helpful assistant. You can accept audio and text input and output voice and text."};
    CHECK(contents(system_prompt(true, "anything", "zh")) == standard);
    CHECK(contents(system_prompt(false, "", "en")) == standard);
}

TEST_CASE("A template tells what stands around turns") {
    CHECK(read_chat_format("").thinks);
    CHECK(read_chat_format("{{ messages }}").turn_begin == "<|im_start|>");
    const ChatFormat qwen3 = read_chat_format("'<|im_start|>system\\n' if enable_thinking is false");
    CHECK((qwen3.thinks && qwen3.default_system.empty() && qwen3.thought_begin.empty()));
    CHECK(read_chat_format("<|im_start|> enable_thinking is true '<think>\\n'").thought_begin == "<think>\n");
    const ChatFormat llama3 = read_chat_format("'<|start_header_id|>' content | trim '<|eot_id|>'");
    CHECK((llama3.begin == "<|begin_of_text|>" && llama3.trims && !llama3.thinks));
    for (const char* words :
         {"'<|im_start|>system\\nBe kind.<|im_end|>\\n'", "'<|im_start|>system\nBe kind.<|im_end|>'",
          "'<|im_start|>system\\n' + x '<|im_start|>system\nBe kind.<|im_end|>'"}) {
        CHECK(read_chat_format(words).default_system == "Be kind.");
    }
    for (const char* words : {"<|im_start|>system", "<|im_start|>system\\n",
                              "<|im_start|>system\\n{{ x }}<|im_end|>", "<|im_start|>system\\n<|im_end|>"}) {
        CHECK(read_chat_format(words).default_system.empty());
    }
}

TEST_CASE(
    "A system's words of the template stand where no message is the system's, and the answer is not said") {
    TemplateOptions options;
    options.format = read_chat_format("'<|im_start|>system\\nBe kind.<|im_end|>\\n'");
    const std::string answer = "<|im_start|>assistant\n";
    CHECK(render({user("q")}, options) ==
          "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nq<|im_end|>\n" + answer);
    const ChatMessage system = {Role::system, {text("s")}};
    CHECK(render({system, user("q"), assistant("<think>t</think>a")}, options) ==
          "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n"
          "<|im_start|>assistant\n<think>t</think>a<|im_end|>\n" +
              answer);
    options.use_tts = true;
    options.format.spoken_begin = "<|spk|>";
    CHECK(render({user("q")}, options) == "<|im_start|>user\nq<|im_end|>\n" + answer + "<|spk|>");
}

TEST_CASE("Llama 3's turns stand without the spaces around them") {
    TemplateOptions options;
    options.format = read_chat_format("<|start_header_id|> trim");
    const ChatMessage message = {Role::user, {text("  "), image(0), text("What? \n")}};
    CHECK(render({message}, options) ==
          "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n<image>./</image>\nWhat?<|eot_id|>"
          "<|start_header_id|>assistant<|end_header_id|>\n\n");
    CHECK(render({user(" \n ")}, {.format = options.format, .add_generation_prompt = false}) ==
          "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n<|eot_id|>");
}
