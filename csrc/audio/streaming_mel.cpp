#include "audio/streaming_mel.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace minicpmo {

namespace {

std::ptrdiff_t offset(int64_t n) { return static_cast<std::ptrdiff_t>(n); }

int64_t samples_of(int64_t ms, const MelConfig& mel) { return (ms * mel.sample_rate + 500) / 1000; }

void check_config(const StreamingMelConfig& config, const MelConfig& mel) {
    constexpr int kMaxChunkMs = 60'000;
    for (const int ms : {config.chunk_ms, config.first_chunk_ms}) {
        check<ArgumentError>(ms > 0 && ms <= kMaxChunkMs && samples_of(ms, mel) >= mel.hop,
                             "[streaming mel] expected chunks of a frame to {} ms, got {} ms", kMaxChunkMs,
                             ms);
    }
    check<ArgumentError>(
        config.redundancy >= 0 && config.redundancy <= samples_of(config.chunk_ms, mel) / mel.hop,
        "[streaming mel] expected 0 to the frames of a chunk, got {} (redundancy)", config.redundancy);
    const int64_t rate = mel.sample_rate;
    check<ArgumentError>(config.slide_s > 0 && config.slide_s * rate >= mel.hop,
                         "[streaming mel] expected at least 1, got {} (slide_s)", config.slide_s);
    // What a slide leaves is at least 1 s in the reference too, and here it must hold a frame.
    check<ArgumentError>(config.slide_trigger_s - int64_t{1} >= config.slide_s &&
                             config.slide_trigger_s * rate <= mel.max_samples && rate >= 2 * mel.n_fft,
                         "[streaming mel] expected {} to {}, got {} (slide_trigger_s)",
                         config.slide_s + int64_t{1}, mel.max_samples / rate, config.slide_trigger_s);
}

}  // namespace

StreamingMel::StreamingMel(std::shared_ptr<const LogMel> mel, const StreamingMelConfig& config)
    : mel_(std::move(mel)), config_(config) {
    check<ArgumentError>(mel_ != nullptr, "[streaming mel] expected a LogMel, got none");
    const MelConfig& frames = mel_->config();
    check_config(config_, frames);
    hop_ = frames.hop;
    chunk_frames_ = samples_of(config_.chunk_ms, frames) / hop_;
    slide_frames_ = int64_t{config_.slide_s} * frames.sample_rate / hop_;
    n_opening_ = (frames.n_fft / 2 + hop_ - 1) / hop_;
}

int StreamingMel::chunk_samples() const {
    const MelConfig& frames = mel_->config();
    if (!is_first_) return static_cast<int>(samples_of(config_.chunk_ms, frames));
    return static_cast<int>(samples_of(config_.first_chunk_ms, frames) / hop_ * hop_);
}

std::optional<MelChunk> StreamingMel::push(std::span<const float> samples, bool is_last) {
    check_samples(samples);
    check<ArgumentError>(static_cast<int64_t>(samples.size()) <= slide_frames_ * hop_,
                         "[streaming mel] expected at most {} samples at once, got {}", slide_frames_ * hop_,
                         samples.size());
    samples_.insert(samples_.end(), samples.begin(), samples.end());
    n_sample_ += static_cast<int64_t>(samples.size());
    // NOTE: the reference fails while there is less than one frame's worth of samples. Here they wait for
    // more; if nothing follows they are lost, and would be too short for an embedding anyway.
    if (n_sample_ < mel_->config().n_fft) return std::nullopt;
    is_first_ = false;
    add_frames();
    slide();
    std::optional<MelChunk> chunk = next_chunk(is_last);
    forget();
    return chunk;
}

SampleLine StreamingMel::line() const {
    return {samples_, n_sample_ - static_cast<int64_t>(samples_.size()), base_ * hop_, n_sample_};
}

// Frames that see no sample to come are final, but for the first ones of a buffer: once it has slid, they see
// its begin mirrored instead of what was there. Where buffers will begin is known in advance.
void StreamingMel::add_frames() {
    const MelConfig& config = mel_->config();
    const int64_t n_whole = (n_sample_ - config.n_fft / 2) / hop_ + 1;
    const int64_t n_known = std::min(n_whole, n_sample_ / hop_);
    const std::vector<float> logs = mel_->log_powers(line(), n_known_, n_known);
    for (auto frame = logs.begin(); frame != logs.end(); frame += config.n_mel) {
        loudest_.push_back(*std::max_element(frame, frame + config.n_mel));
    }
    pending_.insert(pending_.end(), logs.begin(), logs.end());
    n_known_ = std::max(n_known, n_known_);
    for (;;) {
        const int64_t first = base_ + static_cast<int64_t>(openings_.size() + 1) * slide_frames_;
        if (first + n_opening_ > n_known_) break;
        SampleLine opened = line();
        opened.begin = first * hop_;
        openings_.push_back(mel_->log_powers(opened, first, first + n_opening_));
    }
}

