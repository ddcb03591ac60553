#pragma once
// The adapters: each tells what one kind of published file holds in the terms of the single file. What such
// files leave out is what the reference's configurations have as defaults. Reference: docs/gguf.md,
// "Published files".

#include <string>
#include <vector>

#include "layouts/container.h"

namespace minicpmo {

// What other files are chosen and read by.
struct LlmTraits {
    std::string arch;
    int64_t n_embd = 0;
    std::vector<std::string> tokens;
};

// The container has the language model's tensors and keys already; this adds the tokens with a role.
void add_llm_facts(Container& container, const GgufFile& file);
void add_vision(Container& container, const GgufFile& file, const LlmTraits& llm);
void add_audio(Container& container, const GgufFile& file);
// The projector's tensors are in `projector` where the model of codes has none; nullptr if there is no such.
void add_tts(Container& container, const GgufFile& file, const GgufFile* projector);

struct FlowFiles {
    const GgufFile& encoder;
    const GgufFile& matching;
    const GgufFile& extra;
};
void add_flow(Container& container, const FlowFiles& files);
void add_vocoder(Container& container, const GgufFile& file);
// As one more voice of the model, behind those of the supplement.
void add_prompt_cache(Container& container, const GgufFile& file);
// Keys of our own in a file of another layout: what that layout has no place for.
void add_own_facts(Container& container, const GgufFile& file);
// Everything, as it stands; its facts replace those that the others assumed.
void add_supplement(Container& container, const GgufFile& file);

// Whether a file goes with a language model: as wide, and with the tokens that its embeddings go between.
LlmTraits read_llm_traits(const GgufFile& file);
bool is_vision_for(const LlmTraits& llm, const GgufFile& file);
bool is_audio_for(const LlmTraits& llm, const GgufFile& file);
bool is_projector_for(const LlmTraits& llm, const GgufFile& file);
bool is_tts_for(const LlmTraits& llm, const GgufFile& file);
bool is_supplement_for(const LlmTraits& llm, const GgufFile& file);

}  // namespace minicpmo
