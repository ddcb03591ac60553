#include "engine/decode_batcher.h"

#include <algorithm>
#include <chrono>

namespace minicpmo {

namespace {

// That a pass waits for conversations which were in the last one: far less than a pass takes.
constexpr std::chrono::milliseconds kPatience{2};

}  // namespace

DecodeBatcher::DecodeBatcher(const Decoder& decoder, const TokenEmbedding& embedding, const Head& head,
                             std::shared_ptr<const Backend> backend)
    : decoder_(decoder), embedding_(embedding), head_(head), workspace_(std::move(backend)) {}

DecoderOutput DecodeBatcher::decode(int32_t id, KvCache& cache, Workspace& workspace) {
    cache.reserve(1);  // a context that is full is nobody else's trouble
    Request own{id, &cache, &workspace};
    std::unique_lock lock(mutex_);
    waiting_.push_back(&own);
    changed_.notify_all();
    while (!own.is_done()) {
        if (!is_running_) {
            run_pass(lock);
        } else {
            changed_.wait(lock);
        }
    }
    if (own.error) std::rethrow_exception(own.error);
    return std::move(*own.output);
}

// By whoever finds that none runs, for all who wait.
void DecodeBatcher::run_pass(std::unique_lock<std::mutex>& lock) {
    is_running_ = true;
    changed_.wait_for(lock, kPatience, [&] { return waiting_.size() >= n_last_; });
    const auto n = static_cast<std::ptrdiff_t>(std::min(waiting_.size(), kMaxTokens));
    const std::vector<Request*> pass(waiting_.begin(), waiting_.begin() + n);
    waiting_.erase(waiting_.begin(), waiting_.begin() + n);
    n_last_ = pass.size();
    std::vector<DecoderOutput> outputs;
    std::exception_ptr error;
    lock.unlock();
    try {
        outputs = compute(pass);
    } catch (...) {
        error = std::current_exception();
    }
    lock.lock();
    for (size_t i = 0; i < pass.size(); ++i) {
        pass[i]->error = error;
        if (!error) pass[i]->output = std::move(outputs[i]);
    }
    is_running_ = false;
    changed_.notify_all();
}

std::vector<DecoderOutput> DecodeBatcher::compute(std::span<Request* const> pass) {
    std::vector<DecoderOutput> outputs;
    if (pass.size() == 1) {
        const Request& request = *pass[0];
        DecoderInput input;
        input.ids = {&request.id, 1};
        outputs.push_back(
            decoder_.forward(input, &embedding_, &head_, Rows::last, *request.cache, *request.workspace));
        return outputs;
    }
    std::vector<int32_t> ids;
    std::vector<KvCache*> caches;
    for (const Request* request : pass) {
        ids.push_back(request->id);
        caches.push_back(request->cache);
    }
    const DecoderOutput all = decoder_.forward_each(ids, caches, embedding_, head_, workspace_);
    for (int64_t i = 0; i < static_cast<int64_t>(pass.size()); ++i) {
        const auto row = [&](const Array<float>& rows) {
            Array<float> one({rows.dim(0), 1});
            const std::span<const float> values = rows.row(i);
            std::copy(values.begin(), values.end(), one.data.begin());
            return one;
        };
        outputs.push_back({row(all.hidden), row(all.logits)});
    }
    return outputs;
}

}  // namespace minicpmo
