#pragma once
// DuplexStream: a DuplexSession that runs by itself: sound and frames are pushed as they arrive, and units
// come out as they are done. Encoders, language model, speech codes and samples have a thread each, so that
// a second's input does not wait for the last second's output; the units are those that step() would give.
// Reference: the workers of the official demo server, MiniCPM-o-Demo worker.py.

#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"
#include "engine/duplex_session.h"
#include "engine/unit_inbox.h"

namespace minicpmo {

struct StreamedChunk {
    DuplexChunk chunk;
    double latency_s = 0;      // from the last sample of its input to its sound
    bool is_late = false;      // that was longer than a unit
    int n_dropped_frames = 0;  // of its input
    int n_queued = 0;          // complete units that waited then
};

class DuplexStream {
public:
    // The session is lent for the stream's life, prepared: nobody else uses it, interrupt() aside.
    explicit DuplexStream(DuplexSession& session, const InboxOptions& inbox = {});
    ~DuplexStream();  // what is not done is dropped
    DuplexStream(const DuplexStream&) = delete;
    DuplexStream& operator=(const DuplexStream&) = delete;

    // See UnitInbox. Throws what a stage threw, and Error where so many chunks wait to be taken that this
    // would never end.
    bool push_audio(std::span<const float> samples, std::chrono::steady_clock::time_point deadline);
    void push_frame(OwnedFrame frame) { inbox_.push_frame(std::move(frame)); }
    void finish() { inbox_.finish(); }
    void interrupt() noexcept { session_.interrupt(); }
    // The next unit. Waits for it; nothing after the last one. Throws what a stage threw once the units
    // before were taken; the conversation is then to be prepared anew or restored.
    std::optional<StreamedChunk> next();
    std::optional<StreamedChunk> poll();          // the same, without waiting
    bool is_over() { return chunks_.is_over(); }  // nothing is left to be taken

    static constexpr size_t kMaxChunks = 64;  // that wait to be taken

private:
    struct Unit {  // on its way through the stages
        StreamedChunk out;
        std::chrono::steady_clock::time_point complete;
        EncodedUnit encoded;
        UnitCodes codes;
    };
    void run_encoder();
    void run_writer();
    void run_codes();
    void run_samples();
    void run(size_t index, void (DuplexStream::*stage)());
    void stop();
    void rethrow();
    std::optional<StreamedChunk> taken(std::optional<StreamedChunk> chunk);

    DuplexSession& session_;
    UnitInbox inbox_;
    BoundedQueue<Unit> encoded_, written_, coded_;
    BoundedQueue<StreamedChunk> chunks_;
    std::atomic<size_t> n_chunk_ = 0;  // that wait to be taken
    std::mutex mutex_;                 // of error_
    std::exception_ptr error_;
    std::vector<std::jthread> threads_;
};

}  // namespace minicpmo
