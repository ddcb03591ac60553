#pragma once
// AudioStream: sound as it arrives, to embeddings chunk by chunk. How the samples are cut when they are
// pushed makes no difference. Reference: MiniCPMO.streaming_prefill (half duplex; of models whose chunks
// stand alone get_audio_embedding_streaming) and the duplex wrapper's audio side.

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
    // The same, but where chunks stand alone: there the stream goes on behind the short one.
    Array<float> end_piece();
    // Forgets what was heard. A stream opens with 35 ms of silence, which fill its first chunk up, unless
    // whoever streams brings that much more at first. Where chunks stand alone there is no silence.
    void reset(bool opens_with_silence = true);
    // A place to come back to: cheap, and one of many.
    struct Mark {
        std::shared_ptr<AudioEncoderState> state;
        int n_cached = 0;
        uint64_t last_cell = 0;
        StreamingMel mel;
        std::vector<float> pending;
        bool is_first = true;
        int64_t n_sample = 0;
    };
    Mark mark() const;
    void rewind(const Mark& mark);   // throws ArgumentError if another rewind led the stream elsewhere since
    void archive(Archive& archive);  // state, not options
    // Samples of the first chunk, silence included, and of any other.
    int64_t first_samples() const;
    int64_t chunk_samples() const;
    int64_t n_sample() const { return n_sample_; }           // heard so far
    int n_cached() const { return state_->cache.length(); }  // encoder frames that the next chunk sees

private:
    void hear(std::span<const float> samples, bool is_last, Array<float>& rows);
    void encode(const MelChunk& chunk, Array<float>& rows);
    size_t next_length() const;
    std::shared_ptr<AudioEncoderState> start() const;
    uint64_t last_cell(int n) const;

    std::shared_ptr<const Model> model_;
    AudioStreamMode mode_;
    bool stands_alone_ = false;  // each chunk
    Workspace workspace_;
    StreamingMel mel_;
    std::shared_ptr<AudioEncoderState> state_;  // shared with marks: a new one where the encoder begins anew
    std::vector<float> pending_;                // samples of the chunk that is not complete
    bool is_first_ = true;
    int64_t n_sample_ = 0;
};

}  // namespace minicpmo
