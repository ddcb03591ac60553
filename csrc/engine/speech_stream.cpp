#include "engine/speech_stream.h"

#include <limits>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr size_t kMaxTokens = 8;    // chunks of text that wait to be spoken
constexpr size_t kMaxCodes = 4;     // seconds of codes that wait for the decoder
constexpr size_t kMaxSamples = 16;  // seconds of sound that wait for the caller

CodeRules rules_of(const TtsConfig& config, const SpeechStreamOptions& options) {
    CodeRules rules = options.is_whole ? chat_rules(config) : streaming_rules(config);
    if (options.sampling) rules.sampling = *options.sampling;
    return rules;
}

}  // namespace

SpeechStream::SpeechStream(std::shared_ptr<const Model> model, SpeechDecoder& decoder,
                           const SpeechStreamOptions& options)
    : model_(std::move(model)),
      decoder_(decoder),
      generator_(model_->speech().tts(), model_->backend(), default_kv_type(model_->config()),
                 rules_of(model_->speech().tts_config(), options), options.seed),
      has_threads_(options.has_threads),
      tokens_(kMaxTokens),
      codes_(kMaxCodes),
      // Without threads nobody would take samples out while they are made.
      samples_(options.has_threads ? kMaxSamples : std::numeric_limits<size_t>::max()) {
    decoder_.clear_interrupt();
    decoder_.begin(!options.is_whole);
    if (!has_threads_) return;
    threads_.emplace_back([this] { run_codes(); });
    threads_.emplace_back([this] { run_samples(); });
}

SpeechStream::~SpeechStream() {
    interrupt();
    threads_.clear();  // joins
    decoder_.clear_interrupt();
}

void SpeechStream::interrupt() noexcept {
    is_interrupted_ = true;
    tokens_.cancel();
    codes_.cancel();
    samples_.cancel();
    generator_.interrupt();
    decoder_.interrupt();
}

void SpeechStream::feed(SpokenTokens tokens) {
    rethrow();
    if (!has_begun_) {
        has_begun_ = true;
        watch_.restart();
    }
    const bool is_final = tokens.is_final;
    if (has_threads_) {
        tokens_.push(std::move(tokens));
        if (is_final) tokens_.close();
    } else {
        speak(tokens);
        if (is_final) samples_.close();
    }
    rethrow();
}

std::optional<std::vector<float>> SpeechStream::poll() {
    rethrow();
    return samples_.try_pop();
}

std::optional<std::vector<float>> SpeechStream::next() {
    std::optional<std::vector<float>> samples = samples_.pop();
    if (!samples) rethrow();
    return samples;
}

void SpeechStream::speak(const SpokenTokens& tokens) {
    Stopwatch watch;
    generator_.feed(tokens.ids, tokens.hidden, tokens.is_final);
    while (std::optional<CodeBatch> batch = generator_.next_batch()) {
        timings_.codes_s += watch.seconds();
        timings_.n_code += static_cast<int>(batch->codes.size());
        if (has_threads_) {
            if (!codes_.push(std::move(*batch))) return;
        } else {
            decode(*batch);
        }
        watch.restart();
    }
    timings_.codes_s += watch.seconds();
}

void SpeechStream::decode(const CodeBatch& batch) {
    std::vector<float> samples = decoder_.push(batch.codes, batch.is_last);
    if (samples.empty()) return;
    if (timings_.n_sample == 0) timings_.first_sample_s = watch_.seconds();
    timings_.n_sample += static_cast<int64_t>(samples.size());
    samples_.push(std::move(samples));
}

void SpeechStream::run_codes() {
    try {
        while (const std::optional<SpokenTokens> tokens = tokens_.pop()) speak(*tokens);
        codes_.close();
    } catch (...) {
        fail_with(std::current_exception());
    }
}

void SpeechStream::run_samples() {
    try {
        while (const std::optional<CodeBatch> batch = codes_.pop()) decode(*batch);
        samples_.close();
    } catch (...) {
        fail_with(std::current_exception());
    }
}

void SpeechStream::fail_with(std::exception_ptr error) noexcept {
    {
        const std::lock_guard lock(error_mutex_);
        if (!error_) error_ = error;
    }
    tokens_.cancel();
    codes_.cancel();
    samples_.cancel();
}

void SpeechStream::rethrow() {
    {
        const std::lock_guard lock(error_mutex_);
        if (error_) std::rethrow_exception(error_);
    }
    check<InterruptedError>(!is_interrupted_, "[speech] interrupted");
}

SpeechTimings SpeechStream::timings() const {
    SpeechTimings timings = timings_;
    timings.flow_s = decoder_.flow_s();
    timings.vocoder_s = decoder_.vocoder_s();
    return timings;
}

}  // namespace minicpmo
