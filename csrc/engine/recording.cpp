#include "engine/recording.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace minicpmo {

namespace {

int64_t piece_length(const Model& model) {
    return int64_t{model.audio().max_mel_frames()} * model.config().audio->mel.hop;
}

}  // namespace

int64_t audio_token_count(const Model& model, int64_t n_sample) {
    const AudioEncoder& audio = model.audio();
    const int64_t hop = model.config().audio->mel.hop;
    const auto tokens_of = [&](int64_t n) { return audio.n_token(static_cast<int>((n + hop - 1) / hop)); };
    const int64_t whole = piece_length(model);
    return n_sample / whole * tokens_of(whole) + tokens_of(n_sample % whole);
}

int attention_block(const AudioConfig& config, float chunk_s) {
    const float frame_hz =
        static_cast<float>(config.mel.sample_rate) / static_cast<float>(2 * config.mel.hop);
    const int block = static_cast<int>(chunk_s * frame_hz);
    check<ArgumentError>(chunk_s == 0.0F || (chunk_s > 0.0F && block >= 1),
                         "[audio] expected chunks of at least {} s, got {}", 1.0F / frame_hz, chunk_s);
    return block;
}

Recording::Recording(const Model& model, std::vector<std::span<const float>> parts, int block,
                     int64_t n_token_min)
    : model_(model),
      parts_(std::move(parts)),
      block_(block),
      samples_per_piece_(piece_length(model)),
      tokens_per_piece_(audio_token_count(model, samples_per_piece_)) {
    for (const auto& part : parts_) {
        const auto bad = std::find_if(part.begin(), part.end(), [](float x) { return !std::isfinite(x); });
        check<ArgumentError>(bad == part.end(), "[audio] expected finite samples, got {} at {}",
                             bad == part.end() ? 0.0F : *bad, bad - part.begin());
        n_sample_ += static_cast<int64_t>(part.size());
    }
    n_token_ = audio_token_count(model_, n_sample_);
    if (n_token_ < n_token_min) {
        // Rounding each of several parts up can ask for a little more than they give as one; the reference
        // fails there.
        const int64_t whole = n_token_min / tokens_per_piece_;
        const int64_t rest = n_token_min % tokens_per_piece_;
        n_sample_ = whole * samples_per_piece_ + rest * (samples_per_piece_ / tokens_per_piece_);
        n_token_ = audio_token_count(model_, n_sample_);
    }
}

std::vector<float> Recording::piece_samples(int64_t piece) const {
    const int64_t begin = piece * samples_per_piece_;
    const int64_t end = std::min(begin + samples_per_piece_, n_sample_);
    std::vector<float> samples;
    samples.reserve(static_cast<size_t>(end - begin));
    int64_t at = 0;
    for (const auto& part : parts_) {
        const auto n = static_cast<int64_t>(part.size());
        const int64_t from = std::clamp<int64_t>(begin - at, 0, n);
        const int64_t to = std::clamp<int64_t>(end - at, from, n);
        samples.insert(samples.end(), part.begin() + from, part.begin() + to);
        at += n;
    }
    samples.resize(static_cast<size_t>(end - begin), 0.0F);  // the silence at the end
    return samples;
}

Array<float> Recording::rows(int64_t begin, int64_t n, Workspace& workspace) {
    const int64_t piece = begin / tokens_per_piece_;
    check<Error>(begin >= 0 && n > 0 && begin + n <= n_token_ && (begin + n - 1) / tokens_per_piece_ == piece,
                 "[audio] expected embeddings of one piece, got {} from {} of {}", n, begin, n_token_);
    if (piece != encoded_) {
        rows_ = model_.audio().encode(model_.log_mel()->offline(piece_samples(piece)), block_, workspace);
        encoded_ = piece;
    }
    const auto n_embd = static_cast<size_t>(rows_.dim(0));
    const size_t offset = static_cast<size_t>(begin - piece * tokens_per_piece_) * n_embd;
    Array<float> out({rows_.dim(0), n});
    std::copy_n(rows_.data.begin() + static_cast<std::ptrdiff_t>(offset), out.data.size(), out.data.begin());
    return out;
}

const Digest& Recording::digest(int64_t row) {
    const auto piece = static_cast<size_t>(row / tokens_per_piece_);
    while (digests_.size() <= piece) {
        DigestMaker maker("sound");
        maker.add(block_);
        maker.add(std::span<const float>(piece_samples(static_cast<int64_t>(digests_.size()))));
        digests_.push_back(maker.finish());
    }
    return digests_[piece];
}

Array<float> Recording::all(Workspace& workspace) {
    Array<float> out({model_.audio().config().n_embd, n_token_});
    auto to = out.data.begin();
    for (int64_t begin = 0; begin < n_token_; begin += tokens_per_piece_) {
        const Array<float> piece = rows(begin, std::min(tokens_per_piece_, n_token_ - begin), workspace);
        to = std::copy(piece.data.begin(), piece.data.end(), to);
    }
    return out;
}

}  // namespace minicpmo
