#pragma once
// SpeechStream: what the LLM says, a few tokens and their states at a time, to samples. Codes and samples are
// made by two threads of its own while the caller goes on, or by the caller itself; the samples are the same.
// Used by one thread at a time; interrupt() from any. Reference: MiniCPMO.streaming_generate.

#include <atomic>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"
#include "base/stopwatch.h"
#include "engine/code_sampler.h"
#include "engine/code_writer.h"
#include "engine/model.h"

namespace minicpmo {

struct SpeechStreamOptions {
    bool is_whole = false;  // one chunk, the whole text, as the reference's chat(); else one every few tokens
    bool has_threads = true;
    uint64_t seed = 0;
    std::optional<CodeSampling> sampling = {};  // the model's own if absent
};

struct SpeechTimings {   // in seconds
    double codes_s = 0;  // the language model of speech
    double flow_s = 0;   // what makes spectra of codes
    double vocoder_s = 0;
    double first_sample_s = 0;  // from the first tokens to the first samples
    int n_code = 0;
    int64_t n_sample = 0;
};

class SpeechStream {
public:
    // `decoder` is of the model's kind of voice, and lent for the length of the stream.
    SpeechStream(std::shared_ptr<const Model> model, CodeDecoder& decoder,
                 const SpeechStreamOptions& options);
    ~SpeechStream();
    SpeechStream(const SpeechStream&) = delete;
    SpeechStream& operator=(const SpeechStream&) = delete;

    // Waits while much is still to be spoken, whether or not samples are taken meanwhile.
    void feed(SpokenTokens tokens);
    // Samples that are ready; nothing if there are none now.
    std::optional<std::vector<float>> poll();
    // The next samples; nothing when all was spoken. Throws ArgumentError before the final tokens were fed.
    std::optional<std::vector<float>> next();
    void interrupt() noexcept;      // feed() and next() throw InterruptedError, or end
    SpeechTimings timings() const;  // so far; any thread

private:
    void speak(const SpokenTokens& tokens);  // codes for these tokens
    void decode(const CodeBatch& batch);     // samples for these codes
    void run_codes();
    void run_samples();
    void fail_with(std::exception_ptr error) noexcept;
    void rethrow();

    std::shared_ptr<const Model> model_;
    CodeDecoder& decoder_;
    std::unique_ptr<CodeWriter> writer_;
    bool has_threads_;
    Stopwatch watch_;
    bool has_begun_ = false;
    bool has_final_ = false;
    std::atomic<bool> is_interrupted_ = false;

    BoundedQueue<SpokenTokens> tokens_;
    BoundedQueue<CodeBatch> codes_;
    BoundedQueue<std::vector<float>> samples_;
    mutable std::mutex mutex_;  // of the two below
    SpeechTimings timings_;
    std::exception_ptr error_;
    std::vector<std::jthread> threads_;
};

}  // namespace minicpmo
