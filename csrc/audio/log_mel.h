#pragma once
// LogMel: samples to the features the audio encoder reads, log10 of the power in mel bands, 100 frames a
// second. Reference: MiniCPMAAudioProcessor and the WhisperFeatureExtractor it extends (transformers 4.51).

#include <cstdint>
#include <span>
#include <vector>

#include "audio/fft.h"
#include "audio/mel_bank.h"
#include "base/array.h"

namespace minicpmo {

struct MelConfig {
    int sample_rate = 16000;
    int n_fft = 400;           // samples of a frame: even, made of the factors 2, 3 and 5
    int hop = 160;             // samples from one frame to the next
    int n_mel = 80;            // bands between 0 Hz and half the sample rate
    int max_samples = 480000;  // of one recording: 30 s; a multiple of hop
};

// The least value a feature can have, before it is scaled.
enum class LogFloor {
    fixed,   // -10 in log10
    dynamic  // 8 below the loudest value, which here is everything that is given at once
};

// Frames of a recording: frame t is centred on sample t * hop.
int mel_frames(int64_t n_sample, int hop);
// Throws ArgumentError unless all samples are finite, and small enough for their powers to be finite.
void check_samples(std::span<const float> samples);

// A part of a line of samples as frames see it: mirrored at `begin` and `end` (which is not a sample any
// more), the sample at the mirror not repeated. Between them, what is not in `samples` is silence.
struct SampleLine {
    std::span<const float> samples;
    int64_t first = 0;  // where samples[0] lies
    int64_t begin = 0;
    int64_t end = 0;

    float at(int64_t i) const;
};

// Immutable after construction: any number of threads may share one.
class LogMel {
public:
    explicit LogMel(const MelConfig& config);
    const MelConfig& config() const { return config_; }

    // A whole recording of at most max_samples -> [n_mel, n_frame], n_frame = mel_frames(samples). The frames
    // at its end see silence, as if it were filled up to max_samples.
    Array<float> offline(std::span<const float> samples, LogFloor floor = LogFloor::dynamic) const;
    // The same of a clip by itself: mirrored at both ends, so more than n_fft / 2 samples; floor(samples /
    // hop) frames.
    Array<float> mirrored(std::span<const float> samples) const;

    // log10 of the powers of frames [first, end), at least -10 -> [n_mel, end - first]
    std::vector<float> log_powers(const SampleLine& line, int64_t first, int64_t end) const;
    // Turns log powers into features, where they lie.
    static void scale(std::span<float> log_powers, LogFloor floor, float loudest);

private:
    void check_recording(std::span<const float> samples) const;
    int n_half() const { return config_.n_fft / 2; }  // samples that a frame sees on either side

    MelConfig config_;
    RealFft fft_;
    MelBank bank_;
    std::vector<float> window_;  // [n_fft], Hann
};

}  // namespace minicpmo
