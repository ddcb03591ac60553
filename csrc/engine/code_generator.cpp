#include "engine/code_generator.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr int kReadRows = 512;  // that run in one graph

int64_t n_row(const CodeState::Chunk& chunk) {
    return chunk.condition.dim(1) + static_cast<int64_t>(chunk.codes.size());
}

}  // namespace

// NOTE: The reference draws one code more than it may return and drops it unread; here the last one that may
// be returned ends the chunk, which leaves the same codes and the same cache.
CodeRules chat_rules(const TtsConfig& config) {
    return {.sampling = config.sampling, .min_codes = 50, .max_codes = 2047};
}

CodeRules streaming_rules(const TtsConfig& config) {
    return {.sampling = config.sampling, .recomputes = config.recomputes};
}

CodeRules duplex_rules(const TtsConfig& config) {
    CodeRules rules{.sampling = config.sampling,
                    .min_codes = CodeGenerator::kBatchCodes,
                    .max_codes = CodeGenerator::kBatchCodes,
                    .edges_are_free = true,
                    .looks_past_chunk = false,
                    .marks_end_of_text = false};
    // NOTE: The reference's generate_chunk() makes top-p and top-k and never applies them.
    rules.sampling.top_p = 1.0F;
    rules.sampling.top_k = 0;
    return rules;
}

CodeGenerator::CodeGenerator(const TtsLm& lm, std::shared_ptr<const Backend> backend, ggml_type kv_type,
                             const CodeRules& rules, uint64_t seed)
    : lm_(lm),
      rules_(rules),
      workspace_(backend),
      backend_(std::move(backend)),
      kv_type_(kv_type),
      cache_(start()) {
    check_code_sampling(rules.sampling);
    check<ArgumentError>(
        rules.min_codes >= 0 && rules.max_codes >= 1 && rules.max_final_codes.value_or(1) >= 1,
        "[speech codes] expected at least 0 and at most 1 or more codes, got {} and {}", rules.min_codes,
        rules.max_codes);
    reset(seed);
}

std::shared_ptr<KvCache> CodeGenerator::start() const {
    return std::make_shared<KvCache>(lm_.kv_shape(kv_type_), backend_);
}

void CodeGenerator::rewind(const Mark& mark) {
    restore(mark.state);
    cache_ = mark.cache;
}

void CodeGenerator::reset(uint64_t seed) {
    state_ = {};
    state_.rng.seed = seed;
}

bool CodeGenerator::is_ours(const CodeState& state) const {
    const auto are_codes = [&](std::span<const int32_t> codes) {
        return std::all_of(codes.begin(), codes.end(),
                           [&](int32_t code) { return code >= 0 && code < lm_.end_code(); });
    };
    return are_codes(state.history) && are_codes(state.batch) &&
           std::all_of(state.window.begin(), state.window.end(), [&](const CodeState::Chunk& chunk) {
               return chunk.condition.dim(0) == lm_.config().decoder.n_embd && chunk.condition.dim(1) > 0 &&
                      are_codes(chunk.codes);
           });
}

void CodeGenerator::restore(CodeState state) {
    check<ArgumentError>(is_ours(state), "[speech codes] expected a state of this model, got another's");
    state_ = std::move(state);
}

void CodeState::Chunk::archive(Archive& archive) {
    archive(condition);
    archive(codes);
}

void CodeState::archive(Archive& archive) {
    archive(window);
    archive(history);
    archive(batch);
    for (int* n : {&n_chunk, &n_code, &min_codes, &max_codes}) archive(*n);
    for (bool* is : {&is_open, &is_final, &is_finished}) archive(*is);
    archive(rng.seed);
    archive(rng.counter);
}

