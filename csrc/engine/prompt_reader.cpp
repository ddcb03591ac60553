#include "engine/prompt_reader.h"

#include <algorithm>

#include "base/error.h"

namespace minicpmo {

void MediaTimings::add(const MediaTimings& more) {
    vision_s += more.vision_s;
    audio_s += more.audio_s;
    n_slice += more.n_slice;
    n_audio += more.n_audio;
    n_slice_found += more.n_slice_found;
    n_audio_found += more.n_audio_found;
}

PromptReader::PromptReader(const Model& model, const Prompt& prompt, Workspace& workspace, Progress* progress,
                           int first)
    : model_(model), prompt_(prompt), workspace_(workspace), progress_(progress), next_(first) {
    while (run_ < prompt.runs.size() && prompt.runs[run_].begin + prompt.runs[run_].n <= first) ++run_;
    if (progress_ == nullptr) return;
    int n_slice = 0;
    int n_audio = 0;
    for (const EmbeddingRun& run : std::span(prompt.runs).subspan(run_))
        (run.kind == PartKind::image ? n_slice : n_audio) += run.kind == PartKind::image ? 1 : run.n;
    progress_->n_slice_done = 0;
    progress_->n_slice = n_slice;
    progress_->n_audio_done = 0;
    progress_->n_audio = n_audio;
    progress_->n_token_done = 0;
    progress_->n_token = n_left();
}

void PromptReader::encode(const EmbeddingRun& run) {
    const Stopwatch watch;
    const bool is_found = find(run);
    if (!is_found) {
        rows_ = std::make_shared<const Array<float>>(run.encode(workspace_));
        if (run.content) model_.media_cache().add(*run.content, rows_);
    }
    if (run.kind == PartKind::image) {
        timings_.vision_s += watch.seconds();
        ++timings_.n_slice;
        timings_.n_slice_found += is_found ? 1 : 0;
        if (progress_ != nullptr) ++progress_->n_slice_done;
    } else {
        timings_.audio_s += watch.seconds();
        timings_.n_audio += run.n;
        timings_.n_audio_found += is_found ? run.n : 0;
        if (progress_ != nullptr) progress_->n_audio_done += run.n;
    }
}

bool PromptReader::find(const EmbeddingRun& run) {
    if (run.content) rows_ = model_.media_cache().find(*run.content, run.n);
    return rows_ != nullptr;
}

Array<float> PromptReader::read(int n) {
    check<Error>(n > 0 && n <= n_left(), "[prompt] expected 1 to {} rows to be read, got {}", n_left(), n);
    const auto ids =
        std::span<const int32_t>(prompt_.ids).subspan(static_cast<size_t>(next_), static_cast<size_t>(n));
    Array<float> rows = model_.embedding().lookup(ids, workspace_);
    const int end = next_ + n;
    while (run_ < prompt_.runs.size() && prompt_.runs[run_].begin < end) {
        const EmbeddingRun& run = prompt_.runs[run_];
        if (rows_ == nullptr) encode(run);
        const int from = std::max(run.begin, next_);
        const int to = std::min(run.begin + run.n, end);
        const auto n_embd = static_cast<std::ptrdiff_t>(rows.dim(0));
        std::copy(rows_->data.begin() + (from - run.begin) * n_embd,
                  rows_->data.begin() + (to - run.begin) * n_embd,
                  rows.data.begin() + (from - next_) * n_embd);
        if (to < run.begin + run.n) break;
        rows_ = nullptr;
        ++run_;
    }
    next_ = end;
    return rows;
}

}  // namespace minicpmo
