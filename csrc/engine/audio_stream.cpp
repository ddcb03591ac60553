#include "engine/audio_stream.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr int kDuplexRedundancy = 2;  // mel frames on both sides: 20 ms

// The first chunk is longer than the others, and the reference fills it up with silence in front.
size_t first_padding(const StreamingMelConfig& mel, int sample_rate) {
    return static_cast<size_t>((mel.first_chunk_ms - mel.chunk_ms) * sample_rate / 1000);
}

}  // namespace

AudioStreamMode parse_audio_stream_mode(std::string_view name) {
    if (name == "half_duplex") return AudioStreamMode::half_duplex;
    if (name == "duplex") return AudioStreamMode::duplex;
    fail<ArgumentError>("[audio stream] expected the mode half_duplex or duplex, got {}", name);
}

StreamingMelConfig streaming_mel_config(AudioStreamMode mode, const AudioConfig& config) {
    StreamingMelConfig mel;
    mel.redundancy = mode == AudioStreamMode::duplex ? kDuplexRedundancy : 0;
    const int extra_ms = mel.first_chunk_ms - mel.chunk_ms;
    mel.chunk_ms = static_cast<int>(std::lround(config.chunk_s * 1000.0F));
    mel.first_chunk_ms = mel.chunk_ms + extra_ms;
    return mel;
}

AudioStream::AudioStream(std::shared_ptr<const Model> model, AudioStreamMode mode)
    : model_(std::move(model)),
      mode_(mode),
      workspace_(model_->backend()),
      mel_((model_->audio(), model_->log_mel()), streaming_mel_config(mode, *model_->config().audio)),
      state_(model_->audio().start(default_kv_type(model_->config()), model_->backend())) {
    reset();
}

void AudioStream::reset() {
    const AudioConfig& config = *model_->config().audio;
    const StreamingMelConfig mel = streaming_mel_config(mode_, config);
    mel_ = StreamingMel(model_->log_mel(), mel);
    state_.cache.truncate(0);
    pending_.assign(first_padding(mel, config.mel.sample_rate), 0.0F);
    is_first_ = true;
    n_sample_ = 0;
}

// Half duplex hands the whole first chunk over; duplex only the frames that it fills, as the reference does.
size_t AudioStream::next_length() const {
    const AudioConfig& config = *model_->config().audio;
    const StreamingMelConfig mel = streaming_mel_config(mode_, config);
    if (mode_ == AudioStreamMode::duplex || !is_first_) return static_cast<size_t>(mel_.chunk_samples());
    return static_cast<size_t>(int64_t{mel.first_chunk_ms} * config.mel.sample_rate / 1000);
}

void AudioStream::hear(std::span<const float> samples, bool is_last, Array<float>& rows) {
    std::optional<MelChunk> chunk = mel_.push(samples, is_last);
    while (chunk && chunk->mel.dim(1) > 0) {
        const Array<float> more = model_->audio().encode_chunk(
            chunk->mel, {.prefix = chunk->prefix, .suffix = chunk->suffix}, state_, workspace_);
        rows.data.insert(rows.data.end(), more.data.begin(), more.data.end());
        rows.shape[1] += more.dim(1);
        if (!is_last) break;
        chunk = mel_.push({}, true);
    }
    is_first_ = false;
}

Array<float> AudioStream::push(std::span<const float> samples) {
    const auto bad = std::find_if(samples.begin(), samples.end(), [](float x) { return !std::isfinite(x); });
    check<ArgumentError>(bad == samples.end(), "[audio stream] expected finite samples, got {} at {}",
                         bad == samples.end() ? 0.0F : *bad, bad - samples.begin());
    Array<float> rows({model_->audio().config().n_embd, 0});
    n_sample_ += static_cast<int64_t>(samples.size());
    while (pending_.size() + samples.size() >= next_length()) {
        const size_t n = next_length() - pending_.size();
        pending_.insert(pending_.end(), samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(n));
        samples = samples.subspan(n);
        hear(pending_, false, rows);
        pending_.clear();
    }
    pending_.insert(pending_.end(), samples.begin(), samples.end());
    return rows;
}

Array<float> AudioStream::finish() {
    Array<float> rows({model_->audio().config().n_embd, 0});
    if (n_sample_ > 0) hear(pending_, true, rows);
    reset();
    return rows;
}

}  // namespace minicpmo
