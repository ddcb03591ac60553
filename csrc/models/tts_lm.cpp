#include "models/tts_lm.h"

#include <algorithm>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr float kLengthFloor = 1e-12F;  // torch.nn.functional.normalize divides by no less

TokenEmbedding bind_table(const WeightScope& scope, int64_t n_embd, int64_t n_row) {
    return {scope.get("weight", {n_embd, n_row})};
}

void check_ids(std::span<const int32_t> ids, int n, const char* what) {
    for (const int32_t id : ids) {
        check<ArgumentError>(id >= 0 && id < n, "[tts] expected {} of 0 to {}, got {}", what, n - 1, id);
    }
}

}  // namespace

TtsLm::TtsLm(const TtsLmConfig& config, const WeightScope& root)
    : config_(config),
      decoder_(config.decoder, root / "tts"),
      text_(bind_table(root / "tts" / "emb_text", config.decoder.n_embd, config.n_text)),
      codes_(bind_table(root / "tts" / "emb_code", config.decoder.n_embd, config.n_code)),
      head_{nn::bind_linear(root / "tts" / "head_code", config.decoder.n_embd, config.n_code, nn::Bias::no)},
      up_(nn::bind_linear(root / "tts" / "projector" / "linear1", config.n_embd_llm, config.decoder.n_embd)),
      down_(nn::bind_linear(root / "tts" / "projector" / "linear2", config.decoder.n_embd,
                            config.decoder.n_embd)) {}

Array<float> TtsLm::condition(std::span<const int32_t> ids, const Array<float>& hidden,
                              std::span<const int32_t> tail, Workspace& workspace) const {
    const auto n = static_cast<int64_t>(ids.size());
    const auto n_tail = static_cast<int64_t>(tail.size());
    const size_t n_hidden = ids.size() * static_cast<size_t>(config_.n_embd_llm);
    check<ArgumentError>(hidden.data.size() == n_hidden && (n == 0 || hidden.dim(0) == config_.n_embd_llm),
                         "[tts] expected a state of {} values for each of {} tokens, got {} values",
                         config_.n_embd_llm, n, hidden.data.size());
    check_ids(ids, config_.n_text, "text ids");
    check_ids(tail, config_.n_text, "text ids");
    Array<float> rows({config_.decoder.n_embd, n + n_tail});
    if (rows.empty()) return rows;

    GraphRunner& runner = workspace.runner("tts_condition", 32);
    runner.prepare({n, n_tail}, [&](Graph& g) {
        if (n > 0) {
            const Tensor states = g.input("hidden", GGML_TYPE_F32, {config_.n_embd_llm, n});
            Tensor thought = nn::linear(g, down_, ggml_relu(g.ctx(), nn::linear(g, up_, states)));
            if (config_.normalize) thought = ggml_l2_norm(g.ctx(), thought, kLengthFloor);
            const Tensor text = text_.lookup(g, g.input("ids", GGML_TYPE_I32, {n}));
            g.output("spoken", ggml_add(g.ctx(), text, thought));
        }
        if (n_tail > 0) g.output("tail", text_.lookup(g, g.input("tail_ids", GGML_TYPE_I32, {n_tail})));
    });
    if (n > 0) runner.set("hidden", hidden.data);
    if (n > 0) runner.set("ids", ids);
    if (n_tail > 0) runner.set("tail_ids", tail);
    runner.compute();
    const std::span<float> all = rows.data;
    const size_t n_spoken = ids.size() * static_cast<size_t>(config_.decoder.n_embd);
    if (n > 0) runner.read("spoken", all.first(n_spoken));
    if (n_tail > 0) runner.read("tail", all.subspan(n_spoken));
    return rows;
}

Array<float> TtsLm::code_rows(std::span<const int32_t> codes, Workspace& workspace) const {
    return codes_.lookup(codes, workspace);
}

Array<float> TtsLm::forward(const DecoderInput& input, bool wants_logits, KvCache& cache,
                            Workspace& workspace) const {
    check_ids(input.ids, config_.n_code, "codes");
    return decoder_.forward(input, &codes_, wants_logits ? &head_ : nullptr, Rows::none, cache, workspace)
        .logits;
}

}  // namespace minicpmo
