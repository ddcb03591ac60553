#pragma once
// ChatFormat: what stands around the turns of a conversation. A model file says it in its chat template; of
// those only the facts below are read, the template itself is never run.

#include <string>
#include <string_view>

namespace minicpmo {

struct ChatFormat {
    std::string begin;                        // of a conversation: a token, or nothing
    std::string turn_begin = "<|im_start|>";  // before the name of a role
    std::string role_end = "\n";              // behind it
    std::string turn_end = "<|im_end|>\n";
    std::string default_system;  // said first where no message is the system's; maybe nothing
    bool thinks = true;          // an answer begins with thoughts, or with an empty pair of tags
    std::string thought_begin;   // opens an answer that is to have thoughts
    bool trims = false;          // what is said stands without spaces around it
    std::string spoken_begin = "<|tts_bos|>";  // opens an answer that is to be said
    // A session's first message says how to answer, though it is a user's: a turn of its own, never a part
    // of the next user's.
    bool user_instructs = false;

    std::string open_turn(std::string_view role) const { return turn_begin + std::string(role) + role_end; }
};

// By the marks that templates of the family and of the models it descends from contain; one without any says
// nothing, and the answer is that of Qwen3.
ChatFormat read_chat_format(std::string_view chat_template);

}  // namespace minicpmo
