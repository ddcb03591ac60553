#pragma once
// BookConfig: the facts of a file whose speech has several code books. Reference: docs/gguf.md for the keys.

#include <string>
#include <vector>

#include "core/gguf_file.h"
#include "engine/code_sampler.h"
#include "models/conditional_tts.h"
#include "models/speech/dvae.h"
#include "models/speech/vocos.h"
#include "text/word_piece_encoder.h"

namespace minicpmo {

struct BookConfig {
    ConditionalTtsConfig lm;
    std::vector<CodeSampling> sampling;  // of each code book
    int min_codes = 0;                   // steps of a call, before speech may end
    int max_codes = 0;                   // steps of a part, after which it ends
    DvaeConfig dvae;
    VocosConfig vocos;
    std::string file_type;  // of the language model's largest matrices, as ggml names it

    static bool is_in(const GgufFile& file);
};

// Of a file that is_in() is true of. Throws ModelFileError, UnsupportedModelError (another condition).
BookConfig read_book_config(const GgufFile& file, int n_embd_llm);
WordPieces read_word_pieces(const GgufFile& file);

}  // namespace minicpmo
