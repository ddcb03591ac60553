#pragma once
// AudioStream: sound as it arrives, to embeddings chunk by chunk. How the samples are cut when they are
// pushed makes no difference. Reference: MiniCPMO.streaming_prefill (half duplex) and the duplex wrapper's
// audio side.

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "audio/streaming_mel.h"
#include "engine/model.h"

namespace minicpmo {

enum class AudioStreamMode {
    half_duplex,  // chunks are encoded as they are
    duplex        // with two frames of their neighbours, which the convolutions see
};
AudioStreamMode parse_audio_stream_mode(std::string_view name);  // throws ArgumentError naming the two
StreamingMelConfig streaming_mel_config(AudioStreamMode mode, const AudioConfig& config);

class AudioStream {
public:
    AudioStream(std::shared_ptr<const Model> model, AudioStreamMode mode);

    // Mono samples at the rate the model hears -> the embeddings of all chunks that they complete, [n_embd,
    // n]
    Array<float> push(std::span<const float> samples);
    Array<float> finish();  // what is left, shorter than a chunk; the stream is then as new
    void reset();
    int64_t n_sample() const { return n_sample_; }          // heard so far
    int n_cached() const { return state_.cache.length(); }  // encoder frames that the next chunk sees

private:
    void hear(std::span<const float> samples, bool is_last, Array<float>& rows);
    size_t next_length() const;

    std::shared_ptr<const Model> model_;
    AudioStreamMode mode_;
    Workspace workspace_;
    StreamingMel mel_;
    AudioEncoderState state_;
    std::vector<float> pending_;  // samples of the chunk that is not complete
    bool is_first_ = true;
    int64_t n_sample_ = 0;
};

}  // namespace minicpmo
