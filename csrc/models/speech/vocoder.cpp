#include "models/speech/vocoder.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr int64_t kBlockFrames = 100;  // that the causal network decodes at once: bounds its memory

void append(std::vector<float>& to, std::span<const float> from) {
    to.insert(to.end(), from.begin(), from.end());
}

void drop_first(std::vector<float>& values, int64_t n) { values.erase(values.begin(), values.begin() + n); }

std::vector<float> take_first(std::vector<float>& values, int64_t n) {
    std::vector<float> first(values.begin(), values.begin() + n);
    drop_first(values, n);
    return first;
}

std::vector<float> last(const std::vector<float>& values, size_t n) {
    return {values.end() - static_cast<std::ptrdiff_t>(std::min(n, values.size())), values.end()};
}

// Frames [begin, begin + n) of those in `values`, and zeros for what lies behind them.
Array<float> frames_of(const std::vector<float>& values, int64_t n_feature, int64_t begin, int64_t n) {
    Array<float> frames({n_feature, n});
    const int64_t n_there = std::min(n * n_feature, static_cast<int64_t>(values.size()) - begin * n_feature);
    std::copy_n(values.begin() + begin * n_feature, n_there, frames.data.begin());
    return frames;
}

// From `old` to the beginning of `wave`, by the two halves of a Hamming window.
// NOTE: their sum is 1.08, not 1; the reference has it so.
void fade_in(std::vector<float>& wave, const std::vector<float>& old) {
    const size_t n = old.size();
    const double turn = 2.0 * std::numbers::pi / static_cast<double>(2 * n - 1);
    const auto hamming = [&](size_t i) {
        return static_cast<float>(0.54 - 0.46 * std::cos(turn * static_cast<double>(i)));
    };
    for (size_t i = 0; i < n; ++i) wave[i] = wave[i] * hamming(i) + old[i] * hamming(n + i);
}

// What the network says of a spectrum, to the spectrum: real parts, then imaginary parts.
void to_complex(Array<float>& out) {
    constexpr float kLoudest = 100.0F;
    const auto n_bin = static_cast<size_t>(out.dim(0) / 2);
    for (size_t begin = 0; begin < out.data.size(); begin += 2 * n_bin) {
        for (size_t k = begin; k < begin + n_bin; ++k) {
            const float size = std::min(std::exp(out.data[k]), kLoudest);
            const float angle = std::sin(out.data[n_bin + k]);
            out.data[k] = size * std::cos(angle);
            out.data[n_bin + k] = size * std::sin(angle);
        }
    }
}

void limit(std::span<float> samples, float most) {
    for (float& sample : samples) sample = std::clamp(sample, -most, most);
}

}  // namespace

Vocoder::Vocoder(const VocoderConfig& config, const WeightScope& scope)
    : config_(config),
      f0_(config.f0, scope / "f0"),
      source_(config.source, scope),
      hift_(config.hift, scope),
      stft_(config.n_fft, config.hop_length) {}

VocoderState Vocoder::start() const {
    VocoderState state;
    state.f0_past.resize(static_cast<size_t>(f0_.n_past()));
    state.hift = hift_.start();
    // The first spectrum is the last one of the past; before it is nothing.
    const int64_t n_zero = std::max(0, config_.hift.n_spectrum_past() - 1);
    state.spectrum.resize(static_cast<size_t>(n_zero * config_.hift.n_spectrum));
    return state;
}

void Vocoder::check_mel(const Array<float>& mel, int64_t n_least) const {
    const int n_mel = config_.hift.n_mel;
    check<ArgumentError>((mel.empty() && n_least == 0) ||
                             (mel.dim(0) == n_mel && mel.dim(1) >= n_least && mel.dim(1) <= kMaxFrames),
                         "[vocoder] expected {} to {} frames of {} mel bands, got {} of {}", n_least,
                         kMaxFrames, n_mel, mel.dim(1), mel.dim(0));
}

Excitation Vocoder::excite(const Array<float>& mel, std::span<const float> noise,
                           Workspace& workspace) const {
    check_mel(mel, 1);
    const int64_t n = mel.dim(1) + (config_.is_causal() ? config_.f0.n_lookahead : 0);
    std::vector<float> past(static_cast<size_t>(f0_.n_past()));
    HarmonicSourceState harmonics;
    Excitation excitation;
    excitation.f0 = f0_.predict(frames_of(mel.data, mel.dim(0), 0, n), past, workspace);
    excitation.samples = source_.generate(excitation.f0, noise, harmonics);
    return excitation;
}

std::vector<float> Vocoder::generate(const Array<float>& mel, std::span<const float> noise,
                                     Workspace& workspace) const {
    check_mel(mel, 1);
    VocoderState state = start();
    return next(mel, true, noise, state, workspace);
}

