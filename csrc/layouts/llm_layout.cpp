#include <algorithm>
#include <utility>

#include "layouts/adapters.h"

namespace minicpmo {

namespace {

struct Role {
    const char* name;
    const char* token;
};

constexpr Role kRoles[] = {
    {"unk", "<unk>"},
    {"endoftext", "<|endoftext|>"},
    {"im_start", "<|im_start|>"},
    {"im_end", "<|im_end|>"},
    {"think_start", "<think>"},
    {"think_end", "</think>"},
    {"image_start", "<image>"},
    {"image_end", "</image>"},
    {"slice_start", "<slice>"},
    {"slice_end", "</slice>"},
    {"image_id_start", "<image_id>"},
    {"image_id_end", "</image_id>"},
    {"unit_start", "<unit>"},
    {"unit_end", "</unit>"},
    {"audio_start", "<|audio_start|>"},
    {"audio", "<|audio|>"},
    {"audio_end", "<|audio_end|>"},
    {"spk_bos", "<|spk_bos|>"},
    {"spk", "<|spk|>"},
    {"spk_eos", "<|spk_eos|>"},
    {"tts_bos", "<|tts_bos|>"},
    {"tts_eos", "<|tts_eos|>"},
    {"tts_pad", "<|tts_pad|>"},
    {"listen", "<|listen|>"},
    {"speak", "<|speak|>"},
    {"interrupt", "<|interrupt|>"},
    {"turn_bos", "<|turn_bos|>"},
    {"turn_eos", "<|turn_eos|>"},
    {"chunk_bos", "<|chunk_bos|>"},
    {"chunk_eos", "<|chunk_eos|>"},
    {"chunk_tts_bos", "<|chunk_tts_bos|>"},
    {"chunk_tts_eos", "<|chunk_tts_eos|>"},
};
constexpr const char* kTokenTypes = "tokenizer.ggml.token_type";
constexpr int64_t kControl = 3, kUserDefined = 4;  // of these
constexpr const char* kStops[] = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "</s>"};

int64_t find_token(const std::vector<std::string>& tokens, std::string_view token) {
    const auto found = std::find(tokens.begin(), tokens.end(), token);
    return found == tokens.end() ? -1 : found - tokens.begin();
}

bool has_token(const LlmTraits& llm, std::string_view token) { return find_token(llm.tokens, token) >= 0; }

// The number of features that a file makes for a language model or takes of it, by a dimension of a tensor.
bool is_as_wide(const LlmTraits& llm, const GgufFile& file, std::string_view tensor, size_t dimension) {
    const TensorInfo* found = file.find_tensor(tensor);
    return found != nullptr && found->ne[dimension] == llm.n_embd;
}

}  // namespace

LlmTraits read_llm_traits(const GgufFile& file) {
    LlmTraits llm;
    llm.arch = file.get<std::string>("general.architecture");
    if (file.has("minicpmo.llm.arch")) llm.arch = file.get<std::string>("minicpmo.llm.arch");
    llm.n_embd = find_tensor(file, "token_embd.weight", 2).ne[0];
    llm.tokens = file.get_or<std::vector<std::string>>("tokenizer.ggml.tokens", {});
    return llm;
}

bool is_vision_for(const LlmTraits& llm, const GgufFile& file) {
    return is_as_wide(llm, file, "resampler.query", 0) && has_token(llm, "<image>");
}

bool is_audio_for(const LlmTraits& llm, const GgufFile& file) {
    return is_as_wide(llm, file, "audio_projector.linear2.weight", 1) && has_token(llm, "<|audio_start|>");
}

bool is_projector_for(const LlmTraits& llm, const GgufFile& file) {
    return is_as_wide(llm, file, "linear1.weight", 0) && has_token(llm, "<|tts_bos|>");
}

bool is_tts_for(const LlmTraits& llm, const GgufFile& file) {
    const char* projector = "projector_semantic.linear1.weight";
    return has_token(llm, "<|tts_bos|>") &&
           (file.find_tensor(projector) == nullptr || is_as_wide(llm, file, projector, 0));
}

bool is_supplement_for(const LlmTraits& llm, const GgufFile& file) {
    return file.get_or<std::string>("minicpmo.llm.arch", "") == llm.arch &&
           file.get_or<int64_t>("minicpmo.resampler.embedding_length", llm.n_embd) == llm.n_embd &&
           file.get_or<int64_t>("minicpmo.tts.llm_embedding_length", llm.n_embd) == llm.n_embd;
}

void add_llm_facts(Container& container, const GgufFile& file) {
    const LlmTraits llm = read_llm_traits(file);
    container.set("general.architecture", std::string("minicpmo"));
    container.set("minicpmo.version", int64_t{1});
    container.set("minicpmo.llm.arch", llm.arch);
    auto types = file.get_or<std::vector<int64_t>>(kTokenTypes, {});
    for (const Role& role : kRoles) {
        const int64_t id = find_token(llm.tokens, role.token);
        if (id < 0) continue;
        container.set(std::string("minicpmo.tokens.") + role.name, id);
        // Whatever type its writer gave it, a token with a role is a special one.
        if (std::cmp_less(id, types.size()) && types[static_cast<size_t>(id)] != kUserDefined)
            types[static_cast<size_t>(id)] = kControl;
    }
    if (!types.empty()) container.set(kTokenTypes, std::move(types));
    // What the file calls its end may be that of a base model.
    std::vector<int64_t> stops;
    for (const char* token : kStops) {
        if (const int64_t id = find_token(llm.tokens, token); id >= 0) stops.push_back(id);
    }
    if (!stops.empty()) container.set("minicpmo.tokens.stop", std::move(stops));
}

void add_own_facts(Container& container, const GgufFile& file) {
    for (const auto& [key, value] : file.metadata()) {
        if (key.starts_with("minicpmo.")) container.set(key, value);
    }
}

void add_supplement(Container& container, const GgufFile& file) {
    add_own_facts(container, file);
    for (const TensorInfo& tensor : file.tensors()) container.link(file, tensor, tensor.name);
}

}  // namespace minicpmo
