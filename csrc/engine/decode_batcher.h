#pragma once
// DecodeBatcher: one token each of several conversations in one pass over the weights: whoever asks while
// others are computed is in the next pass. Any number of threads.

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <vector>

#include "models/decoder.h"

namespace minicpmo {

class DecodeBatcher {
public:
    // All of these outlive the batcher.
    DecodeBatcher(const Decoder& decoder, const TokenEmbedding& embedding, const Head& head,
                  std::shared_ptr<const Backend> backend);

    // What Decoder::forward gives for this token, with its state. A conversation that is alone runs in its
    // own workspace. Throws what the pass threw; the cache is then as before.
    DecoderOutput decode(int32_t id, KvCache& cache, Workspace& workspace);

    static constexpr size_t kMaxTokens = 8;  // of a pass

private:
    struct Request {
        int32_t id;
        KvCache* cache;
        Workspace* workspace;
        std::optional<DecoderOutput> output = {};
        std::exception_ptr error = {};
        bool is_done() const { return output.has_value() || error != nullptr; }
    };
    void run_pass(std::unique_lock<std::mutex>& lock);
    std::vector<DecoderOutput> compute(std::span<Request* const> pass);

    const Decoder& decoder_;
    const TokenEmbedding& embedding_;
    const Head& head_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Request*> waiting_;
    bool is_running_ = false;
    size_t n_last_ = 1;    // tokens of the last pass: so many are likely to come again
    Workspace workspace_;  // of passes with several tokens
};

}  // namespace minicpmo
