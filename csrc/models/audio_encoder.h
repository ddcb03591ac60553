#pragma once
// AudioEncoder: log-mel frames to embeddings that the LLM reads, ten a second. Composes WhisperEncoder with a
// projector and an average pool. Reference: modeling_minicpmo.py, MiniCPMO.get_audio_embedding and
// get_audio_embedding_streaming.

#include "base/array.h"
#include "core/graph_runner.h"
#include "models/whisper_encoder.h"

namespace minicpmo {

struct AudioEncoderConfig {
    WhisperConfig whisper;
    int n_embd = 0;     // of the LLM
    int pool_step = 5;  // encoder frames that become one embedding
};

// What a stream keeps between its chunks: keys and values of the frames heard since the last reset.
struct AudioEncoderState {
    KvCache cache;
};

// Redundant mel frames at the ends of a chunk, which only help the convolutions over its edges.
struct MelContext {
    int prefix = 0;
    int suffix = 0;
};

class AudioEncoder {
public:
    AudioEncoder(const AudioEncoderConfig& config, const WeightScope& scope);

    // A whole piece, mel [n_mel, n] with n <= max_mel_frames(). A frame sees everything before it and its own
    // block of `block` encoder frames; 0: every frame sees all. -> [n_embd, n_token(n)]
    Array<float> encode(const Array<float>& mel, int block, Workspace& workspace) const;
    // The next piece of a stream, after what the state holds. -> [n_embd, n_token of the frames that count]
    Array<float> encode_chunk(const Array<float>& mel, const MelContext& context, AudioEncoderState& state,
                              Workspace& workspace) const;
    // Whether so many mel frames more are too many for the positions: the stream then begins anew, and what
    // was heard before is forgotten by the encoder.
    bool is_full(const AudioEncoderState& state, int n_mel_frame) const;
    AudioEncoderState start(ggml_type cache_type, std::shared_ptr<const Backend> backend) const;

    int max_mel_frames() const { return 2 * config_.whisper.n_position; }
    int n_token(int n_mel_frame) const { return WhisperConfig::n_frames(n_mel_frame) / config_.pool_step; }
    const AudioEncoderConfig& config() const { return config_; }

private:
    Tensor project(Graph& g, Tensor x) const;
    void check_mel(const Array<float>& mel) const;

    AudioEncoderConfig config_;
    WhisperEncoder whisper_;
    nn::Linear linear1_;  // [n_embd_whisper, n_embd]
    nn::Linear linear2_;  // [n_embd, n_embd]
};

}  // namespace minicpmo
