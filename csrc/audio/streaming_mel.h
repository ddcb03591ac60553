#pragma once
// StreamingMel: the features of sound that arrives piece by piece, as a whole-buffer computation after every
// piece would give them, each frame computed once.
// Reference: processing_minicpmo.py, StreamingMelProcessorExact (sliding window on).

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "audio/log_mel.h"
#include "base/archive.h"

namespace minicpmo {

struct StreamingMelConfig {
    int redundancy = 0;         // frames of its neighbours that a chunk repeats on both sides
    int chunk_ms = 1000;        // what one push emits
    int first_chunk_ms = 1035;  // rounded down to whole frames
    // The buffer is what the dynamic floor looks at: once it is slide_trigger_s long it loses slide_s.
    int slide_trigger_s = 30;
    int slide_s = 10;
    double dynamic_floor_from_s = 5;  // shorter buffers have the fixed floor
};

struct MelChunk {
    Array<float> mel;  // [n_mel, n]: prefix, frames that are new, suffix
    int prefix = 0;    // frames of the chunk before
    int suffix = 0;    // frames of the chunk to come
};

// A copy is a snapshot. The stream's own memory is bounded by the buffer, of which it keeps frames not yet
// emitted and one number for each of the others.
class StreamingMel {
public:
    StreamingMel(std::shared_ptr<const LogMel> mel, const StreamingMelConfig& config);

    int chunk_samples() const;  // what the next push should bring
    // At most slide_s of samples. Emits one chunk as soon as all its frames are known, so that who brings
    // more than chunk_samples falls behind, and loses what the buffer slides away from. With is_last the
    // chunk may be short, and more of them follow on pushes of nothing.
    std::optional<MelChunk> push(std::span<const float> samples, bool is_last = false);
    void archive(Archive& archive);  // state, not options

private:
    int64_t buffer_samples() const { return n_sample_ - base_ * hop_; }
    SampleLine line() const;
    void add_frames();
    void slide();
    std::optional<MelChunk> next_chunk(bool is_last);
    void forget();

    std::shared_ptr<const LogMel> mel_;
    StreamingMelConfig config_;
    int64_t hop_ = 0;           // samples
    int64_t chunk_frames_ = 0;  // of a chunk without redundancy
    int64_t slide_frames_ = 0;
    int64_t n_opening_ = 0;  // frames that see the mirror at the buffer's begin

    // Frames are counted from the begin of the stream, and so are samples.
    int64_t n_sample_ = 0;   // pushed
    int64_t base_ = 0;       // first frame of the buffer
    int64_t n_known_ = 0;    // frames that see no sample yet to come
    int64_t n_emitted_ = 0;  // frames
    bool is_first_ = true;
    std::vector<float> samples_;               // the last ones, which frames to come will see
    std::vector<float> loudest_;               // of each known frame of the buffer
    std::vector<float> pending_;               // [n_mel, n] log powers of the last known frames
    std::deque<std::vector<float>> openings_;  // [n_mel, n_opening]: the first frames of the buffers to come
};

}  // namespace minicpmo
