#include "engine/unit_inbox.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace minicpmo {

UnitInbox::UnitInbox(size_t unit_samples, const InboxOptions& options)
    : unit_samples_(unit_samples), options_(options) {
    check<ArgumentError>(options.max_waiting >= 1 && options.max_frames >= 1 && options.n_behind >= 1,
                         "[duplex] expected room for a unit and a frame at least, got {}, {} and {}",
                         options.max_waiting, options.max_frames, options.n_behind);
}

bool UnitInbox::push_audio(std::span<const float> samples, std::chrono::steady_clock::time_point deadline) {
    const auto bad = std::find_if(samples.begin(), samples.end(), [](float x) { return !std::isfinite(x); });
    check<ArgumentError>(bad == samples.end(), "[duplex] expected finite samples, got {} at {}",
                         bad == samples.end() ? 0.0F : *bad, bad - samples.begin());
    std::unique_lock lock(mutex_);
    const auto n_new = [&] { return (arriving_.audio.size() + samples.size()) / unit_samples_; };
    const auto max_waiting = static_cast<size_t>(options_.max_waiting);
    // What is longer than all the room there is has to wait until there is nothing else.
    const auto fits = [&] { return units_.empty() || units_.size() + n_new() <= max_waiting; };
    const auto can_go_on = [&] { return fits() || is_closed_ || is_finished_; };
    if (!has_room_.wait_until(lock, deadline, can_go_on)) return false;
    check<ArgumentError>(!is_finished_, "[duplex] expected no sound after finish(), got {} samples",
                         samples.size());
    if (is_closed_) return false;
    while (!samples.empty()) {
        std::vector<float>& audio = arriving_.audio;
        const auto n = std::min(unit_samples_ - audio.size(), samples.size());
        audio.insert(audio.end(), samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(n));
        samples = samples.subspan(n);
        if (audio.size() == unit_samples_) complete();
    }
    return true;
}

void UnitInbox::push_frame(OwnedFrame frame) {
    const std::lock_guard lock(mutex_);
    check<ArgumentError>(!is_finished_, "[duplex] expected no frame after finish(), got one");
    arriving_.frames.push_back(std::move(frame));
    if (arriving_.frames.size() > static_cast<size_t>(options_.max_frames)) {
        arriving_.frames.erase(arriving_.frames.begin());
        ++arriving_.n_dropped_frames;
    }
}

void UnitInbox::complete() {
    arriving_.complete = std::chrono::steady_clock::now();
    units_.push_back(std::move(arriving_));
    arriving_ = {};
    if (units_.size() >= static_cast<size_t>(options_.n_behind)) shed_frames();
    has_unit_.notify_one();
}

void UnitInbox::shed_frames() {
    for (WaitingUnit& unit : units_) {
        const size_t n_kept = &unit == &units_.back() ? std::min<size_t>(unit.frames.size(), 1) : 0;
        const auto n_lost = static_cast<std::ptrdiff_t>(unit.frames.size() - n_kept);
        unit.frames.erase(unit.frames.begin(), unit.frames.begin() + n_lost);
        unit.n_dropped_frames += static_cast<int>(n_lost);
    }
}

void UnitInbox::finish() {
    const std::lock_guard lock(mutex_);
    if (is_finished_) return;
    is_finished_ = true;
    if (!arriving_.audio.empty() || !arriving_.frames.empty()) {
        arriving_.audio.resize(unit_samples_, 0.0F);
        complete();
    }
    has_unit_.notify_all();
    has_room_.notify_all();
}

void UnitInbox::close() {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    has_unit_.notify_all();
    has_room_.notify_all();
}

std::optional<WaitingUnit> UnitInbox::pop() {
    std::unique_lock lock(mutex_);
    has_unit_.wait(lock, [&] { return !units_.empty() || is_finished_ || is_closed_; });
    if (units_.empty() || is_closed_) return std::nullopt;
    WaitingUnit unit = std::move(units_.front());
    units_.pop_front();
    has_room_.notify_all();
    return unit;
}

int UnitInbox::n_waiting() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(units_.size());
}

}  // namespace minicpmo
