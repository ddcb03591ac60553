#include "engine/book_writer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace minicpmo {

namespace {

// Of a part this much room stays for the rest of a sentence; reference: shift_len.
constexpr int kSentenceRoom = 180;
constexpr int kSeedPieces = 5;  // that a part takes over from the one before; reference: tid_len

int enough_for_part(const ConditionalTtsConfig& c) {
    return std::max(c.text_chunk, c.n_reserved - kSentenceRoom);
}

}  // namespace

BookWriter::BookWriter(const ConditionalTts& lm, const WordPieceEncoder& encoder, const BookConfig& config,
                       std::shared_ptr<const Backend> backend, ggml_type kv_type, uint64_t seed)
    : lm_(lm),
      config_(config),
      workspace_(backend),
      backend_(std::move(backend)),
      kv_type_(kv_type),
      // One position stays for the end of text.
      text_(encoder, enough_for_part(lm.config()), lm.config().n_reserved - 1),
      rng_{seed, 0} {
    open();
}

void BookWriter::open() {
    cache_ = std::make_unique<KvCache>(lm_.kv_shape(kv_type_), backend_);
    lm_.open(*cache_);
}

void BookWriter::feed(const SpokenTokens& tokens) {
    check<ArgumentError>(!is_final_, "[speech codes] expected no text after the final one, got more");
    if (is_finished_) return;  // the model ended before the text did
    if (speaker_.empty()) speaker_ = tokens.speaker;
    text_.push(tokens.text);
    has_piece_ = true;
    is_final_ = tokens.is_final;
}

std::optional<CodeBatch> BookWriter::next_batch() {
    if (is_finished_) return std::nullopt;
    const int n_chunk_pieces = lm_.config().text_chunk;
    if (!is_ending_ && std::exchange(has_piece_, false) && !text_.is_cut()) {
        // The first piece of a turn is only looked at together with the second; reference: next(streamer).
        const bool is_alone = is_first_part_ && text_.n_piece() == 1;
        if (!is_alone && std::ssize(text_.ids()) >= int64_t{n_chunk_pieces} * (n_chunk_ + 1)) {
            read_text(n_chunk_pieces * (n_chunk_ + 1), false);
            ++n_chunk_;
            CodeBatch batch = write();
            if (has_ended_) is_finished_ = batch.is_last = batch.ends_part = true;
            return batch;
        }
    }
    if (!is_ending_ && !text_.is_cut() && !is_final_) return std::nullopt;
    if (!is_ending_ && !text_.has_news() && !text_.is_cut()) {  // nothing more to say
        is_finished_ = true;
        return CodeBatch{{}, true, true};
    }
    if (!is_ending_) {
        read_text(static_cast<int>(text_.ids().size()), true);
        is_ending_ = true;
    }
    CodeBatch batch = write();
    const bool is_full = std::ssize(steps_) > int64_t{config_.max_codes} * lm_.config().n_book;
    if (!has_ended_ && !is_full) return batch;
    batch.ends_part = true;
    batch.is_last = is_full || (is_final_ && !text_.is_cut());
    is_finished_ = batch.is_last;
    if (!batch.is_last) next_part();
    return batch;
}

void BookWriter::read_text(int end, bool with_end) {
    const ConditionalTtsConfig& c = lm_.config();
    const int begin = n_chunk_ * c.text_chunk;
    const std::span<const int32_t> text = text_.ids();
    std::vector<int32_t> ids;
    if (begin == 0) {
        ids.push_back(c.text_bos);
        ids.push_back(c.speaker);
    }
    for (int i = begin; i < end; ++i) ids.push_back(text[static_cast<size_t>(i)]);
    if (with_end) ids.push_back(c.text_eos);
    lm_.read_text(ids, begin == 0 ? 0 : ConditionalTts::kTextBegin + begin, speaker_, *cache_, workspace_);
}

CodeBatch BookWriter::write() {
    const auto n_book = static_cast<size_t>(lm_.config().n_book);
    const int n_text = static_cast<int>(text_.ids().size());
    CodeBatch batch;
    for (int i = 0; i < kBatchSteps && !has_ended_; ++i) {
        const std::span<const int32_t> before = std::span(steps_).last(std::min(steps_.size(), n_book));
        Array<float> logits = lm_.step(before, n_text, *cache_, workspace_);
        std::vector<int32_t> step(n_book);
        for (size_t book = 0; book < n_book; ++book) {
            const CodeSampling& sampling = config_.sampling[book];
            std::vector<int32_t> history;
            const size_t n_step = steps_.size() / n_book;
            const size_t n_seen =
                std::min(n_step, std::max<size_t>(1, static_cast<size_t>(sampling.repetition_window)));
            for (size_t t = n_step - n_seen; t < n_step; ++t) history.push_back(steps_[t * n_book + book]);
            const size_t n_code = static_cast<size_t>(lm_.config().n_code);
            const std::span<float> own = std::span(logits.data).subspan(book * n_code, n_code);
            step[book] = sample_code(own, history, sampling, i >= config_.min_codes, rng_);
            has_ended_ = has_ended_ || step[book] == lm_.end_code();
        }
        if (has_ended_) break;
        steps_.insert(steps_.end(), step.begin(), step.end());
        batch.codes.insert(batch.codes.end(), step.begin(), step.end());
    }
    return batch;
}

void BookWriter::next_part() {
    const auto n_book = static_cast<size_t>(lm_.config().n_book);
    text_.next_part(kSeedPieces);
    const auto n_seed = static_cast<std::ptrdiff_t>(std::min(steps_.size(), kSeedSteps * n_book));
    steps_.erase(steps_.begin(), steps_.end() - n_seed);
    n_chunk_ = 0;
    is_first_part_ = is_ending_ = has_ended_ = false;
    has_piece_ = false;
    open();
    const int n_piece = std::min(kSeedPieces, static_cast<int>(text_.ids().size()));
    read_text(n_piece, false);
    // The last step is what the first new one follows.
    if (!steps_.empty())
        lm_.read_codes(std::span(steps_).first(steps_.size() - n_book), n_piece, *cache_, workspace_);
}

}  // namespace minicpmo
