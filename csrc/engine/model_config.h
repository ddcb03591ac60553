#pragma once
// ModelConfig: every fact of a model file that the code branches on. model_config.cpp alone knows GGUF's
// metadata keys.

#include <optional>
#include <string>
#include <vector>

#include "audio/log_mel.h"
#include "core/gguf_file.h"
#include "image/patches.h"
#include "image/slicing.h"
#include "models/audio_encoder.h"
#include "models/decoder.h"
#include "models/resampler.h"
#include "models/siglip.h"
#include "text/chat_format.h"
#include "text/tokenizer.h"

namespace minicpmo {

struct LlmConfig {
    std::string arch;  // qwen3, qwen2, llama, minicpm: names the metadata keys
    DecoderConfig decoder;
    int n_ctx_train = 0;  // tokens
    int n_vocab = 0;
    float embedding_scale = 1.0F;  // of the rows of tokens
    float logit_scale = 1.0F;      // divides the logits
    std::string file_type;         // of the largest matrices, as ggml names it
};

struct VisionConfig {
    SiglipConfig tower;
    ResamplerConfig resampler;
    SliceConfig slicing;
    PatchConfig patches;
    bool use_image_id = true;
    bool slices_are_images = false;  // each has the tags of a picture, and all together those of slices
    bool rows_are_joined = false;    // the tower takes the patches of a slice for one row of them
};

struct AudioConfig {
    MelConfig mel;
    AudioEncoderConfig encoder;
    float chunk_s = 1.0F;      // blocks of attention, and chunks of a stream
    bool tags_chunks = false;  // in a prompt each chunk has the tags of a sound
    // A stream's chunks have each a spectrum of their own, with its own floor and silence behind it.
    bool chunks_stand_alone = false;
};

// Ids of the tokens that structure a prompt; -1 where the vocabulary has none.
struct TokenRoles {
    int32_t unk = -1, image_start = -1, image_end = -1, slice_start = -1, slice_end = -1;
    int32_t image_id_start = -1, image_id_end = -1;
    int32_t audio_start = -1, audio_end = -1;
    int32_t im_end = -1;
    int32_t tts_bos = -1, tts_eos = -1, tts_pad = -1;
    int32_t spk = -1;  // the model's state at which is the voice of the answer that follows
    int32_t unit_start = -1, unit_end = -1;  // of full duplex, with the next two lines
    int32_t listen = -1, speak = -1;
    int32_t turn_eos = -1, chunk_eos = -1, chunk_tts_eos = -1;
    std::vector<int32_t> stop;      // a sampled one of these ends the answer
    std::vector<int32_t> special;   // those that the tokenizer's list names; empty: all control tokens
    std::vector<int32_t> unspoken;  // what no voice can say: never drawn where an answer is said
};

struct ModelConfig {
    std::string name;                  // the file's own title
    std::vector<std::string> modules;  // what is in the file: llm, vision, audio
    LlmConfig llm;
    std::optional<VisionConfig> vision;
    std::optional<AudioConfig> audio;
    TokenRoles tokens;
    ChatFormat chat;
};

ModelConfig read_model_config(const GgufFile& file);  // throws ModelFileError, UnsupportedModelError
Vocabulary read_vocabulary(const GgufFile& file);

}  // namespace minicpmo
