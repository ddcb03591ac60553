#include "engine/audio_stream.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr int kDuplexRedundancy = 2;  // mel frames on both sides: 20 ms

// Throws UnsupportedModelError where the model does not hear.
const AudioConfig& config_of(const Model& model) {
    model.audio();
    return *model.config().audio;
}

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
    const bool stands_alone = mode == AudioStreamMode::half_duplex && config.chunks_stand_alone;
    mel.first_chunk_ms = mel.chunk_ms + (stands_alone ? 0 : extra_ms);
    return mel;
}

AudioStream::AudioStream(std::shared_ptr<const Model> model, AudioStreamMode mode)
    : model_(std::move(model)),
      mode_(mode),
      stands_alone_(config_of(*model_).chunks_stand_alone && mode == AudioStreamMode::half_duplex),
      workspace_(model_->backend()),
      mel_(model_->log_mel(), streaming_mel_config(mode, *model_->config().audio)),
      state_(start()) {
    reset();
}

std::shared_ptr<AudioEncoderState> AudioStream::start() const {
    return std::make_shared<AudioEncoderState>(
        model_->audio().start(default_kv_type(model_->config()), model_->backend()));
}

void AudioStream::reset(bool opens_with_silence) {
    const AudioConfig& config = *model_->config().audio;
    const StreamingMelConfig mel = streaming_mel_config(mode_, config);
    mel_ = StreamingMel(model_->log_mel(), mel);
    if (n_cached() > 0) state_ = start();
    pending_.assign(opens_with_silence ? first_padding(mel, config.mel.sample_rate) : 0, 0.0F);
    is_first_ = true;
    n_sample_ = 0;
}

int64_t AudioStream::first_samples() const {
    const AudioConfig& config = *model_->config().audio;
    return int64_t{streaming_mel_config(mode_, config).first_chunk_ms} * config.mel.sample_rate / 1000;
}

int64_t AudioStream::chunk_samples() const {
    const AudioConfig& config = *model_->config().audio;
    return int64_t{streaming_mel_config(mode_, config).chunk_ms} * config.mel.sample_rate / 1000;
}

// Half duplex hands the whole first chunk over; duplex only the frames that it fills, as the reference does.
size_t AudioStream::next_length() const {
    const bool is_whole = mode_ == AudioStreamMode::half_duplex && is_first_;
    return static_cast<size_t>(is_whole ? first_samples() : mel_.chunk_samples());
}

uint64_t AudioStream::last_cell(int n) const {
    return n > 0 ? state_->cache.names()[static_cast<size_t>(n) - 1] : 0;
}

AudioStream::Mark AudioStream::mark() const {
    return {state_, n_cached(), last_cell(n_cached()), mel_, pending_, is_first_, n_sample_};
}

void AudioStream::rewind(const Mark& mark) {
    std::shared_ptr<AudioEncoderState> current = std::exchange(state_, mark.state);
    const bool is_here = mark.n_cached <= n_cached() && last_cell(mark.n_cached) == mark.last_cell;
    if (!is_here) state_ = std::move(current);
    check<ArgumentError>(
        is_here,
        "[audio stream] expected a snapshot of this stream, got one that an earlier snapshot "
        "led it away from");
    state_->cache.truncate(mark.n_cached);
    mel_ = mark.mel;
    pending_ = mark.pending;
    is_first_ = mark.is_first;
    n_sample_ = mark.n_sample;
}

void AudioStream::archive(Archive& archive) {
    if (archive.is_reading()) reset();
    archive(mel_);
    archive(state_->cache);
    archive(pending_);
    archive(is_first_);
    archive(n_sample_);
    const bool is_sound =
        pending_.size() < next_length() && n_sample_ >= 0 &&
        std::all_of(pending_.begin(), pending_.end(), [](float x) { return std::isfinite(x); });
    check<ModelFileError>(is_sound,
                          "[audio stream] expected less than a chunk of sound that waits, got {} samples",
                          pending_.size());
}

void AudioStream::encode(const MelChunk& chunk, Array<float>& rows) {
    const AudioEncoder& encoder = model_->audio();
    if (encoder.is_full(*state_, static_cast<int>(chunk.mel.dim(1)))) state_ = start();
    const Array<float> more = encoder.encode_chunk(
        chunk.mel, {.prefix = chunk.prefix, .suffix = chunk.suffix}, *state_, workspace_);
    rows.data.insert(rows.data.end(), more.data.begin(), more.data.end());
    rows.shape[1] += more.dim(1);
}

void AudioStream::hear(std::span<const float> samples, bool is_last, Array<float>& rows) {
    if (stands_alone_) {
        if (!samples.empty()) encode({model_->log_mel()->offline(samples)}, rows);
        return;
    }
    std::optional<MelChunk> chunk = mel_.push(samples, is_last);
    while (chunk && chunk->mel.dim(1) > 0) {
        encode(*chunk, rows);
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

Array<float> AudioStream::end_piece() {
    if (!stands_alone_) return finish();
    Array<float> rows({model_->audio().config().n_embd, 0});
    hear(pending_, true, rows);
    pending_.clear();
    return rows;
}

}  // namespace minicpmo
