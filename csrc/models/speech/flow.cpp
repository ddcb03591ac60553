#include "models/speech/flow.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace minicpmo {

namespace {

// What a stream remembers of itself beside the prompt, in seconds.
constexpr int kHistory_s = 2;
// The longest chunk that room is made for in advance: a last one with the codes it looked at before.
constexpr int kUsualCodes = 28;

std::span<const float> frames(std::span<const float> noise, int begin, int n, int n_mel) {
    const auto first = static_cast<size_t>(begin) * static_cast<size_t>(n_mel);
    const auto count = static_cast<size_t>(n) * static_cast<size_t>(n_mel);
    check<ArgumentError>(noise.size() >= first + count,
                         "[flow] expected noise for {} frames, got {} values of {}", begin + n, noise.size(),
                         n_mel);
    return noise.subspan(first, count);
}

void check_steps(int n_step) {
    check<ArgumentError>(n_step >= 1 && n_step <= Flow::kMaxSteps, "[flow] expected 1 to {} steps, got {}",
                         Flow::kMaxSteps, n_step);
}

std::vector<int32_t> joined(std::span<const int32_t> a, std::span<const int32_t> b) {
    std::vector<int32_t> all(a.begin(), a.end());
    all.insert(all.end(), b.begin(), b.end());
    return all;
}

}  // namespace

Flow::Flow(const FlowConfig& config, const WeightScope& scope)
    : config_(config),
      encoder_(config.encoder, scope / "enc"),
      matching_(config.matching, scope / "dit"),
      code_embedding_((scope / "input_embd").get("weight", {config.encoder.n_embd, config.n_code})),
      speaker_affine_(nn::bind_linear(scope / "spk_affine", config.n_speaker, config.n_mel)),
      projection_(nn::bind_linear(scope / "enc_proj", config.encoder.n_embd, config.n_mel)) {}

// Half precision costs nothing that the weights have not lost already.
ggml_type Flow::cache_type() const {
    return code_embedding_->type == GGML_TYPE_F32 ? GGML_TYPE_F32 : GGML_TYPE_F16;
}

int Flow::max_prompt_codes() const {
    const int history = kHistory_s * config_.token_rate_hz;
    return kMaxFrames / config_.encoder.up_rate - history - kUsualCodes;
}

void Flow::check_prompt(const FlowPrompt& prompt, int n_step) const {
    check_steps(n_step);
    const auto n_frame = static_cast<int64_t>(prompt.codes.size()) * config_.encoder.up_rate;
    check<ArgumentError>(static_cast<int64_t>(prompt.mel.data.size()) == n_frame * config_.n_mel &&
                             (n_frame == 0 || prompt.mel.dim(0) == config_.n_mel),
                         "[flow] expected {} mel frames of {} bands for {} codes of the voice, got {} values",
                         n_frame, config_.n_mel, prompt.codes.size(), prompt.mel.data.size());
    check<ArgumentError>(prompt.speaker.size() == static_cast<size_t>(config_.n_speaker),
                         "[flow] expected a speaker vector of {} values, got {}", config_.n_speaker,
                         prompt.speaker.size());
}

UpsampleEncoderState Flow::start_encoder(Workspace& workspace) const {
    return encoder_.start(cache_type(), workspace.backend());
}

FlowMatchingState Flow::start_matching(int n_step, int n_prompt_frame, Workspace& workspace) const {
    const int n_most = config_.encoder.up_rate * (kHistory_s * config_.token_rate_hz + kUsualCodes);
    return matching_.start(matching_.steps(n_step, workspace), n_prompt_frame, n_prompt_frame + n_most,
                           cache_type(), workspace.backend());
}

std::vector<float> Flow::embed_speaker(std::span<const float> speaker, Workspace& workspace) const {
    double squares = 0.0;
    for (const float value : speaker) squares += static_cast<double>(value) * value;
    const auto factor = static_cast<float>(1.0 / std::max(std::sqrt(squares), 1e-12));
    std::vector<float> unit;
    for (const float value : speaker) unit.push_back(factor * value);
    GraphRunner& runner = workspace.runner("flow_speaker", 16);
    runner.prepare({}, [&](Graph& g) {
        const Tensor x = g.input("speaker", GGML_TYPE_F32, {config_.n_speaker, 1});
        g.output("affine", nn::linear(g, speaker_affine_, x));
    });
    runner.set("speaker", unit);
    runner.compute();
    std::vector<float> affine(static_cast<size_t>(config_.n_mel));
    runner.read("affine", affine);
    return affine;
}

