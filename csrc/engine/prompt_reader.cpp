#include "engine/prompt_reader.h"

#include <algorithm>

#include "base/error.h"

namespace minicpmo {

PromptReader::PromptReader(const Model& model, const Prompt& prompt, Workspace& workspace, Progress* progress)
    : model_(model), prompt_(prompt), workspace_(workspace), progress_(progress) {
    if (progress_ == nullptr) return;
    int n_slice = 0;
    int n_audio = 0;
    for (const EmbeddingRun& run : prompt.runs)
        (run.kind == PartKind::image ? n_slice : n_audio) += run.kind == PartKind::image ? 1 : run.n;
    progress_->n_slice_done = 0;
    progress_->n_slice = n_slice;
    progress_->n_audio_done = 0;
    progress_->n_audio = n_audio;
    progress_->n_token_done = 0;
    progress_->n_token = static_cast<int>(prompt.ids.size());
}

void PromptReader::encode(const EmbeddingRun& run) {
    const Stopwatch watch;
    rows_ = run.encode(workspace_);
    if (run.kind == PartKind::image) {
        timings_.vision_s += watch.seconds();
        ++timings_.n_slice;
        if (progress_ != nullptr) ++progress_->n_slice_done;
    } else {
        timings_.audio_s += watch.seconds();
        timings_.n_audio += run.n;
        if (progress_ != nullptr) progress_->n_audio_done += run.n;
    }
}

Array<float> PromptReader::read(int n) {
    check<Error>(n > 0 && n <= n_left(), "[prompt] expected 1 to {} rows to be read, got {}", n_left(), n);
    const auto ids =
        std::span<const int32_t>(prompt_.ids).subspan(static_cast<size_t>(next_), static_cast<size_t>(n));
    Array<float> rows = model_.embedding().lookup(ids, workspace_);
    const int end = next_ + n;
    while (run_ < prompt_.runs.size() && prompt_.runs[run_].begin < end) {
        const EmbeddingRun& run = prompt_.runs[run_];
        if (rows_.empty()) encode(run);
        const int from = std::max(run.begin, next_);
        const int to = std::min(run.begin + run.n, end);
        const auto n_embd = static_cast<std::ptrdiff_t>(rows.dim(0));
        std::copy(rows_.data.begin() + (from - run.begin) * n_embd,
                  rows_.data.begin() + (to - run.begin) * n_embd,
                  rows.data.begin() + (from - next_) * n_embd);
        if (to < run.begin + run.n) break;
        rows_ = {};
        ++run_;
    }
    next_ = end;
    return rows;
}

}  // namespace minicpmo
