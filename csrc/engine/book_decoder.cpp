#include "engine/book_decoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/stopwatch.h"

namespace minicpmo {

BookDecoder::BookDecoder(std::shared_ptr<const Model> model)
    : model_(std::move(model)), workspace_(model_->backend()) {
    model_->book_speech();  // or it throws
}

void BookDecoder::begin(bool streams) {
    streams_ = streams;
    codes_.clear();
    held_.clear();
    dvae_s_ = vocos_s_ = 0;
}

std::vector<float> BookDecoder::sound(std::span<const int32_t> codes) {
    const BookSpeech& speech = model_->book_speech();
    const Stopwatch dvae_watch;
    const Array<float> mel = speech.dvae().decode(codes, workspace_);
    dvae_s_ += dvae_watch.seconds();
    const Stopwatch vocos_watch;
    std::vector<float> samples = speech.vocos().generate(mel, workspace_);
    vocos_s_ += vocos_watch.seconds();
    return samples;
}

std::vector<float> BookDecoder::decode(const CodeBatch& batch) {
    const BookConfig& config = model_->book_speech().config();
    const bool ends_part = batch.ends_part || batch.is_last;
    if (!streams_) {
        codes_.insert(codes_.end(), batch.codes.begin(), batch.codes.end());
        if (!ends_part || codes_.empty()) return {};
        return sound(std::exchange(codes_, {}));
    }
    std::vector<float> ready;
    if (!batch.codes.empty()) {
        const size_t n_before = codes_.size();
        codes_.insert(codes_.end(), batch.codes.begin(), batch.codes.end());
        std::vector<float> next = sound(codes_);
        const auto n_step =
            static_cast<size_t>(config.dvae.n_group) * static_cast<size_t>(config.vocos.hop_length);
        const size_t overlap = n_before / static_cast<size_t>(config.lm.n_book) * n_step;
        if (!held_.empty()) fade(held_, next, overlap);
        ready = std::exchange(held_, std::move(next));
        const auto n_kept = static_cast<std::ptrdiff_t>(
            std::min(codes_.size(), static_cast<size_t>(kOverlapSteps * config.lm.n_book)));
        codes_.erase(codes_.begin(), codes_.end() - n_kept);
    }
    if (ends_part) {
        ready.insert(ready.end(), held_.begin(), held_.end());
        held_.clear();
    }
    return ready;
}

void BookDecoder::fade(std::vector<float>& held, std::vector<float>& next, size_t overlap) {
    overlap = std::min({overlap, held.size(), next.size()});
    // Both lie under one triangle, whose ends are beyond the ends of the longer one: `held` under its end,
    // `next` under its beginning.
    const size_t n_weight = std::max(held.size(), next.size()) + overlap;
    const auto weight = [&](size_t i) {
        const double t = static_cast<double>(i + 1) / static_cast<double>(n_weight + 1);
        return 0.5 - std::abs(t - 0.5);
    };
    const size_t begin = held.size() - overlap;
    for (size_t i = 0; i < overlap; ++i) {
        const double old_weight = weight(n_weight - overlap + i);
        const double new_weight = weight(i);
        held[begin + i] = static_cast<float>((old_weight * held[begin + i] + new_weight * next[i]) /
                                             (old_weight + new_weight));
    }
    next.erase(next.begin(), next.begin() + static_cast<std::ptrdiff_t>(overlap));
}

}  // namespace minicpmo
