#include "models/audio_encoder.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr size_t kNodesPerLayer = 64;

size_t max_nodes(const WhisperConfig& config) {
    return kNodesPerLayer * static_cast<size_t>(config.n_layer + 4);
}

std::vector<int32_t> range(int begin, int n) {
    std::vector<int32_t> values(static_cast<size_t>(n));
    std::iota(values.begin(), values.end(), begin);
    return values;
}

// Frame i sees the frames before the end of its block.
std::vector<ggml_fp16_t> block_mask(int n, int block) {
    const ggml_fp16_t hide = ggml_fp32_to_fp16(-std::numeric_limits<float>::infinity());
    std::vector<ggml_fp16_t> mask(static_cast<size_t>(n) * static_cast<size_t>(n), hide);
    for (int i = 0; i < n; ++i) {
        const auto row = mask.begin() + static_cast<std::ptrdiff_t>(i) * n;
        std::fill(row, row + std::min(n, (i / block + 1) * block), ggml_fp16_t{0});
    }
    return mask;
}

}  // namespace

AudioEncoder::AudioEncoder(const AudioEncoderConfig& config, const WeightScope& scope)
    : config_(config),
      whisper_(config.whisper, scope / "a"),
      linear1_(nn::bind_linear(scope / "mm" / "a" / "linear1", config.whisper.n_embd, config.n_embd)),
      linear2_(nn::bind_linear(scope / "mm" / "a" / "linear2", config.n_embd, config.n_embd)) {}

AudioEncoderState AudioEncoder::start(ggml_type cache_type, std::shared_ptr<const Backend> backend) const {
    const WhisperConfig& w = config_.whisper;
    return {
        KvCache({w.n_layer, w.n_head, w.n_embd / w.n_head, w.n_position, cache_type}, std::move(backend))};
}

void AudioEncoder::check_mel(const Array<float>& mel) const {
    check<ArgumentError>(
        mel.dim(0) == config_.whisper.n_mel && mel.dim(1) >= 1 && mel.dim(1) <= max_mel_frames(),
        "[audio] expected 1 to {} frames of {} mel bands, got {} of {}", max_mel_frames(),
        config_.whisper.n_mel, mel.dim(1), mel.dim(0));
}

Tensor AudioEncoder::project(Graph& g, Tensor x) const {
    ggml_context* ctx = g.ctx();
    const int64_t n_token = x->ne[1] / config_.pool_step;
    x = ggml_relu(ctx, nn::linear(g, linear1_, x));  // [n_embd, n]
    // NOTE: the reference averages after linear2; the average is linear too, and here there are fewer rows.
    Tensor sum = nullptr;
    for (int i = 0; i < config_.pool_step; ++i) {
        const Tensor rows =
            ggml_view_2d(ctx, x, x->ne[0], n_token, x->nb[1] * static_cast<size_t>(config_.pool_step),
                         x->nb[1] * static_cast<size_t>(i));
        sum = sum == nullptr ? ggml_cont(ctx, rows) : ggml_add(ctx, sum, rows);
    }
    const Tensor mean = ggml_scale(ctx, sum, 1.0F / static_cast<float>(config_.pool_step));
    return nn::linear(g, linear2_, mean);  // [n_embd, n_token]
}

Array<float> AudioEncoder::encode(const Array<float>& mel, int block, Workspace& workspace) const {
    const auto n_mel_frame = static_cast<int>(mel.dim(1));
    Array<float> embeddings({config_.n_embd, n_token(n_mel_frame)});
    if (embeddings.empty()) return embeddings;  // too short for a single one
    check_mel(mel);
    check<ArgumentError>(block >= 0, "[audio] expected blocks of at least one frame, got {}", block);
    const int n = WhisperConfig::n_frames(n_mel_frame);
    const bool has_mask = block > 0 && block < n;
    GraphRunner& runner = workspace.runner("audio", max_nodes(config_.whisper));
    runner.prepare({n_mel_frame, has_mask}, [&](Graph& g) {
        const Tensor frames = g.input("mel", GGML_TYPE_F32, {mel.dim(0), n_mel_frame});
        const Tensor positions = g.input("positions", GGML_TYPE_I32, {n});
        const Tensor mask = has_mask ? g.input("mask", GGML_TYPE_F16, {n, n}) : nullptr;
        g.output("embeddings", project(g, whisper_.encode(g, frames, positions, mask, {}, {})));
    });
    runner.set("mel", mel.data);
    runner.set("positions", range(0, n));
    if (has_mask) runner.set("mask", block_mask(n, block));
    runner.compute();
    runner.read("embeddings", embeddings.data);
    return embeddings;
}

bool AudioEncoder::is_full(const AudioEncoderState& state, int n_mel_frame) const {
    return state.cache.length() + WhisperConfig::n_frames(n_mel_frame) >= config_.whisper.n_position;
}

Array<float> AudioEncoder::encode_chunk(const Array<float>& mel, const MelContext& context,
                                        AudioEncoderState& state, Workspace& workspace) const {
    check_mel(mel);
    KvCache& cache = state.cache;
    const auto n_mel_frame = static_cast<int>(mel.dim(1));
    const int n_frame = WhisperConfig::n_frames(n_mel_frame);
    if (is_full(state, n_mel_frame)) cache.truncate(0);
    const int before = std::min((context.prefix + 1) / 2, n_frame - 1);
    const int rest = n_frame - before;
    const int suffix = (context.suffix + 1) / 2;
    const int after = suffix < rest ? suffix : 0;
    const int n = rest - after;
    const int begin = cache.length();
    cache.reserve(n);
    const int n_out = n / config_.pool_step;
    Array<float> embeddings({config_.n_embd, n_out});

    GraphRunner& runner = workspace.runner("audio_stream", max_nodes(config_.whisper));
    runner.prepare({n_mel_frame, before, after, begin, cache.generation()}, [&](Graph& g) {
        const Tensor frames = g.input("mel", GGML_TYPE_F32, {mel.dim(0), n_mel_frame});
        const Tensor positions = g.input("positions", GGML_TYPE_I32, {n});
        const WhisperEncoder::Past past{&cache, begin, g.input("cells", GGML_TYPE_I64, {n})};
        const Tensor states = whisper_.encode(g, frames, positions, nullptr, past, {before, after});
        if (n_out > 0) {
            g.output("embeddings", project(g, states));
        } else {
            g.run(states);
        }
    });
    const std::vector<int32_t> positions = range(begin, n);
    runner.set("mel", mel.data);
    runner.set("positions", positions);
    runner.set("cells", std::vector<int64_t>(positions.begin(), positions.end()));
    runner.compute();
    cache.advance(n);
    if (n_out > 0) runner.read("embeddings", embeddings.data);
    return embeddings;
}

}  // namespace minicpmo
