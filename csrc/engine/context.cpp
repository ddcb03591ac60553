#include "engine/context.h"

#include <algorithm>

#include "base/error.h"

namespace minicpmo {

namespace {

KvShape kv_shape(const Model& model, const ContextOptions& options) {
    const ggml_type type = options.kv_type.value_or(default_kv_type(model.config()));
    return model.decoder().kv_shape(model.n_ctx(options.n_ctx, type), type);
}

}  // namespace

Context::Context(std::shared_ptr<const Model> model, const ContextOptions& options)
    : model_(std::move(model)),
      place_(model_->admit()),
      workspace_(model_->backend()),
      quiet_(model_->backend()),
      cache_(kv_shape(*model_, options), model_->backend()) {}

MediaTimings Context::read(const Prompt& prompt, Progress* progress, bool wants_logits) {
    return read_from(0, prompt, progress, wants_logits);
}

Context::Kept Context::hold(const Prompt& prompt, Progress* progress) {
    const int n = static_cast<int>(prompt.ids.size());
    check<ContextFullError>(n > 0 && n <= n_ctx(), "[session] expected 1 to {} tokens in the context, got {}",
                            n_ctx(), n);
    Kept kept{transcript_.n_shared(prompt), {}};
    if (kept.n == n && held_.n_past == n && is_here(held_)) {
        rewind(held_);
        return kept;
    }
    kept.n = std::min(kept.n, n - 1);
    truncate(kept.n);
    kept.media = read_from(kept.n, prompt, progress, true);
    held_ = mark();
    return kept;
}

MediaTimings Context::read_from(int first, const Prompt& prompt, Progress* progress, bool wants_logits) {
    const int n = static_cast<int>(prompt.ids.size()) - first;
    check<ContextFullError>(n <= n_free(), "[session] expected at most {} tokens in the context, got {} + {}",
                            n_ctx(), n_past(), n);
    drop_guesses();
    const int begin = n_past();
    PromptReader reader(*model_, prompt, workspace_, progress, first);
    try {
        while (reader.n_left() > 0) {
            const Array<float> rows = reader.read(std::min(kBatch, reader.n_left()));
            DecoderInput batch;
            batch.embeds = rows.data;
            const Head* head = wants_logits && reader.n_left() == 0 ? &model_->head() : nullptr;
            DecoderOutput out =
                model_->decoder().forward(batch, nullptr, head, Rows::none, cache_, workspace_);
            if (head != nullptr) logits_ = std::move(out.logits.data);
            if (progress != nullptr) progress->n_token_done = n - reader.n_left();
        }
    } catch (...) {
        cache_.truncate(begin);
        throw;
    }
    transcript_.append(prompt, first);
    return reader.timings();
}

void Context::truncate(int n) {
    drop_guesses();
    cache_.truncate(n);
    transcript_.truncate(n);
}

void Context::read(std::span<const int32_t> ids, bool wants_logits) {
    Prompt prompt;
    prompt.ids.assign(ids.begin(), ids.end());
    read(prompt, nullptr, wants_logits);
}

std::vector<float> Context::read_token(int32_t id, bool wants_hidden, std::span<const int32_t> guesses) {
    if (has_guessed(id)) {
        cache_.advance(1);
        transcript_.append(id);
        ++n_right_;
        return take_row(wants_hidden);
    }
    drop_guesses();
    if (!guesses.empty()) {
        std::vector<int32_t> ids = {id};
        ids.insert(ids.end(), guesses.begin(), guesses.end());
        const int begin = n_past();
        guessed_ =
            model_->decoder().forward_rows(ids, model_->embedding(), model_->head(), cache_, workspace_);
        cache_.truncate(begin + 1);  // the cells behind keep what they hold
        transcript_.append(id);
        guesses_.assign(guesses.begin(), guesses.end());
        n_right_ = 0;
        return take_row(wants_hidden);
    }
    if (DecodeBatcher* batcher = model_->batcher()) {
        DecoderOutput out = batcher->decode(id, cache_, workspace_);
        logits_ = std::move(out.logits.data);
        transcript_.append(id);
        return wants_hidden ? std::move(out.hidden.data) : std::vector<float>{};
    }
    DecoderInput input;
    input.ids = {&id, 1};
    DecoderOutput out = model_->decoder().forward(input, &model_->embedding(), &model_->head(),
                                                  wants_hidden ? Rows::last : Rows::none, cache_, workspace_);
    logits_ = std::move(out.logits.data);
    transcript_.append(id);
    return std::move(out.hidden.data);
}

std::vector<float> Context::take_row(bool wants_hidden) {
    const auto row = static_cast<int64_t>(n_right_);
    const std::span<const float> logits = guessed_.logits.row(row);
    logits_.assign(logits.begin(), logits.end());
    if (!wants_hidden) return {};
    const std::span<const float> hidden = guessed_.hidden.row(row);
    return {hidden.begin(), hidden.end()};
}

std::span<float> Context::logits() {
    // Rows of the head beyond the last token only round its size up.
    const auto n_vocab = static_cast<size_t>(model_->tokenizer().n_vocab());
    return std::span(logits_).first(std::min(n_vocab, logits_.size()));
}

void Context::forget(int begin, int end) { replace(begin, end, {}); }

void Context::replace(int begin, int end, std::span<const int32_t> ids) {
    check<ArgumentError>(begin >= 0 && begin <= end && end <= n_past(),
                         "[session] expected rows of 0 to {}, got {} to {}", n_past(), begin, end);
    drop_guesses();
    const int tail = begin + static_cast<int>(ids.size());
    cache_.reserve(std::max(tail - end, 0));
    const int n_tail = n_past() - end;
    model_->decoder().move_tail(cache_, end, tail, quiet_);
    transcript_.replace(begin, end, ids);
    if (ids.empty()) return;
    // The tail stays where it is while the rows before it are written.
    cache_.truncate(begin);
    try {
        while (!ids.empty()) {
            DecoderInput batch;
            batch.ids = ids.first(std::min<size_t>(kBatch, ids.size()));
            model_->decoder().forward(batch, &model_->embedding(), nullptr, Rows::none, cache_, quiet_);
            ids = ids.subspan(batch.ids.size());
        }
    } catch (...) {
        truncate(begin);
        throw;
    }
    cache_.advance(n_tail);
}

void Context::reset() {
    truncate(0);
    logits_.clear();
    workspace_.clear_interrupt();
}

void Context::rest() {
    workspace_.release_all();
    quiet_.release_all();
    drop_guesses();
    guessed_ = {};
}

void Context::rewind(const Mark& mark) {
    check<ArgumentError>(is_here(mark),
                         "[session] expected a snapshot whose {} tokens are still in the context, got one "
                         "whose tokens a window, a reset or an earlier snapshot has removed",
                         mark.n_past);
    truncate(mark.n_past);
    logits_ = mark.logits;
}

void Context::archive(Archive& archive) {
    drop_guesses();
    archive(cache_);
    if (archive.is_reading()) transcript_.reset_unknown(n_past());
    archive(logits_);
    const size_t n_logit = static_cast<size_t>(model_->config().llm.n_vocab);
    check<ModelFileError>(logits_.empty() || logits_.size() == n_logit,
                          "[session] expected {} logits, got {}", n_logit, logits_.size());
}

}  // namespace minicpmo
