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

struct MediaTimings {  // of what was encoded so far
    double vision_s = 0, audio_s = 0;
    int n_slice = 0, n_audio = 0;
};

class PromptReader {
public:
    PromptReader(const Model& model, const Prompt& prompt, Workspace& workspace,
                 Progress* progress = nullptr);

    int n_left() const { return static_cast<int>(prompt_.ids.size()) - next_; }
    Array<float> read(int n);  // the next n rows, [n_embd, n]
    const MediaTimings& timings() const { return timings_; }

private:
    void encode(const EmbeddingRun& run);

    const Model& model_;
    const Prompt& prompt_;
    Workspace& workspace_;
    Progress* progress_;
    MediaTimings timings_;
    int next_ = 0;       // row
    size_t run_ = 0;     // the first run that is not read to its end
    Array<float> rows_;  // of that run; empty until its first row is due
};

}  // namespace minicpmo
