#include "models/speech/harmonic_source.h"

#include <ggml-backend.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace minicpmo {

namespace {

double fraction(double x) { return x - std::floor(x); }

float sine_of_cycles(double cycles) {
    return std::sin(static_cast<float>(2.0 * std::numbers::pi * fraction(cycles)));
}

}  // namespace

HarmonicSource::HarmonicSource(const HarmonicSourceConfig& config, const WeightScope& scope)
    : config_(config), weights_(static_cast<size_t>(config.n_harmonic)) {
    const auto read = [&](const char* name, std::span<float> values) {
        const Tensor tensor = (scope / "source").get_f32(name, {static_cast<int64_t>(values.size())});
        ggml_backend_tensor_get(tensor, values.data(), 0, values.size_bytes());
    };
    read("weight", weights_);
    read("bias", {&bias_, 1});
}

// The phases of the harmonics, all in cycles: [n_harmonic] of each frame.
struct HarmonicSource::Phases {
    std::vector<double> at_frame;  // reached at the end of it, within 0 and 1
    std::vector<double> step;      // made in it
};

HarmonicSource::Phases HarmonicSource::accumulate(std::span<const float> f0,
                                                  HarmonicSourceState& state) const {
    const auto n_harmonic = static_cast<size_t>(config_.n_harmonic);
    state.cycles.resize(n_harmonic);
    Phases phases;
    for (const float pitch : f0) {
        for (size_t h = 0; h < n_harmonic; ++h) {
            // NOTE: the reference computes the cycles of a sample in float32, whose error the phase adds up.
            const float per_sample =
                pitch * static_cast<float>(h + 1) / static_cast<float>(config_.sample_rate_hz);
            const double step = fraction(static_cast<double>(per_sample)) * config_.frame_length;
            state.cycles[h] = fraction(state.cycles[h] + step);
            phases.at_frame.push_back(state.cycles[h]);
            phases.step.push_back(step);
        }
    }
    return phases;
}

void HarmonicSource::add_sines(size_t frame, const Phases& phases, size_t n_frame,
                               std::span<float> samples) const {
    const auto n_harmonic = static_cast<size_t>(config_.n_harmonic);
    const double* at_frame = phases.at_frame.data();
    if (config_.is_causal) {
        float sum = 0.0F;
        for (size_t h = 0; h < n_harmonic; ++h)
            sum += weights_[h] * sine_of_cycles(at_frame[frame * n_harmonic + h]);
        for (float& sample : samples) sample += config_.amplitude * sum;
        return;
    }
    // Phases are those of the frames' centres, and still before the first and after the last.
    for (size_t i = 0; i < samples.size(); ++i) {
        const double centred = (static_cast<double>(i) + 0.5) / config_.frame_length - 0.5;
        const bool is_before = centred < 0.0;
        const size_t from = is_before && frame > 0 ? frame - 1 : frame;
        const bool is_still = is_before ? frame == 0 : frame + 1 == n_frame;
        const double share = is_still ? 0.0 : is_before ? centred + 1.0 : centred;
        float sum = 0.0F;
        for (size_t h = 0; h < n_harmonic; ++h) {
            const double moved = is_still ? 0.0 : share * phases.step[(from + 1) * n_harmonic + h];
            sum += weights_[h] * sine_of_cycles(at_frame[from * n_harmonic + h] + moved);
        }
        samples[i] += config_.amplitude * sum;
    }
}

void HarmonicSource::add_noise(bool is_voiced, std::span<const float> noise, int64_t first_sample,
                               std::span<float> samples) const {
    const float size = is_voiced ? config_.noise_sigma : config_.amplitude / 3.0F;
    auto at = static_cast<size_t>(first_sample) * weights_.size() % noise.size();
    for (float& sample : samples) {
        for (const float weight : weights_) {
            sample += weight * size * noise[at];
            if (++at == noise.size()) at = 0;
        }
    }
}

std::vector<float> HarmonicSource::generate(std::span<const float> f0, std::span<const float> noise,
                                            HarmonicSourceState& state) const {
    const auto frame_length = static_cast<size_t>(config_.frame_length);
    const Phases phases = accumulate(f0, state);
    std::vector<float> samples(f0.size() * frame_length, bias_);
    for (size_t frame = 0; frame < f0.size(); ++frame) {
        const std::span<float> own = std::span(samples).subspan(frame * frame_length, frame_length);
        const bool is_voiced = f0[frame] > config_.voiced_threshold_hz;
        if (is_voiced) add_sines(frame, phases, f0.size(), own);
        if (!noise.empty()) add_noise(is_voiced, noise, state.n_sample, own);
        state.n_sample += config_.frame_length;
        const bool is_constant = noise.empty() && (config_.is_causal || !is_voiced);
        if (is_constant) {
            std::fill(own.begin(), own.end(), std::tanh(own.front()));
        } else {
            for (float& sample : own) sample = std::tanh(sample);
        }
    }
    return samples;
}

}  // namespace minicpmo
