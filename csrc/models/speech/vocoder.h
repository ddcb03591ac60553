#pragma once
// Vocoder: mel frames, whole or as they arrive, to samples.
// Reference: stepaudio2 1.0.2, token2wav.py (chunks that overlap, of the original network);
// stepaudio2 1.0.7, causal_vocoder/bounded_vocoder.py and token2wav.py (the causal network).

#include <cstdint>
#include <span>
#include <vector>

#include "audio/stft.h"
#include "models/speech/f0_predictor.h"
#include "models/speech/harmonic_source.h"
#include "models/speech/hift.h"

namespace minicpmo {

struct VocoderConfig {
    HiftConfig hift;
    F0PredictorConfig f0;
    HarmonicSourceConfig source;
    int n_fft = 16;
    int hop_length = 4;
    int n_delay = 8;  // mel frames that a stream lags behind what it was given
    float audio_limit = 0.99F;

    bool is_causal() const { return hift.is_causal; }
    int frame_length() const { return source.frame_length; }  // samples
};

// What a stream keeps between its chunks. A value: copies are independent of each other, and assigning one is
// how a stream goes back.
struct VocoderState {
    bool is_finished = false;   // the last chunk was given
    int64_t n_heard = 0;        // samples given out, but for the silence before them
    std::vector<float> mel;     // [n_mel, n]: frames that chunks to come will see
    std::vector<float> wave;    // samples held back; of the original network, to be faded into the next chunk
    std::vector<float> source;  // the excitation under them, of the original network alone

    // Of the causal network alone.
    int64_t n_f0 = 0;       // frames whose pitch is known
    int64_t n_decoded = 0;  // frames that the network decoded: the first that `mel` holds
    std::vector<float> f0_past;
    HarmonicSourceState harmonics;
    StftState stft;
    std::vector<float> spectrum;  // [n_spectrum, n] of the excitation, from where the next chunk sees it
    Hift::Past hift;
    IstftState istft;
};

// The pitch of each frame in Hz, and what it becomes.
struct Excitation {
    std::vector<float> f0;
    std::vector<float> samples;
};

class Vocoder {
public:
    static constexpr int kMaxFrames = 4096;  // of one call

    Vocoder(const VocoderConfig& config, const WeightScope& scope);

    // Noise is a table that is read round and round, see HarmonicSource::generate; empty for none.
    // A whole utterance, mel [n_mel, n] -> frame_length * n samples.
    std::vector<float> generate(const Array<float>& mel, std::span<const float> noise,
                                Workspace& workspace) const;
    Excitation excite(const Array<float>& mel, std::span<const float> noise, Workspace& workspace) const;

    // A stream: start(), then mel [n_mel, n] chunk by chunk; n may be 0. A chunk gives frame_length * n
    // samples, those of n_delay frames ago; a stream that is too short for that gives none yet, and its first
    // samples have the missing silence before them. The last chunk gives all that is left. If nothing was
    // heard before it, there is no silence either. Throws ArgumentError after the last chunk. Whatever is
    // thrown, the state stays as it was.
    VocoderState start() const;
    std::vector<float> next(const Array<float>& mel, bool is_last, std::span<const float> noise,
                            VocoderState& state, Workspace& workspace) const;
    const VocoderConfig& config() const { return config_; }

private:
    int64_t n_held() const { return int64_t{config_.n_delay} * config_.frame_length(); }  // samples
    void check_mel(const Array<float>& mel, int64_t n_least) const;
    std::vector<float> next_overlapped(bool is_last, std::span<const float> noise, VocoderState& state,
                                       Workspace& workspace) const;
    std::vector<float> next_causal(bool is_last, std::span<const float> noise, VocoderState& state,
                                   Workspace& workspace) const;
    void decode_causal(int64_t n, bool is_end, VocoderState& state, Workspace& workspace) const;

    VocoderConfig config_;
    F0Predictor f0_;
    HarmonicSource source_;
    Hift hift_;
    Stft stft_;
};

}  // namespace minicpmo
