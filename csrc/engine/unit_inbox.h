#pragma once
// UnitInbox: sound and frames as they arrive, cut into units that wait for the engine. When it falls behind,
// frames go first: of the units that wait only the newest keeps one. Sound is never lost, and nothing changes
// its order. Any number of threads.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "image/image.h"

namespace minicpmo {

struct InboxOptions {
    int max_waiting = 30;  // complete units; more sound has to wait outside
    int max_frames = 8;    // of one unit; the oldest go
    int n_behind = 2;      // so many complete units that wait, and frames go
};

struct OwnedFrame {
    Image image;
    int max_slices = 1;
};

struct WaitingUnit {
    std::vector<float> audio;
    std::vector<OwnedFrame> frames;
    int n_dropped_frames = 0;
    std::chrono::steady_clock::time_point complete;  // when its last sample came
};

class UnitInbox {
public:
    UnitInbox(size_t unit_samples, const InboxOptions& options);

    // Takes all samples, or none: false if there was no room for them until `deadline` or until close().
    // Throws ArgumentError for samples that are no numbers, or after finish().
    bool push_audio(std::span<const float> samples, std::chrono::steady_clock::time_point deadline);
    void push_frame(OwnedFrame frame);  // to the unit whose sound arrives now
    void finish();                      // no more comes: silence fills the last unit up
    void close();                       // nobody takes units any more
    // The oldest complete unit. Waits for it; nothing after the last one, or when closed.
    std::optional<WaitingUnit> pop();
    int n_waiting() const;

private:
    void complete();
    void shed_frames();

    size_t unit_samples_;
    InboxOptions options_;
    mutable std::mutex mutex_;
    std::condition_variable has_unit_, has_room_;
    std::deque<WaitingUnit> units_;
    WaitingUnit arriving_;
    bool is_finished_ = false;
    bool is_closed_ = false;
};

}  // namespace minicpmo