std::vector<float> Vocoder::next(const Array<float>& mel, bool is_last, std::span<const float> noise,
                                 VocoderState& state, Workspace& workspace) const {
    check_mel(mel, 0);
    check<ArgumentError>(!state.is_finished,
                         "[vocoder] expected a new stream after the last chunk, got more");
    VocoderState after = state;
    append(after.mel, mel.data);
    std::vector<float> wave = config_.is_causal() ? next_causal(is_last, noise, after, workspace)
                                                  : next_overlapped(is_last, noise, after, workspace);
    after.is_finished = is_last;
    after.n_heard += static_cast<int64_t>(wave.size());
    // NOTE: silence makes up for the delay, so that every chunk lasts as long as its frames.
    const bool opens = state.n_heard == 0 && !is_last && !wave.empty();
    if (opens) wave.insert(wave.begin(), static_cast<size_t>(n_held()), 0.0F);
    state = std::move(after);
    return wave;
}

std::vector<float> Vocoder::next_overlapped(bool is_last, std::span<const float> noise, VocoderState& state,
                                            Workspace& workspace) const {
    const int64_t n_mel = config_.hift.n_mel;
    const int64_t n = static_cast<int64_t>(state.mel.size()) / n_mel;
    if (n == 0 || (!is_last && n <= config_.n_delay)) return {};  // nothing that could be heard yet
    const auto n_kept = static_cast<size_t>(config_.n_delay);
    const Array<float> mel = frames_of(state.mel, n_mel, 0, n);
    std::vector<float> no_past;
    // NOTE: the harmonics begin anew with each chunk, as in the reference; what overlaps keeps its source.
    HarmonicSourceState harmonics = {{}, state.n_heard};
    std::vector<float> source = source_.generate(f0_.predict(mel, no_past, workspace), noise, harmonics);
    std::copy(state.source.begin(), state.source.end(), source.begin());

    Array<float> out = hift_.decode(mel, stft_.forward(source), state.hift, workspace);
    to_complex(out);
    std::vector<float> wave = stft_.inverse(out);
    limit(wave, config_.audio_limit);
    fade_in(wave, state.wave);
    state.mel = last(state.mel, n_kept * static_cast<size_t>(n_mel));
    state.source = last(source, static_cast<size_t>(n_held()));
    state.wave = last(wave, static_cast<size_t>(n_held()));
    if (!is_last) wave.resize(wave.size() - state.wave.size());
    return wave;
}

std::vector<float> Vocoder::next_causal(bool is_last, std::span<const float> noise, VocoderState& state,
                                        Workspace& workspace) const {
    const int64_t n_mel = config_.hift.n_mel;
    const int64_t n_given = state.n_decoded + static_cast<int64_t>(state.mel.size()) / n_mel;
    const int64_t n_f0 = is_last ? n_given : std::max<int64_t>(0, n_given - config_.f0.n_lookahead);
    if (n_f0 > state.n_f0) {
        const int64_t n = n_f0 - state.n_f0 + config_.f0.n_lookahead;
        const Array<float> mel = frames_of(state.mel, n_mel, state.n_f0 - state.n_decoded, n);
        const std::vector<float> f0 = f0_.predict(mel, state.f0_past, workspace);
        const std::vector<float> source = source_.generate(f0, noise, state.harmonics);
        stft_.push(source, false, state.stft, state.spectrum);
        state.n_f0 = n_f0;
    }
    if (is_last && n_given > 0) stft_.push({}, true, state.stft, state.spectrum);
    const int64_t n_ready = is_last ? n_given : std::max<int64_t>(0, n_f0 - config_.hift.n_lookahead);
    while (state.n_decoded < n_ready) {
        const int64_t n = std::min(n_ready - state.n_decoded, kBlockFrames);
        decode_causal(n, is_last && state.n_decoded + n == n_ready, state, workspace);
    }
    // The last frame decoded still lacks what overlaps with its end.
    const int64_t n_complete = is_last ? n_given : std::max<int64_t>(0, state.n_decoded - 1);
    return take_first(state.wave, n_complete * config_.frame_length() - state.n_heard);
}

void Vocoder::decode_causal(int64_t n, bool is_end, VocoderState& state, Workspace& workspace) const {
    const HiftConfig& hift = config_.hift;
    const int64_t n_new = n * hift.up_rate();
    const Array<float> mel = frames_of(state.mel, hift.n_mel, 0, n + hift.n_lookahead);
    const Array<float> spectrum =
        frames_of(state.spectrum, hift.n_spectrum, 0, hift.n_spectrum_past() + n_new);
    Array<float> out = hift_.decode(mel, spectrum, state.hift, workspace);
    to_complex(out);
    const size_t n_before = state.wave.size();
    stft_.push_inverse(out.data, is_end, state.istft, state.wave);
    limit(std::span(state.wave).subspan(n_before), config_.audio_limit);
    drop_first(state.mel, n * hift.n_mel);
    drop_first(state.spectrum, n_new * hift.n_spectrum);
    state.n_decoded += n;
}

}  // namespace minicpmo
