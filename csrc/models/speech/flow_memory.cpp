#include "models/speech/flow_memory.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "core/quantize.h"

namespace minicpmo {

namespace {

// Sizes that the shapes of a cache are made of.
struct Sizes {
    int64_t n_embd, n_head, d_head, n_layer, n_up_layer, up_rate;  // of the encoder
    int64_t n_context, n_up_context;                               // codes
    int64_t n_embd_dit, n_head_dit, d_head_dit, n_layer_dit, n_context_dit;

    explicit Sizes(const FlowConfig& config)
        : n_embd(config.encoder.n_embd),
          n_head(config.encoder.n_head),
          d_head(n_embd / n_head),
          n_layer(config.encoder.n_layer),
          n_up_layer(config.encoder.n_up_layer),
          up_rate(config.encoder.up_rate),
          n_context(config.encoder.lookahead_kernel - 1),
          n_up_context(config.encoder.up_taps - 1),
          n_embd_dit(config.matching.dit.n_embd),
          n_head_dit(config.matching.dit.n_head),
          d_head_dit(config.matching.dit.d_head),
          n_layer_dit(config.matching.dit.n_layer),
          n_context_dit(config.matching.dit.conv_kernel - 1) {}
};

std::vector<float> read_rows(Tensor tensor, int64_t n) {
    std::vector<std::byte> bytes(tensor->nb[1] * static_cast<size_t>(n));
    ggml_backend_tensor_get(tensor, bytes.data(), 0, bytes.size());
    return dequantize(tensor->type, bytes, tensor->ne[0], 1);
}

void write_rows(Tensor tensor, std::span<const float> values) {
    const std::vector<std::byte> bytes = quantize(tensor->type, values, tensor->ne[0], 1);
    ggml_backend_tensor_set(tensor, bytes.data(), 0, bytes.size());
}

// Heads of rows [d_head * n_head, n_row] of keys and of values, to and from places in a cache.
struct HeadPlaces {
    int64_t d_head, n_head;
    int64_t n_row;       // that the cache has
    int64_t first_slot;  // of a [2 * d_head, n_row] each
    size_t offset(int64_t head, int64_t row) const {
        return static_cast<size_t>(((first_slot + head) * n_row + row) * 2 * d_head);
    }
};

// The first n_row rows; `half`: 0 keys, 1 values.
std::vector<float> gather(const Array<float>& cache, const HeadPlaces& places, int64_t n_row, int64_t half) {
    std::vector<float> rows;
    rows.reserve(static_cast<size_t>(n_row * places.n_head * places.d_head));
    for (int64_t t = 0; t < n_row; ++t) {
        for (int64_t h = 0; h < places.n_head; ++h) {
            const auto from =
                cache.data.begin() + static_cast<std::ptrdiff_t>(places.offset(h, t)) + half * places.d_head;
            rows.insert(rows.end(), from, from + places.d_head);
        }
    }
    return rows;
}

// The rows fill the cache's, again and again.
void scatter(std::span<const float> rows, Array<float>& cache, const HeadPlaces& places, int64_t half) {
    const int64_t n_row = static_cast<int64_t>(rows.size()) / (places.n_head * places.d_head);
    for (int64_t t = 0; t < places.n_row; ++t) {
        for (int64_t h = 0; h < places.n_head; ++h) {
            const auto from = rows.begin() + (t % n_row * places.n_head + h) * places.d_head;
            const auto to = cache.data.begin() + static_cast<std::ptrdiff_t>(places.offset(h, t));
            std::copy_n(from, places.d_head, to + half * places.d_head);
        }
    }
}

void check_shape(const Array<float>& array, const std::vector<int64_t>& shape, const char* what) {
    bool is_right = true;
    for (size_t axis = 0; axis < 4; ++axis)
        is_right &= array.dim(axis) == (axis < shape.size() ? shape[axis] : 1);
    check<ArgumentError>(is_right, "[voice] expected a cache made by such a flow, got other shapes ({})",
                         what);
    check<ArgumentError>(
        std::all_of(array.data.begin(), array.data.end(), [](float x) { return std::isfinite(x); }),
        "[voice] expected finite numbers in a cache, got others ({})", what);
}

void recall_encoder(const Sizes& sizes, const VoiceCache& cache, UpsampleEncoderState& state) {
    const Array<float>& all = cache.encoder_keys_values;
    const int64_t n_frame = all.dim(1), n_code = n_frame / sizes.up_rate;
    const auto fill = [&](ConformerState& layers, int64_t first, int64_t n_layer, int64_t n_row) {
        layers.keys_values.set_n_row(n_row);
        layers.n_cached = static_cast<int>(n_row);
        for (int64_t i = 0; i < n_layer; ++i) {
            const HeadPlaces places{sizes.d_head, sizes.n_head, n_frame, (first + i) * sizes.n_head};
            for (const int64_t half : {0, 1}) {
                write_rows(layers.keys_values[static_cast<int>(2 * i + half)],
                           gather(all, places, n_row, half));
            }
        }
    };
    fill(state.layers, 0, sizes.n_layer, n_code);  // their doubles follow
    fill(state.up_layers, sizes.n_layer, sizes.n_up_layer, n_frame);

    const auto columns = [&](int64_t begin, int64_t n, int64_t step) {
        std::vector<float> values;
        for (int64_t i = 0; i < n; ++i) {
            const auto from = cache.encoder_contexts.data.begin() + (begin + i * step) * sizes.n_embd;
            values.insert(values.end(), from, from + sizes.n_embd);
        }
        return values;
    };
    if (sizes.n_context > 0) write_rows(state.lookahead_context[0], columns(0, sizes.n_context, 1));
    // The upsampling convolution's are frames there, of which neighbours are copies, and codes here.
    if (sizes.n_up_context > 0)
        write_rows(state.up_context[0], columns(sizes.n_context, sizes.n_up_context, sizes.up_rate));
}

void remember_encoder(const Sizes& sizes, const UpsampleEncoderState& state, VoiceCache& cache) {
    const int64_t n_frame = state.up_layers.n_cached;
    cache.encoder_keys_values =
        Array<float>({2 * sizes.d_head, n_frame, sizes.n_head, sizes.n_layer + sizes.n_up_layer});
    const auto take = [&](const ConformerState& layers, int64_t first, int64_t n_layer) {
        for (int64_t i = 0; i < n_layer; ++i) {
            const HeadPlaces places{sizes.d_head, sizes.n_head, n_frame, (first + i) * sizes.n_head};
            for (const int64_t half : {0, 1}) {
                const Tensor rows = layers.keys_values[static_cast<int>(2 * i + half)];
                scatter(read_rows(rows, layers.n_cached), cache.encoder_keys_values, places, half);
            }
        }
    };
    take(state.layers, 0, sizes.n_layer);
    take(state.up_layers, sizes.n_layer, sizes.n_up_layer);

    cache.encoder_contexts =
        Array<float>({sizes.n_embd, sizes.n_context + sizes.up_rate * sizes.n_up_context});
    auto to = cache.encoder_contexts.data.begin();
    const auto append = [&](const StreamCache& context, int64_t n, int64_t n_copy) {
        if (n == 0) return;
        const std::vector<float> values = read_rows(context[0], n);
        for (int64_t i = 0; i < n * n_copy; ++i)
            to = std::copy_n(values.begin() + i / n_copy * sizes.n_embd, sizes.n_embd, to);
    };
    append(state.lookahead_context, sizes.n_context, 1);
    append(state.up_context, sizes.n_up_context, sizes.up_rate);
}

// Where the two convolutions of a slot keep column `t` of branch `b`.
size_t context_place(const Sizes& sizes, int64_t n_slot, int64_t slot, int64_t t, int64_t b) {
    return static_cast<size_t>(((b * n_slot + slot) * sizes.n_context_dit + t) * 2 * sizes.n_embd_dit);
}

HeadPlaces estimator_places(const Sizes& sizes, int64_t n_frame, int64_t n_slot, int64_t slot, int64_t b) {
    return {sizes.d_head_dit, sizes.n_head_dit, n_frame, (b * n_slot + slot) * sizes.n_head_dit};
}

void recall_estimator(const Sizes& sizes, const VoiceCache& cache, FlowMatchingState& state) {
    const int64_t n_frame = cache.estimator_keys_values.dim(1), n_slot = cache.n_step * sizes.n_layer_dit;
    const int64_t n_branch = Dit::kBranches, width = sizes.n_head_dit * sizes.d_head_dit;
    for (int64_t slot = 0; slot < n_slot; ++slot) {
        for (const int64_t half : {0, 1}) {  // keys and values, and the two convolutions
            std::vector<float> rows(static_cast<size_t>(n_branch * width * n_frame));
            std::vector<float> columns(
                static_cast<size_t>(n_branch * sizes.n_context_dit * sizes.n_embd_dit));
            for (int64_t b = 0; b < n_branch; ++b) {
                const HeadPlaces places = estimator_places(sizes, n_frame, n_slot, slot, b);
                const std::vector<float> branch = gather(cache.estimator_keys_values, places, n_frame, half);
                for (int64_t t = 0; t < n_frame; ++t)
                    std::copy_n(branch.begin() + t * width, width, rows.begin() + (t * n_branch + b) * width);
                for (int64_t t = 0; t < sizes.n_context_dit; ++t) {
                    const auto from = cache.estimator_contexts.data.begin() +
                                      static_cast<std::ptrdiff_t>(context_place(sizes, n_slot, slot, t, b));
                    std::copy_n(from + half * sizes.n_embd_dit, sizes.n_embd_dit,
                                columns.begin() + (t * n_branch + b) * sizes.n_embd_dit);
                }
            }
            const auto index = static_cast<int>(2 * slot + half);
            write_rows(state.keys_values[index], rows);
            write_rows(state.contexts[index], columns);
        }
    }
    state.cells.add(static_cast<int>(n_frame));
}

void remember_estimator(const Sizes& sizes, const FlowMatchingState& state, VoiceCache& cache) {
    const int64_t n_frame = state.n_cached(), n_slot = cache.n_step * sizes.n_layer_dit;
    const int64_t n_branch = Dit::kBranches, width = sizes.n_head_dit * sizes.d_head_dit;
    cache.estimator_keys_values =
        Array<float>({2 * sizes.d_head_dit, n_frame, n_slot * sizes.n_head_dit, n_branch});
    cache.estimator_contexts = Array<float>({2 * sizes.n_embd_dit, sizes.n_context_dit, n_slot, n_branch});
    for (int64_t slot = 0; slot < n_slot; ++slot) {
        for (const int64_t half : {0, 1}) {
            const auto index = static_cast<int>(2 * slot + half);
            const std::vector<float> rows = read_rows(state.keys_values[index], n_frame);
            const std::vector<float> columns =
                read_rows(state.contexts[index], n_branch * sizes.n_context_dit);
            for (int64_t b = 0; b < n_branch; ++b) {
                std::vector<float> branch;
                for (int64_t t = 0; t < n_frame; ++t) {
                    const auto from = rows.begin() + (t * n_branch + b) * width;
                    branch.insert(branch.end(), from, from + width);
                }
                scatter(branch, cache.estimator_keys_values,
                        estimator_places(sizes, n_frame, n_slot, slot, b), half);
                for (int64_t t = 0; t < sizes.n_context_dit; ++t) {
                    const auto to = cache.estimator_contexts.data.begin() +
                                    static_cast<std::ptrdiff_t>(context_place(sizes, n_slot, slot, t, b));
                    std::copy_n(columns.begin() + (t * n_branch + b) * sizes.n_embd_dit, sizes.n_embd_dit,
                                to + half * sizes.n_embd_dit);
                }
            }
        }
    }
}

}  // namespace

VoiceCache remember_voice(const Flow& flow, const FlowState& state) {
    const Sizes sizes(flow.config());
    VoiceCache cache;
    cache.n_step = static_cast<int>(state.matching.steps->times.size()) - 1;
    remember_encoder(sizes, state.encoder, cache);
    remember_estimator(sizes, state.matching, cache);
    return cache;
}

FlowState recall_voice(const Flow& flow, const VoiceCache& cache, std::span<const float> speaker,
                       Workspace& workspace) {
    const Sizes sizes(flow.config());
    const int64_t n_frame = cache.encoder_keys_values.dim(1);
    const int64_t n_mel_frame = cache.estimator_keys_values.dim(1);
    const int64_t most = sizes.up_rate * flow.max_prompt_codes();
    check<ArgumentError>(cache.n_step >= 1 && cache.n_step <= Flow::kMaxSteps,
                         "[voice] expected a cache of 1 to {} steps, got {}", Flow::kMaxSteps, cache.n_step);
    check<ArgumentError>(n_frame > 0 && n_frame % sizes.up_rate == 0 && n_frame <= most && n_mel_frame > 0 &&
                             n_mel_frame <= most,
                         "[voice] expected a cache of 1 to {} frames, got {} and {}", most, n_frame,
                         n_mel_frame);
    check<ArgumentError>(speaker.size() == static_cast<size_t>(flow.config().n_speaker),
                         "[voice] expected a speaker vector of {} values, got {}", flow.config().n_speaker,
                         speaker.size());
    const int64_t n_slot = cache.n_step * sizes.n_layer_dit;
    check_shape(cache.encoder_contexts, {sizes.n_embd, sizes.n_context + sizes.up_rate * sizes.n_up_context},
                "encoder contexts");
    check_shape(cache.encoder_keys_values,
                {2 * sizes.d_head, n_frame, sizes.n_head, sizes.n_layer + sizes.n_up_layer}, "encoder");
    check_shape(cache.estimator_contexts, {2 * sizes.n_embd_dit, sizes.n_context_dit, n_slot, Dit::kBranches},
                "estimator contexts");
    check_shape(cache.estimator_keys_values,
                {2 * sizes.d_head_dit, n_mel_frame, n_slot * sizes.n_head_dit, Dit::kBranches}, "estimator");

    FlowState state;
    state.n_prompt = static_cast<int>(std::min(n_frame, n_mel_frame) / sizes.up_rate);
    state.speaker = flow.embed_speaker(speaker, workspace);
    state.encoder = flow.start_encoder(workspace);
    state.matching = flow.start_matching(cache.n_step, static_cast<int>(n_mel_frame), workspace);
    recall_encoder(sizes, cache, state.encoder);
    recall_estimator(sizes, cache, state.matching);
    return state;
}

}  // namespace minicpmo
