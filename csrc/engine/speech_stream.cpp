#include "engine/speech_stream.h"

#include <limits>

#include "base/error.h"
#include "engine/book_writer.h"
#include "engine/code_generator.h"

namespace minicpmo {

namespace {

constexpr size_t kMaxChunks = 8;  // chunks of text that wait to be spoken
constexpr size_t kMaxCodes = 4;   // seconds of codes that wait for the decoder
// Samples wait without bound: who would take them may be waiting in feed(), and would wait for itself. What
// waits is no more than the sound of kMaxChunks chunks if the caller takes what there is before it feeds.
constexpr size_t kMaxSamples = std::numeric_limits<size_t>::max();

CodeRules rules_of(const TtsConfig& config, const SpeechStreamOptions& options) {
    CodeRules rules = options.is_whole ? chat_rules(config) : streaming_rules(config);
    if (options.sampling) rules.sampling = *options.sampling;
    return rules;
}

std::unique_ptr<CodeWriter> make_writer(const Model& model, const SpeechStreamOptions& options) {
    const ggml_type kv_type = default_kv_type(model.config());
    if (model.has_voices()) {
        return std::make_unique<CodeGenerator>(model.speech().tts(), model.backend(), kv_type,
                                               rules_of(model.speech().tts_config(), options), options.seed);
    }
    const BookSpeech& speech = model.book_speech();
    BookConfig config = speech.config();
    if (options.sampling) {
        check_code_sampling(*options.sampling);
        for (CodeSampling& sampling : config.sampling) sampling = *options.sampling;
    }
    return std::make_unique<BookWriter>(speech.tts(), speech.encoder(), config, model.backend(), kv_type,
                                        options.seed);
}

}  // namespace

SpeechStream::SpeechStream(std::shared_ptr<const Model> model, CodeDecoder& decoder,
                           const SpeechStreamOptions& options)
    : model_(std::move(model)),
      decoder_(decoder),
      writer_(make_writer(*model_, options)),
      has_threads_(options.has_threads),
      tokens_(kMaxChunks),
      codes_(kMaxCodes),
      samples_(kMaxSamples) {
    decoder_.clear_interrupt();
    decoder_.begin(!options.is_whole);
    if (!has_threads_) return;
    try {
        threads_.emplace_back([this] { run_codes(); });
        threads_.emplace_back([this] { run_samples(); });
    } catch (...) {  // no second thread: the first would wait for ever
        tokens_.cancel();
        throw;
    }
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
    writer_->interrupt();
    decoder_.interrupt();
}

void SpeechStream::feed(SpokenTokens tokens) {
    rethrow();
    if (!has_begun_) {
        has_begun_ = true;
        watch_.restart();
    }
    has_final_ = has_final_ || tokens.is_final;
    if (has_threads_) {
        tokens_.push(std::move(tokens));
        if (has_final_) tokens_.close();
    } else {
        try {
            speak(tokens);
            if (has_final_) samples_.close();
        } catch (...) {  // as in a thread: whoever calls again gets it again
            fail_with(std::current_exception());
        }
    }
    rethrow();
}

std::optional<std::vector<float>> SpeechStream::poll() {
    rethrow();
    return samples_.try_pop();
}

std::optional<std::vector<float>> SpeechStream::next() {
    rethrow();
    check<ArgumentError>(has_final_,
                         "[speech] expected the final tokens before the last samples, got neither");
    std::optional<std::vector<float>> samples = samples_.pop();
    if (!samples) rethrow();
    return samples;
}

void SpeechStream::speak(const SpokenTokens& tokens) {
    Stopwatch watch;
    const auto count = [&](size_t n_code) {
        const std::lock_guard lock(mutex_);
        timings_.codes_s += watch.seconds();
        timings_.n_code += static_cast<int>(n_code);
    };
    writer_->feed(tokens);
    while (std::optional<CodeBatch> batch = writer_->next_batch()) {
        if (is_interrupted_) return;  // a device other than the CPU does not stop inside a graph
        count(batch->codes.size());
        if (has_threads_) {
            if (!codes_.push(std::move(*batch))) return;
        } else {
            decode(*batch);
        }
        watch.restart();
    }
    count(0);
}

void SpeechStream::decode(const CodeBatch& batch) {
    std::vector<float> samples = decoder_.decode(batch);
    {
        const std::lock_guard lock(mutex_);
        timings_.flow_s = decoder_.spectrum_s();
        timings_.vocoder_s = decoder_.vocoder_s();
        if (timings_.n_sample == 0 && !samples.empty()) timings_.first_sample_s = watch_.seconds();
        timings_.n_sample += static_cast<int64_t>(samples.size());
    }
    if (!samples.empty()) samples_.push(std::move(samples));
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
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = error;
    }
    tokens_.cancel();
    codes_.cancel();
    samples_.cancel();
}

void SpeechStream::rethrow() {
    {
        const std::lock_guard lock(mutex_);
        if (error_) std::rethrow_exception(error_);
    }
    check<InterruptedError>(!is_interrupted_, "[speech] interrupted");
}

SpeechTimings SpeechStream::timings() const {
    const std::lock_guard lock(mutex_);
    return timings_;
}

}  // namespace minicpmo