void CodeGenerator::archive(Archive& archive) {
    // Cells behind the turn's own are leftovers of what was forgotten.
    if (!archive.is_reading()) cache_->truncate(static_cast<int>(n_known_cells()));
    archive(state_);
    archive(*cache_);
    if (!archive.is_reading()) return;
    const bool is_sound =
        is_ours(state_) && (state_.window.empty() ? !state_.is_open : true) &&
        state_.max_codes <= std::max(rules_.max_codes, rules_.max_final_codes.value_or(0)) &&
        cache_->length() <= n_row() && n_row() <= int64_t{1} << 24;
    if (!is_sound) reset();
    check<ModelFileError>(is_sound, "[speech codes] expected the state of a turn, got numbers that are none");
    state_.cells.assign(cache_->names().begin(), cache_->names().end());
}

int64_t CodeGenerator::n_known_cells() const {
    const std::span<const uint64_t> names = cache_->names();
    return std::mismatch(names.begin(), names.end(), state_.cells.begin(), state_.cells.end()).first -
           names.begin();
}

void CodeGenerator::feed(std::span<const int32_t> ids, const Array<float>& hidden, bool is_final) {
    check<ArgumentError>(!state_.is_final,
                         "[speech codes] expected reset() after a final chunk, got another");
    const TtsLmConfig& config = lm_.config();
    std::vector<int32_t> tail = {config.audio_bos};
    if (is_final && rules_.marks_end_of_text) tail.insert(tail.begin(), config.text_eos);
    const int most = max_tokens();
    check<ArgumentError>(ids.size() <= static_cast<size_t>(most),
                         "[speech codes] expected at most {} tokens in a chunk, got {}", most, ids.size());
    CodeState::Chunk chunk{lm_.condition(ids, hidden, tail, workspace_), {}};

    const bool is_edge = is_final || state_.n_chunk == 0;
    if (rules_.recomputes && !state_.window.empty()) forget(state_.window.size() - 1);
    if (!rules_.looks_past_chunk) state_.history.clear();
    state_.window.push_back(std::move(chunk));
    state_.n_chunk += 1;
    state_.n_code = 0;
    state_.min_codes = rules_.edges_are_free && is_edge ? 0 : rules_.min_codes;
    state_.max_codes = is_final ? rules_.max_final_codes.value_or(rules_.max_codes) : rules_.max_codes;
    state_.is_open = true;
    state_.is_final = is_final;
}

std::optional<int32_t> CodeGenerator::next() {
    if (!state_.is_open) return std::nullopt;
    if (n_row() > lm_.config().n_ctx) shrink_window();
    Array<float> logits = read();
    const bool may_end = state_.n_code >= state_.min_codes;
    const int32_t code = sample_code(logits.data, state_.history, rules_.sampling, may_end, state_.rng);
    if (code == lm_.end_code()) {
        state_.is_open = false;
        return std::nullopt;
    }
    state_.window.back().codes.push_back(code);
    state_.history.push_back(code);
    if (state_.history.size() > std::max<size_t>(1, static_cast<size_t>(rules_.sampling.repetition_window))) {
        state_.history.erase(state_.history.begin());  // never empty again: only a first code has no history
    }
    state_.n_code += 1;
    state_.is_open = state_.n_code < state_.max_codes;
    return code;
}

std::optional<CodeBatch> CodeGenerator::next_batch(int n) {
    check<ArgumentError>(n >= 1, "[speech codes] expected batches of at least one code, got {}", n);
    while (state_.batch.size() < static_cast<size_t>(n)) {
        const std::optional<int32_t> code = next();
        if (code) {
            state_.batch.push_back(*code);
            continue;
        }
        if (!state_.is_final || state_.is_finished) return std::nullopt;
        return flush();
    }
    return CodeBatch{std::exchange(state_.batch, {}), false};
}

CodeBatch CodeGenerator::flush() {
    state_.is_open = false;
    state_.is_final = true;
    state_.is_finished = true;
    return {std::exchange(state_.batch, {}), true};
}

int CodeGenerator::max_tokens() const { return lm_.config().n_ctx * 3 / 4; }

int64_t CodeGenerator::n_row() const {
    int64_t n = 0;
    for (const CodeState::Chunk& chunk : state_.window) n += minicpmo::n_row(chunk);
    return n;
}