void StreamingMel::slide() {
    const MelConfig& config = mel_->config();
    if (buffer_samples() < int64_t{config_.slide_trigger_s} * config.sample_rate) return;
    base_ += slide_frames_;
    loudest_.erase(loudest_.begin(), loudest_.begin() + offset(slide_frames_));
    const int64_t first_pending = n_known_ - static_cast<int64_t>(pending_.size()) / config.n_mel;
    auto frame = openings_.front().cbegin();
    for (int64_t i = 0; i < n_opening_; ++i, frame += config.n_mel) {
        loudest_[static_cast<size_t>(i)] = *std::max_element(frame, frame + config.n_mel);
        const int64_t place = base_ + i - first_pending;
        if (place >= 0) std::copy_n(frame, config.n_mel, pending_.begin() + offset(place * config.n_mel));
    }
    openings_.pop_front();
}

std::optional<MelChunk> StreamingMel::next_chunk(bool is_last) {
    const MelConfig& config = mel_->config();
    const int64_t core = n_emitted_;
    const int64_t core_end = core + chunk_frames_;
    if (n_known_ < core_end + config_.redundancy && !is_last) return std::nullopt;
    n_emitted_ = core_end;
    // Frames at the end that see it mirrored: only a last chunk has them, but any floor knows them.
    const int64_t n_frame = n_sample_ / hop_;
    const std::vector<float> edge = mel_->log_powers(line(), n_known_, n_frame);
    float loudest = *std::max_element(loudest_.begin(), loudest_.end());
    for (const float x : edge) loudest = std::max(loudest, x);

    const int64_t begin = std::max(core - config_.redundancy, base_);
    const int64_t end = std::min(core_end + config_.redundancy, n_frame);
    // NOTE: where no frame is new, the reference emits the repeated ones alone, or a chunk of no frames.
    if (std::max(begin, core) >= std::min(end, core_end)) return std::nullopt;
    MelChunk chunk;
    chunk.mel = Array<float>({config.n_mel, end - begin});
    chunk.prefix = static_cast<int>(std::max<int64_t>(core - begin, 0));
    chunk.suffix = static_cast<int>(std::max<int64_t>(end - core_end, 0));
    const int64_t first_pending = n_known_ - static_cast<int64_t>(pending_.size()) / config.n_mel;
    auto out = chunk.mel.data.begin();
    for (int64_t t = begin; t < end; ++t, out += config.n_mel) {
        const auto frame = t < n_known_ ? pending_.begin() + offset((t - first_pending) * config.n_mel)
                                        : edge.begin() + offset((t - n_known_) * config.n_mel);
        std::copy_n(frame, config.n_mel, out);
    }
    const bool is_dynamic =
        static_cast<double>(buffer_samples()) >= config_.dynamic_floor_from_s * config.sample_rate;
    LogMel::scale(chunk.mel.data, is_dynamic ? LogFloor::dynamic : LogFloor::fixed, loudest);
    return chunk;
}

void StreamingMel::forget() {
    const MelConfig& config = mel_->config();
    const int64_t n_pending = static_cast<int64_t>(pending_.size()) / config.n_mel;
    const int64_t needed = std::max(n_emitted_ - config_.redundancy, base_);  // the first frame that is
    const int64_t n_done = std::clamp<int64_t>(needed - (n_known_ - n_pending), 0, n_pending);
    pending_.erase(pending_.begin(), pending_.begin() + offset(n_done * config.n_mel));
    const int64_t seen = n_known_ * hop_ - config.n_fft / 2 - line().first;  // by no frame to come
    if (seen > 0) samples_.erase(samples_.begin(), samples_.begin() + offset(seen));
}

void StreamingMel::archive(Archive& archive) {
    for (int64_t* n : {&n_sample_, &base_, &n_known_, &n_emitted_}) archive(*n);
    archive(is_first_);
    archive(samples_);
    archive(loudest_);
    archive(pending_);
    archive(openings_);
    const MelConfig& config = mel_->config();
    constexpr int64_t kMost = int64_t{1} << 48;  // samples
    const auto count = [](const auto& list) { return static_cast<int64_t>(list.size()); };
    const int64_t n_pending = count(pending_) / config.n_mel;
    bool is_sound = n_sample_ >= count(samples_) && n_sample_ < kMost && base_ >= 0 && base_ <= n_known_ &&
                    base_ % slide_frames_ == 0 && n_known_ <= n_sample_ / hop_ && n_emitted_ >= 0 &&
                    n_emitted_ <= n_known_ + chunk_frames_ && count(loudest_) == n_known_ - base_ &&
                    count(pending_) == n_pending * config.n_mel && n_pending <= n_known_ - base_ &&
                    n_known_ - n_pending <= std::max(n_emitted_ - config_.redundancy, base_);
    // What frames to come will see must be there, and the frames that a slide will put in.
    const int64_t n_seen = std::max<int64_t>(n_known_ * hop_ - config.n_fft / 2, 0);
    const int64_t n_opening = std::max<int64_t>((n_known_ - n_opening_ - base_) / slide_frames_, 0);
    is_sound = is_sound && n_sample_ - count(samples_) <= n_seen && count(openings_) == n_opening &&
               buffer_samples() < int64_t{config_.slide_trigger_s} * config.sample_rate;
    for (const std::vector<float>& opening : openings_) {
        is_sound = is_sound && count(opening) == n_opening_ * config.n_mel;
    }
    is_sound =
        is_sound && std::all_of(samples_.begin(), samples_.end(), [](float x) { return std::isfinite(x); });
    check<ModelFileError>(is_sound,
                          "[streaming mel] expected the state of a stream, got numbers that disagree");
}

}  // namespace minicpmo
