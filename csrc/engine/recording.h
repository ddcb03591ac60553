#pragma once
// Recording: sound of any length as embeddings, encoded piece by piece as they are asked for. A piece is as
// long as the encoder can hear at once, 30 s. Reference: modeling_minicpmo.py MiniCPMO.get_audio_embedding.

#include <span>
#include <vector>

#include "base/digest.h"
#include "engine/model.h"

namespace minicpmo {

class Recording {
public:
    // The parts are heard as one after the other, borrowed until the last row is read; at least n_token_min
    // embeddings come out, with silence at the end if need be. block: encoder frames of one attention block,
    // 0 for none. Throws ArgumentError for samples that are no finite numbers.
    Recording(const Model& model, std::vector<std::span<const float>> parts, int block,
              int64_t n_token_min = 0);

    int64_t n_token() const { return n_token_; }
    int64_t tokens_per_piece() const { return tokens_per_piece_; }
    // Embeddings [begin, begin + n) of one piece. -> [n_embd, n]
    Array<float> rows(int64_t begin, int64_t n, Workspace& workspace);
    Array<float> all(Workspace& workspace);  // [n_embd, n_token]
    // Of all that decides the embeddings of the piece that has this one.
    const Digest& digest(int64_t row);

private:
    std::vector<float> piece_samples(int64_t piece) const;

    const Model& model_;
    std::vector<std::span<const float>> parts_;
    int block_;
    int64_t n_sample_ = 0;
    int64_t n_token_ = 0;
    int64_t samples_per_piece_;
    int64_t tokens_per_piece_;
    int64_t encoded_ = -1;         // the piece that rows_ holds
    Array<float> rows_;            // [n_embd, tokens of the piece]
    std::vector<Digest> digests_;  // of the first pieces
};

// Embeddings that so many samples become, each piece for itself.
int64_t audio_token_count(const Model& model, int64_t n_sample);
// Encoder frames of one attention block of so many seconds; 0 for 0 s, which means none.
int attention_block(const AudioConfig& config, float chunk_s);

}  // namespace minicpmo
