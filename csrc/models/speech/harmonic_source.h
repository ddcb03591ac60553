#pragma once
// HarmonicSource: the excitation of a voice, a pitch's harmonics mixed into one wave.
// Reference: stepaudio2/causal_vocoder/generator.py, SineGen2 and SourceModuleHnNSF.

#include <cstdint>
#include <span>
#include <vector>

#include "core/weights.h"

namespace minicpmo {

struct HarmonicSourceConfig {
    bool is_causal =
        false;           // the phase stands still within a frame; otherwise it runs on between frame centres
    int n_harmonic = 9;  // the pitch and its overtones
    int sample_rate_hz = 24000;
    int frame_length = 480;  // samples
    float amplitude = 0.1F;
    float noise_sigma = 0.003F;  // of voiced frames; others have amplitude / 3
    float voiced_threshold_hz = 10.0F;
};

// Where a stream of frames has got to.
struct HarmonicSourceState {
    std::vector<double> cycles;  // of each harmonic, within 0 and 1; empty at the start
    int64_t n_sample = 0;
};

class HarmonicSource {
public:
    HarmonicSource(const HarmonicSourceConfig& config, const WeightScope& scope);

    // Pitches [n] in Hz -> frame_length * n samples. Noise is a table of any length, read round and round:
    // harmonic h of the stream's sample i takes value i * n_harmonic + h. Empty: no noise. The reference
    // draws from the normal distribution, or, if causal, uniformly from 0 to 1.
    std::vector<float> generate(std::span<const float> f0, std::span<const float> noise,
                                HarmonicSourceState& state) const;
    const HarmonicSourceConfig& config() const { return config_; }

private:
    struct Phases;
    Phases accumulate(std::span<const float> f0, HarmonicSourceState& state) const;
    void add_sines(size_t frame, const Phases& phases, size_t n_frame, std::span<float> samples) const;
    void add_noise(bool is_voiced, std::span<const float> noise, int64_t first_sample,
                   std::span<float> samples) const;

    HarmonicSourceConfig config_;
    std::vector<float> weights_;  // [n_harmonic]
    float bias_ = 0.0F;
};

}  // namespace minicpmo