void CodeGenerator::forget(size_t n_chunk) {
    state_.window.erase(state_.window.begin(), state_.window.begin() + static_cast<std::ptrdiff_t>(n_chunk));
    state_.cells.clear();
}

// NOTE: The reference lets positions run past what the model was trained for. Here the oldest chunks go, all
// but about an eighth of the context, and the rest is read again from position 0: as sliding_recompute does
// with every chunk. A chunk that fills the context by itself loses its oldest codes.
void CodeGenerator::shrink_window() {
    const int n_ctx = lm_.config().n_ctx;
    const int n_keep = n_ctx / 8;
    int64_t n = n_row();
    size_t n_chunk = 0;
    const auto drop_until = [&](size_t n_left, int64_t n_row_left) {
        while (state_.window.size() - n_chunk > n_left && n > n_row_left) {
            n -= minicpmo::n_row(state_.window[n_chunk++]);
        }
    };
    drop_until(2, n_keep);
    drop_until(1, n_ctx - n_keep);
    forget(n_chunk);
    if (n <= n_ctx - n_keep) return;
    std::vector<int32_t>& codes = state_.window.back().codes;
    const auto n_lost = std::max<std::ptrdiff_t>(0, static_cast<std::ptrdiff_t>(codes.size()) - n_keep);
    codes.erase(codes.begin(), codes.begin() + n_lost);
}

std::vector<float> CodeGenerator::rows(int64_t begin, int64_t end) {
    const auto n_embd = static_cast<size_t>(lm_.config().decoder.n_embd);
    std::vector<float> out;
    out.reserve(static_cast<size_t>(end - begin) * n_embd);
    int64_t at = 0;  // position of the first row of the part
    const auto part = [&](int64_t n, const auto& get) {
        const int64_t first = std::clamp<int64_t>(begin - at, 0, n);
        const int64_t last = std::clamp<int64_t>(end - at, 0, n);
        at += n;
        if (first < last) get(static_cast<size_t>(first), static_cast<size_t>(last - first));
    };
    for (const CodeState::Chunk& chunk : state_.window) {
        part(chunk.condition.dim(1), [&](size_t first, size_t n) {
            const auto values = std::span(chunk.condition.data).subspan(first * n_embd, n * n_embd);
            out.insert(out.end(), values.begin(), values.end());
        });
        part(static_cast<int64_t>(chunk.codes.size()), [&](size_t first, size_t n) {
            const Array<float> found = lm_.code_rows(std::span(chunk.codes).subspan(first, n), workspace_);
            out.insert(out.end(), found.data.begin(), found.data.end());
        });
    }
    return out;
}

Array<float> CodeGenerator::read() {
    const int64_t end = n_row();
    // Cells that this turn did not write, or has forgotten, are free. The last row always runs: for its
    // logits.
    const int64_t n_known = std::min<int64_t>(n_known_cells(), end - 1);
    state_.cells.resize(static_cast<size_t>(n_known));
    // Marks go back to what was read before, so that begins anew elsewhere.
    if (n_known == 0 && cache_->length() > 0 && cache_.use_count() > 1) cache_ = start();
    cache_->truncate(static_cast<int>(n_known));

    Array<float> logits;
    for (int64_t begin = n_known; begin < end;) {
        const int64_t n = std::min<int64_t>(end - begin, kReadRows);
        DecoderInput input;
        std::vector<float> embeds;
        if (begin + 1 == end && !state_.window.back().codes.empty()) {
            input.ids = std::span(state_.window.back().codes).last(1);
        } else {
            embeds = rows(begin, begin + n);
            input.embeds = embeds;
        }
        begin += n;
        logits = lm_.forward(input, begin == end, *cache_, workspace_);
        const auto written = cache_->names().last(static_cast<size_t>(n));
        state_.cells.insert(state_.cells.end(), written.begin(), written.end());
    }
    return logits;
}

}  // namespace minicpmo
