#include "models/conditional_tts.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr float kLengthFloor = 1e-12F;  // torch.nn.functional.normalize divides by no less

void check_ids(std::span<const int32_t> ids, int n, const char* what) {
    for (const int32_t id : ids) {
        check<ArgumentError>(id >= 0 && id < n, "[tts] expected {} of 0 to {}, got {}", what, n - 1, id);
    }
}

}  // namespace

ConditionalTts::ConditionalTts(const ConditionalTtsConfig& config, const WeightScope& root)
    : config_(config),
      decoder_(config.decoder, root / "tts"),
      text_{(root / "tts" / "emb_text").get("weight", {config.decoder.n_embd, config.n_text})},
      codes_{(root / "tts" / "emb_code")
                 .get("weight", {config.decoder.n_embd, int64_t{config.n_book} * config.n_code})},
      head_{nn::bind_linear(root / "tts" / "head_code", config.decoder.n_embd,
                            int64_t{config.n_book} * config.n_code, nn::Bias::no)},
      up_(nn::bind_linear(root / "tts" / "projector" / "linear1", config.n_embd_llm, config.decoder.n_embd)),
      down_(nn::bind_linear(root / "tts" / "projector" / "linear2", config.decoder.n_embd,
                            config.decoder.n_embd)) {}

void ConditionalTts::open(KvCache& cache) const {
    check<ArgumentError>(cache.length() == 0, "[tts] expected a new cache, got one of {} positions",
                         cache.length());
    cache.reserve(audio_begin());
    cache.advance(audio_begin());
}

Array<float> ConditionalTts::speaker_row(std::span<const float> state, Workspace& workspace) const {
    check<ArgumentError>(state.size() == static_cast<size_t>(config_.n_embd_llm),
                         "[tts] expected the speaker's state of {} values, got {}", config_.n_embd_llm,
                         state.size());
    GraphRunner& runner = workspace.runner("tts_speaker", 16);
    runner.prepare({1}, [&](Graph& g) {
        const Tensor x = g.input("state", GGML_TYPE_F32, {config_.n_embd_llm, 1});
        const Tensor voice = nn::linear(g, down_, ggml_relu(g.ctx(), nn::linear(g, up_, x)));  // [n_embd, 1]
        g.output("voice", ggml_l2_norm(g.ctx(), voice, kLengthFloor));
    });
    runner.set("state", state);
    runner.compute();
    Array<float> row({config_.decoder.n_embd, 1});
    runner.read("voice", row.data);
    return row;
}

void ConditionalTts::read_text(std::span<const int32_t> ids, int begin, std::span<const float> state,
                               KvCache& cache, Workspace& workspace) const {
    check_ids(ids, config_.n_text, "word pieces");
    const int length = cache.length();
    const auto end = begin + static_cast<int64_t>(ids.size());
    check<ArgumentError>(begin >= 0 && end <= audio_begin() && length >= audio_begin(),
                         "[tts] expected text at positions of 0 to {}, got {} to {}", audio_begin(), begin,
                         end);
    if (ids.empty()) return;
    Array<float> rows = text_.lookup(ids, workspace);
    for (size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] != config_.speaker) continue;
        const Array<float> voice = speaker_row(state, workspace);
        std::copy(voice.data.begin(), voice.data.end(),
                  rows.data.begin() + static_cast<std::ptrdiff_t>(i * voice.data.size()));
    }
    DecoderInput input;
    input.embeds = rows.data;
    cache.truncate(begin);
    decoder_.forward(input, nullptr, nullptr, Rows::none, cache, workspace);
    cache.advance(length - cache.length());
}

// [n_embd, n]: a step is the sum of what its codes stand for.
Array<float> ConditionalTts::rows(std::span<const int32_t> codes, bool with_bos, Workspace& workspace) const {
    check_ids(codes, end_code(), "codes");
    const auto n_book = static_cast<size_t>(config_.n_book);
    check<ArgumentError>(codes.size() % n_book == 0, "[tts] expected {} codes a step, got {} codes", n_book,
                         codes.size());
    const auto n_embd = static_cast<size_t>(config_.decoder.n_embd);
    const size_t n_step = codes.size() / n_book;
    Array<float> out({config_.decoder.n_embd, static_cast<int64_t>(n_step) + (with_bos ? 1 : 0)});
    auto row = out.data.begin();
    if (with_bos) row = std::ranges::copy(text_.lookup({&config_.audio_bos, 1}, workspace).data, row).out;
    if (codes.empty()) return out;
    std::vector<int32_t> ids(codes.begin(), codes.end());
    for (size_t i = 0; i < ids.size(); ++i) ids[i] += static_cast<int32_t>(i % n_book) * config_.n_code;
    const Array<float> found = codes_.lookup(ids, workspace);
    for (size_t i = 0; i < ids.size(); ++i) {
        const auto sum = row + static_cast<std::ptrdiff_t>(i / n_book * n_embd);
        const std::span<const float> vector = found.row(static_cast<int64_t>(i));
        std::transform(vector.begin(), vector.end(), sum, sum, std::plus<>());
    }
    return out;
}

CellRange ConditionalTts::unseen(int n, int n_text) const {
    const int n_chunk = (std::max(n - config_.n_reserved, 0) + config_.audio_chunk - 1) / config_.audio_chunk;
    const int64_t n_window = std::min<int64_t>(int64_t{n_chunk} * config_.text_chunk, config_.n_reserved);
    // The end of text is seen with the text. Position audio_begin() is never seen, not even by itself, once
    // the window ends before it.
    const int64_t known = std::min<int64_t>(n_text + 1, config_.n_reserved);
    return {kTextBegin + static_cast<int>(std::min(n_window, known)), audio_begin() + 1};
}

void ConditionalTts::read_codes(std::span<const int32_t> codes, int n_text, KvCache& cache,
                                Workspace& workspace) const {
    check<ArgumentError>(cache.length() == audio_begin(),
                         "[tts] expected no audio before codes to go on from, got {} positions",
                         cache.length() - audio_begin());
    const Array<float> all = rows(codes, true, workspace);
    const CellRange range = unseen(cache.length(), n_text);
    DecoderInput input;
    input.embeds = all.data;
    input.unseen = {&range, 1};
    input.sees_ahead = true;
    decoder_.forward(input, nullptr, nullptr, Rows::none, cache, workspace);
}

Array<float> ConditionalTts::step(std::span<const int32_t> codes, int n_text, KvCache& cache,
                                  Workspace& workspace) const {
    const bool is_first = cache.length() == audio_begin();
    const size_t n_expected = is_first ? 0 : static_cast<size_t>(config_.n_book);
    check<ArgumentError>(cache.length() >= audio_begin() && codes.size() == n_expected,
                         "[tts] expected {} codes of the step before, got {}", n_expected, codes.size());
    const Array<float> row = rows(codes, is_first, workspace);
    const CellRange range = unseen(cache.length(), n_text);
    DecoderInput input;
    input.embeds = row.data;
    input.unseen = {&range, 1};
    Array<float> logits = decoder_.forward(input, nullptr, &head_, Rows::none, cache, workspace).logits;
    logits.shape = {config_.n_code, config_.n_book};
    return logits;
}

}  // namespace minicpmo