Flow::Encoded Flow::encode(std::span<const int32_t> codes, bool is_last, UpsampleEncoderState& state,
                           Workspace& workspace) const {
    for (const int32_t code : codes) {
        check<ArgumentError>(code >= 0 && code < config_.n_code, "[flow] expected codes of 0 to {}, got {}",
                             config_.n_code - 1, code);
    }
    const auto n_code = static_cast<int>(codes.size());
    const int n_row = encoder_.n_rows(n_code, is_last);
    check<ArgumentError>(n_row > 0, "[flow] expected more than {} codes, got {}",
                         is_last ? 0 : config_.encoder.n_lookahead, n_code);
    encoder_.reserve(state, n_row, workspace);
    GraphRunner& runner = workspace.runner("flow_encoder", encoder_.max_nodes() + 16);
    const ConformerState& layers = state.layers;
    const ConformerState& up_layers = state.up_layers;
    const GraphKey key = {n_code,
                          is_last ? 1 : 0,
                          layers.n_cached,
                          layers.n_back,
                          up_layers.n_back,
                          layers.keys_values.generation(),
                          layers.distances.generation(),
                          up_layers.keys_values.generation(),
                          up_layers.distances.generation(),
                          state.lookahead_context.generation(),
                          state.up_context.generation()};
    runner.prepare(key, [&](Graph& g) {
        const Tensor ids = g.input("codes", GGML_TYPE_I32, {n_code});
        const Tensor x = ggml_get_rows(g.ctx(), code_embedding_, ids);  // [n_embd, n_code]
        const Tensor states = encoder_.encode(g, x, is_last, state);
        g.output("states", states);
        g.output("mu", nn::linear(g, projection_, states));
    });
    runner.set("codes", codes);
    runner.compute();
    encoder_.advance(state, n_row);
    const int64_t n_frame = int64_t{config_.encoder.up_rate} * n_row;
    Encoded encoded{Array<float>({config_.encoder.n_embd, n_frame}), Array<float>({config_.n_mel, n_frame})};
    runner.read("states", encoded.states.data);
    runner.read("mu", encoded.mu.data);
    return encoded;
}

Array<float> Flow::generate(std::span<const int32_t> codes, const FlowPrompt& prompt,
                            std::span<const float> noise, int n_step, Workspace& workspace) const {
    check_prompt(prompt, n_step);
    if (codes.empty()) return Array<float>({config_.n_mel, 0});
    UpsampleEncoderState state = start_encoder(workspace);
    const Encoded encoded = encode(joined(prompt.codes, codes), true, state, workspace);
    const auto n_frame = static_cast<int>(encoded.mu.dim(1));
    const std::vector<float> speaker = embed_speaker(prompt.speaker, workspace);
    const Array<float> all =
        matching_.solve({encoded.mu.data, speaker, prompt.mel.data}, frames(noise, 0, n_frame, config_.n_mel),
                        *matching_.steps(n_step, workspace), workspace);
    Array<float> mel({config_.n_mel, int64_t{config_.encoder.up_rate} * static_cast<int64_t>(codes.size())});
    std::copy(all.data.end() - static_cast<std::ptrdiff_t>(mel.data.size()), all.data.end(),
              mel.data.begin());
    return mel;
}

FlowState Flow::start(const FlowPrompt& prompt, std::span<const int32_t> lookahead,
                      std::span<const float> noise, int n_step, Workspace& workspace) const {
    check_prompt(prompt, n_step);
    const auto n_code = static_cast<int64_t>(prompt.codes.size());
    check<ArgumentError>(n_code >= 1, "[flow] expected a reference voice, got none");
    check<ArgumentError>(n_code <= max_prompt_codes(),
                         "[flow] expected a reference voice of at most {} s, got {} s",
                         static_cast<double>(max_prompt_codes()) / config_.token_rate_hz,
                         static_cast<double>(n_code) / config_.token_rate_hz);
    check<ArgumentError>(lookahead.size() == static_cast<size_t>(config_.encoder.n_lookahead),
                         "[flow] expected {} codes to look at behind those of the voice, got {}",
                         config_.encoder.n_lookahead, lookahead.size());
    FlowState state;
    state.n_prompt = static_cast<int>(n_code);
    state.speaker = embed_speaker(prompt.speaker, workspace);
    state.encoder = start_encoder(workspace);
    const int n_frame = config_.encoder.up_rate * state.n_prompt;
    state.matching = start_matching(n_step, n_frame, workspace);
    const Encoded encoded = encode(joined(prompt.codes, lookahead), false, state.encoder, workspace);
    matching_.solve({encoded.mu.data, state.speaker, prompt.mel.data},
                    frames(noise, 0, n_frame, config_.n_mel), state.matching, workspace);
    return state;
}

Array<float> Flow::next(std::span<const int32_t> codes, bool is_last, std::span<const float> noise,
                        FlowState& state, Workspace& workspace) const {
    if (is_last && codes.empty()) return Array<float>({config_.n_mel, 0});
    const auto n_code = static_cast<int>(std::min<size_t>(codes.size(), kMaxFrames));
    const int n_frame = n_frames(n_code, is_last);
    const int room = kMaxFrames - state.noise_offset();
    check<ArgumentError>(n_frame > 0 && n_frame <= room, "[flow] expected codes for 1 to {} frames, got {}",
                         room, codes.size());
    const std::span<const float> x = frames(noise, state.noise_offset(), n_frame, config_.n_mel);
    const Encoded encoded = encode(codes, is_last, state.encoder, workspace);
    Array<float> mel = matching_.solve({encoded.mu.data, state.speaker, {}}, x, state.matching, workspace);

    const int history = kHistory_s * config_.token_rate_hz;
    // NOTE: the estimator's newest frames stand first in the reference, so what it keeps are the newest
    // frames, as many as the prompt has, and the end of the prompt; the encoder keeps the prompt and the
    // newest codes.
    state.matching.cells.keep(config_.encoder.up_rate * state.n_prompt, config_.encoder.up_rate * history);
    state.encoder.keep(state.n_prompt, history);
    return mel;
}

}  // namespace minicpmo
