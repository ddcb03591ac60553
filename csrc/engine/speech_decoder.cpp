#include "engine/speech_decoder.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/rng.h"
#include "base/stopwatch.h"

namespace minicpmo {

namespace {

// Box and Muller, A note on the generation of random normal deviates, 1958.
std::vector<float> normal_noise(size_t n, float deviation, Rng rng) {
    std::vector<float> noise(n);
    for (size_t i = 0; i < n; i += 2) {
        const double radius = std::sqrt(-2.0 * std::log(1.0 - rng.uniform()));
        const double angle = 2.0 * std::numbers::pi * rng.uniform();
        noise[i] = deviation * static_cast<float>(radius * std::cos(angle));
        if (i + 1 < n) noise[i + 1] = deviation * static_cast<float>(radius * std::sin(angle));
    }
    return noise;
}

std::vector<float> uniform_noise(size_t n, Rng rng) {
    std::vector<float> noise(n);
    for (float& x : noise) x = static_cast<float>(rng.uniform());
    return noise;
}

std::vector<float> excitation_noise(const VocoderConfig& config, uint64_t seed) {
    const size_t n = SpeechDecoder::kNoiseSamples * static_cast<size_t>(config.source.n_harmonic);
    const Rng rng{seed ^ 0x5EEDC0DEULL, 0};
    return config.is_causal() ? uniform_noise(n, rng) : normal_noise(n, 1.0F, rng);
}

}  // namespace

SpeechDecoder::SpeechDecoder(std::shared_ptr<const Model> model, const Voice& voice,
                             const SpeechDecoderOptions& options)
    : model_(std::move(model)), workspace_(model_->backend()) {
    const SpeechModel& speech = model_->speech();
    const SpeechFlowConfig& config = speech.flow_config();
    check<ArgumentError>(options.n_step >= 0 && options.n_step <= Flow::kMaxSteps,
                         "[speech] expected 1 to {} steps of the flow, or 0 for the model's own, got {}",
                         Flow::kMaxSteps, options.n_step);
    check_voice(voice, speech.voice_shape());
    const auto n_noise = static_cast<size_t>(config.network.n_mel) * Flow::kMaxFrames;
    flow_noise_ = normal_noise(n_noise, config.temperature, {options.seed, 0});
    if (options.has_noise) source_noise_ = excitation_noise(speech.vocoder().config(), options.seed);

    if (voice.cache != nullptr) {
        check<ArgumentError>(
            options.n_step == 0 || options.n_step == voice.cache->n_step,
            "[speech] expected {} steps of the flow, as the voice \"{}\" was made for, got {}",
            voice.cache->n_step, voice.name, options.n_step);
        voice_state_ = recall_voice(speech.flow(), *voice.cache, voice.speaker.data, workspace_);
        begin(false);
        return;
    }
    // NOTE: the reference's versions differ in what they let the flow expect behind the voice; as its newest
    // one, the voice's own first codes.
    const FlowPrompt prompt{voice.codes, voice.mel, voice.speaker.data};
    const auto n_lookahead = static_cast<size_t>(config.network.encoder.n_lookahead);
    std::vector<int32_t> lookahead(
        voice.codes.begin(),
        voice.codes.begin() + static_cast<std::ptrdiff_t>(std::min(n_lookahead, voice.codes.size())));
    lookahead.resize(n_lookahead, config.silence_code);
    voice_state_ = speech.flow().start(prompt, lookahead, flow_noise_,
                                       options.n_step > 0 ? options.n_step : config.n_step, workspace_);
    begin(false);
}

void SpeechDecoder::begin(bool streams) {
    const SpeechFlowConfig& config = model_->speech().flow_config();
    state_.flow = voice_state_;
    state_.vocoder = model_->speech().vocoder().start();
    state_.buffer.assign(streams ? static_cast<size_t>(config.network.encoder.n_lookahead) : 0,
                         config.silence_code);
    state_.windows.clear();
    state_.has_codes = false;
    flow_s_ = vocoder_s_ = 0;
}

std::vector<float> SpeechDecoder::push(std::span<const int32_t> codes, bool is_last) {
    const SpeechFlowConfig& config = model_->speech().flow_config();
    const auto n_window = static_cast<size_t>(config.chunk_codes + config.network.encoder.n_lookahead);
    std::vector<int32_t>& buffer = state_.buffer;
    buffer.insert(buffer.end(), codes.begin(), codes.end());
    state_.has_codes = state_.has_codes || !codes.empty();
    std::vector<float> samples;
    const auto append = [&](const std::vector<float>& more) {
        samples.insert(samples.end(), more.begin(), more.end());
    };
    while (buffer.size() >= n_window) {
        append(decode_window(std::span<const int32_t>(buffer).first(n_window), false));
        buffer.erase(buffer.begin(), buffer.begin() + config.chunk_codes);
    }
    if (is_last && state_.has_codes) append(decode_window(buffer, true));
    if (is_last) buffer.clear();
    return samples;
}

std::vector<float> SpeechDecoder::hurry() {
    constexpr size_t kFewest = 5;  // codes that are worth a window
    const auto n_lookahead = static_cast<size_t>(model_->speech().flow_config().network.encoder.n_lookahead);
    std::vector<int32_t>& buffer = state_.buffer;
    if (!state_.has_codes || buffer.size() < n_lookahead + kFewest) return {};
    std::vector<float> samples = decode_window(buffer, false);
    buffer.erase(buffer.begin(), buffer.end() - static_cast<std::ptrdiff_t>(n_lookahead));
    return samples;
}

std::vector<float> SpeechDecoder::decode_window(std::span<const int32_t> window, bool is_last) {
    const SpeechModel& speech = model_->speech();
    const Stopwatch flow_watch;
    const Array<float> mel = speech.flow().next(window, is_last, flow_noise_, state_.flow, workspace_);
    flow_s_ += flow_watch.seconds();
    const Stopwatch vocoder_watch;
    std::vector<float> samples =
        speech.vocoder().next(mel, is_last, source_noise_, state_.vocoder, workspace_);
    vocoder_s_ += vocoder_watch.seconds();
    state_.windows.emplace_back(window.begin(), window.end());
    return samples;
}

void SpeechDecoder::archive(Archive& archive) {
    constexpr size_t kMaxWindows = 4096;  // more than an hour
    State turn;
    if (!archive.is_reading()) {
        turn.buffer = state_.buffer;
        turn.windows = state_.windows;
        turn.has_codes = state_.has_codes;
    }
    archive(turn.buffer);
    archive(turn.windows);
    archive(turn.has_codes);
    if (!archive.is_reading()) return;
    const int n_code = model_->speech().flow_config().network.n_code;
    const auto are_codes = [&](const std::vector<int32_t>& codes, size_t n_max) {
        return codes.size() <= n_max &&
               std::all_of(codes.begin(), codes.end(), [&](int32_t c) { return c >= 0 && c < n_code; });
    };
    const SpeechFlowConfig& config = model_->speech().flow_config();
    const auto n_lookahead = static_cast<size_t>(config.network.encoder.n_lookahead);
    const size_t n_window = static_cast<size_t>(config.chunk_codes) + n_lookahead;
    bool is_sound = turn.windows.size() <= kMaxWindows && are_codes(turn.buffer, n_window - 1);
    for (const auto& window : turn.windows) {
        is_sound = is_sound && are_codes(window, n_window) && window.size() > n_lookahead;
    }
    check<ModelFileError>(is_sound, "[speech] expected the codes of a turn, got numbers that are none");
    begin(false);
    for (const auto& window : turn.windows) decode_window(window, false);
    state_.buffer = std::move(turn.buffer);
    state_.has_codes = turn.has_codes;
}

}  // namespace minicpmo
