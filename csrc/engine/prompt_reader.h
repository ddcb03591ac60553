#pragma once
// PromptReader: the rows of a prompt as the decoder reads them, in order and a batch at a time, so that media
// are encoded when their turn comes and only the run that is being read is held.

#include <atomic>

#include "base/stopwatch.h"
#include "engine/prompt_builder.h"

namespace minicpmo {

// Done and total steps of what a session does now, readable from any thread.
struct Progress {
    std::atomic<int> n_slice_done = 0, n_slice = 0;
    std::atomic<int> n_audio_done = 0, n_audio = 0;  // embeddings
    std::atomic<int> n_token_done = 0, n_token = 0;
};

struct MediaTimings {  // of what was encoded, or found in the model's cache, so far
    double vision_s = 0, audio_s = 0;
    int n_slice = 0, n_audio = 0;
    int n_slice_found = 0, n_audio_found = 0;  // of these

    void add(const MediaTimings& more);
};

class PromptReader {
public:
    // first: the row that read() begins with.
    PromptReader(const Model& model, const Prompt& prompt, Workspace& workspace, Progress* progress = nullptr,
                 int first = 0);

    int n_left() const { return static_cast<int>(prompt_.ids.size()) - next_; }
    Array<float> read(int n);  // the next n rows, [n_embd, n]
    const MediaTimings& timings() const { return timings_; }

private:
    void encode(const EmbeddingRun& run);
    bool find(const EmbeddingRun& run);  // in the model's cache

    const Model& model_;
    const Prompt& prompt_;
    Workspace& workspace_;
    Progress* progress_;
    MediaTimings timings_;
    int next_;               // row
    size_t run_ = 0;         // the first run that is not read to its end
    MediaCache::Rows rows_;  // of that run; nullptr until its first row is due
};

}  // namespace minicpmo
