#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "api/arguments.h"
#include "api/handles.h"
#include "engine/duplex_stream.h"
#include "image/slicing.h"
#include "include/minicpmo_duplex.h"

using namespace minicpmo;
using namespace minicpmo::api;

struct minicpmo_duplex {
    minicpmo_duplex(std::shared_ptr<const Model> of, const DuplexOptions& options)
        : model(std::move(of)), session(model, options) {}
    std::shared_ptr<const Model> model;
    DuplexSession session;
    StreamedChunk chunk;  // shown to C
    // Of `stream`, and of the session while there is none.
    std::mutex mutex;
    std::shared_ptr<DuplexStream> stream;
};

struct minicpmo_duplex_snapshot {
    std::shared_ptr<const DuplexSession::Snapshot> snapshot;
};

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kMaxSlices = 64;  // of a frame

// --- what goes in ---

minicpmo_duplex_params default_duplex_params() {
    const DuplexOptions o;
    minicpmo_duplex_params params{};
    params.struct_size = sizeof(params);
    params.n_ctx = o.context.n_ctx;
    params.cache_type = "auto";
    params.window = static_cast<int32_t>(o.window.mode);
    params.window_high = o.window.high;
    params.window_low = o.window.low;
    params.max_units = o.window.max_units;
    params.max_previous = o.window.max_previous;
    params.temperature = o.sampling.temperature;
    params.top_k = o.sampling.top_k;
    params.top_p = o.sampling.top_p;
    params.repetition_penalty = o.sampling.repetition_penalty;
    params.repetition_window = o.sampling.repetition_window;
    params.length_penalty = o.sampling.length_penalty;
    params.listen_scale = o.sampling.listen_scale;
    params.scales_end_token = o.sampling.scales_end_token ? 1 : 0;
    params.seed = o.sampling.seed;
    params.max_tokens = o.rules.max_tokens;
    params.max_characters = o.rules.max_characters;
    params.force_listen = o.rules.force_listen;
    params.last_token_decides = o.rules.last_token_decides ? 1 : 0;
    params.has_speech = -1;
    params.n_step = o.speech.n_step;
    params.speech_temperature = o.speech.temperature;
    params.speech_seed = o.speech.seed;
    params.hurries_always = o.speech.hurries_always ? 1 : 0;
    params.fills_units = o.speech.fills_units ? 1 : 0;
    params.finishes_turns = o.speech.finishes_turns ? 1 : 0;
    return params;
}

WindowOptions to_window(const minicpmo_duplex_params& params) {
    check<ArgumentError>(params.window >= MINICPMO_WINDOW_OFF && params.window <= MINICPMO_WINDOW_CONTEXT,
                         "[api] expected a window of {} to {}, got {}", int{MINICPMO_WINDOW_OFF},
                         int{MINICPMO_WINDOW_CONTEXT}, params.window);
    WindowOptions window;
    if (params.window == MINICPMO_WINDOW_BASIC) window.mode = WindowMode::basic;
    if (params.window == MINICPMO_WINDOW_CONTEXT) window.mode = WindowMode::context;
    window.high = params.window_high;
    window.low = params.window_low;
    window.max_units = params.max_units;
    window.max_previous = params.max_previous;
    return window;
}

DuplexSampling to_sampling(const minicpmo_duplex_params& params) {
    DuplexSampling sampling;
    sampling.temperature = params.temperature;
    sampling.top_k = params.top_k;
    sampling.top_p = params.top_p;
    sampling.repetition_penalty = params.repetition_penalty;
    sampling.repetition_window = params.repetition_window;
    sampling.length_penalty = params.length_penalty;
    sampling.listen_scale = params.listen_scale;
    sampling.scales_end_token = params.scales_end_token != 0;
    sampling.seed = params.seed;
    return sampling;
}

UnitRules to_rules(const minicpmo_duplex_params& params) {
    UnitRules rules;
    rules.max_tokens = params.max_tokens;
    rules.max_characters = params.max_characters;
    rules.force_listen = params.force_listen;
    rules.last_token_decides = params.last_token_decides != 0;
    return rules;
}

DuplexOptions to_options(const minicpmo_duplex_params& params, const Model& model) {
    DuplexOptions options;
    options.context = {params.n_ctx, to_cache_type(params.cache_type)};
    options.window = to_window(params);
    options.sampling = to_sampling(params);
    options.rules = to_rules(params);
    options.has_speech = params.has_speech < 0 ? model.has_speech() : params.has_speech != 0;
    options.speech.n_step = params.n_step;
    options.speech.temperature = params.speech_temperature;
    options.speech.seed = params.speech_seed;
    options.speech.hurries_always = params.hurries_always != 0;
    options.speech.fills_units = params.fills_units != 0;
    options.speech.finishes_turns = params.finishes_turns != 0;
    return options;
}

int to_max_slices(const minicpmo_frame& frame) {
    check<ArgumentError>(frame.max_slices >= 0 && frame.max_slices <= kMaxSlices,
                         "[api] expected max_slices of 1 to {}, or 0 for 1, got {}", kMaxSlices,
                         frame.max_slices);
    return std::max(frame.max_slices, 1);
}

UnitFrame to_frame(const minicpmo_frame& frame, std::deque<Image>& copies) {
    check_struct_size<minicpmo_frame>(frame.struct_size, "frame");
    return {to_view(frame.pixels, frame.width, frame.height, frame.row_stride, copies), to_max_slices(frame)};
}

// Looked at here, because what fails in the encoder's thread ends the stream.
OwnedFrame to_owned(const minicpmo_frame& given, const Model& model) {
    model.vision();
    std::deque<Image> copies;
    const UnitFrame frame = to_frame(given, copies);
    SliceConfig slicing = model.config().vision->slicing;
    slicing.max_slices = frame.max_slices;
    slice_sizes({frame.image.width, frame.image.height}, slicing);
    if (!copies.empty()) return {std::move(copies.front()), frame.max_slices};
    OwnedFrame owned{Image(frame.image.width, frame.image.height), frame.max_slices};
    std::copy_n(frame.image.pixels, owned.image.pixels.size(), owned.image.pixels.begin());
    return owned;
}

Clock::time_point to_deadline(double timeout_s) {
    constexpr double kForEver = 3600.0 * 24 * 365;
    check<ArgumentError>(timeout_s == timeout_s, "[api] expected a timeout in seconds, got {}", timeout_s);
    const std::chrono::duration<double> wait(timeout_s < 0 ? kForEver : std::min(timeout_s, kForEver));
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(wait);
}

// --- what comes out ---

void clear(minicpmo_duplex_chunk& out, minicpmo_chunk_kind kind) {
    out = {};
    out.struct_size = sizeof(out);
    out.kind = kind;
    out.text = "";
}

void show(minicpmo_duplex& duplex, StreamedChunk streamed, minicpmo_duplex_chunk& out) {
    duplex.chunk = std::move(streamed);
    const DuplexChunk& chunk = duplex.chunk.chunk;
    const UnitWords& words = chunk.words;
    const UnitTimings& t = chunk.timings;
    clear(out, MINICPMO_CHUNK_UNIT);
    out.unit = chunk.unit;
    out.text = words.text.c_str();
    out.n_text = words.text.size();
    out.samples = chunk.samples.empty() ? nullptr : chunk.samples.data();
    out.n_sample = chunk.samples.size();
    out.sample_rate = duplex.session.sample_rate();
    out.ids = words.ids.data();
    out.n_id = words.ids.size();
    out.is_listen = words.is_listen ? 1 : 0;
    out.end_of_turn = words.ends_turn ? 1 : 0;
    out.is_cut = chunk.is_cut ? 1 : 0;
    out.listen_probability = words.decision.listen;
    out.speak_probability = words.decision.speak;
    out.n_past = words.n_past;
    out.n_forgotten = words.n_forgotten;
    out.vision_s = t.vision_s;
    out.audio_s = t.audio_s;
    out.prefill_s = t.prefill_s;
    out.decode_s = t.decode_s;
    out.codes_s = t.codes_s;
    out.flow_s = t.flow_s;
    out.vocoder_s = t.vocoder_s;
    out.total_s = t.total_s;
    out.is_late = duplex.chunk.is_late ? 1 : 0;
    out.n_dropped_frames = duplex.chunk.n_dropped_frames;
    out.n_queued = duplex.chunk.n_queued;
}

// --- whose session it is ---

// The stream that runs; whoever pushes or takes first begins it.
std::shared_ptr<DuplexStream> stream_of(minicpmo_duplex& duplex) {
    const std::lock_guard lock(duplex.mutex);
    if (!duplex.stream) duplex.stream = std::make_shared<DuplexStream>(duplex.session);
    return duplex.stream;
}

// Runs what needs the session to itself.
template <class F>
void while_quiet(minicpmo_duplex& duplex, const F& action) {
    const std::lock_guard lock(duplex.mutex);
    check<ArgumentError>(duplex.stream == nullptr,
                         "[api] expected no pushed input that is not done, got some: finish and take it");
    action(duplex.session);
}

template <class F>
void after_stopping(minicpmo_duplex& duplex, const F& action) {
    const std::lock_guard lock(duplex.mutex);
    duplex.stream.reset();
    action(duplex.session);
}

void take(minicpmo_duplex& duplex, minicpmo_duplex_chunk& out, bool waits) {
    const std::shared_ptr<DuplexStream> stream = stream_of(duplex);
    const bool was_over = stream->is_over();
    std::optional<StreamedChunk> chunk = waits ? stream->next() : stream->poll();
    if (chunk) return show(duplex, std::move(*chunk), out);
    const bool is_end = waits || was_over;
    clear(out, is_end ? MINICPMO_CHUNK_END : MINICPMO_CHUNK_NOT_YET);
    if (!is_end) return;
    const std::lock_guard lock(duplex.mutex);
    if (duplex.stream == stream) duplex.stream.reset();
}

}  // namespace

minicpmo_status minicpmo_duplex_params_default(minicpmo_duplex_params* params, size_t size) {
    return store_default(params, size, default_duplex_params(), "duplex_params");
}

minicpmo_status minicpmo_duplex_create(const minicpmo_model* model, const minicpmo_duplex_params* params,
                                       minicpmo_duplex** duplex) {
    return guard([&] {
        minicpmo_duplex*& out = not_null(duplex, "duplex");
        const std::shared_ptr<const Model>& found = not_null(model, "model").model;
        const auto chosen = params_or_default(params, default_duplex_params(), "duplex_params");
        out = std::make_unique<minicpmo_duplex>(found, to_options(chosen, *found)).release();
    });
}

void minicpmo_duplex_free(minicpmo_duplex* duplex) { const std::unique_ptr<minicpmo_duplex> owned(duplex); }

minicpmo_status minicpmo_duplex_describe(const minicpmo_duplex* duplex, minicpmo_duplex_info* info) {
    return guard([&] {
        const DuplexSession& session = not_null(duplex, "duplex").session;
        check_struct(info, "duplex_info");
        *info = {sizeof(*info), session.context().n_ctx(), static_cast<int32_t>(session.unit_samples()),
                 session.unit_s(), session.sample_rate()};
    });
}

minicpmo_status minicpmo_duplex_prepare(minicpmo_duplex* duplex, const char* prefix, const char* suffix,
                                        const float* reference, size_t n_reference,
                                        const minicpmo_voice* voice) {
    return guard([&] {
        minicpmo_duplex& handle = not_null(duplex, "duplex");
        DuplexPrompt prompt;
        prompt.reference = checked_span(reference, n_reference, "reference");
        std::vector<float> recording;
        if (handle.session.has_speech()) {
            prompt.voice = voice != nullptr ? &voice->voice : &handle.model->speech().voice("");
            if (reference == nullptr) prompt.reference = recording = to_samples(*prompt.voice);
        }
        if (prompt.reference.empty()) {
            prompt.prefix = "<|im_start|>system\nStreaming Omni Conversation.";
            prompt.suffix = "<|im_end|>";
        }
        if (prefix != nullptr) prompt.prefix = prefix;
        if (suffix != nullptr) prompt.suffix = suffix;
        after_stopping(handle, [&](DuplexSession& session) { session.prepare(prompt); });
    });
}

minicpmo_status minicpmo_duplex_set_params(minicpmo_duplex* duplex, const minicpmo_duplex_params* params) {
    return guard([&] {
        minicpmo_duplex& handle = not_null(duplex, "duplex");
        check_struct(params, "duplex_params");
        const DuplexSampling sampling = to_sampling(*params);
        check_duplex_sampling(sampling);
        while_quiet(handle, [&](DuplexSession& session) {
            session.set_rules(to_rules(*params));
            session.set_sampling(sampling);
        });
    });
}

minicpmo_status minicpmo_duplex_step(minicpmo_duplex* duplex, const minicpmo_unit* unit,
                                     minicpmo_duplex_chunk* chunk) {
    return guard([&] {
        minicpmo_duplex& handle = not_null(duplex, "duplex");
        check_struct(unit, "unit");
        check_struct(chunk, "duplex_chunk");
        std::deque<Image> copies;
        UnitInput input;
        input.audio = checked_span(unit->samples, unit->n_sample, "samples");
        for (const minicpmo_frame& frame : checked_span(unit->frames, unit->n_frame, "frames"))
            input.frames.push_back(to_frame(frame, copies));
        const std::span<const char> text = checked_span(unit->text, unit->n_text, "text");
        input.text.assign(text.begin(), text.end());
        while_quiet(handle, [&](DuplexSession& session) {
            StreamedChunk done;
            done.chunk = session.step(input, unit->force_listen != 0);
            show(handle, std::move(done), *chunk);
        });
    });
}

void minicpmo_duplex_interrupt(minicpmo_duplex* duplex) {
    if (duplex != nullptr) duplex->session.interrupt();
}

// --- input as it arrives ---

minicpmo_status minicpmo_duplex_push_audio(minicpmo_duplex* duplex, const float* samples, size_t n_sample,
                                           double timeout_s) {
    return guard([&] {
        minicpmo_duplex& handle = not_null(duplex, "duplex");
        const std::span<const float> heard = checked_span(samples, n_sample, "samples");
        const Clock::time_point deadline = to_deadline(timeout_s);
        check<TimeoutError>(stream_of(handle)->push_audio(heard, deadline),
                            "[api] expected room for {} samples, got none in {} s", n_sample, timeout_s);
    });
}

minicpmo_status minicpmo_duplex_push_frame(minicpmo_duplex* duplex, const minicpmo_frame* frame) {
    return guard([&] {
        minicpmo_duplex& handle = not_null(duplex, "duplex");
        OwnedFrame owned = to_owned(not_null(frame, "frame"), *handle.model);
        stream_of(handle)->push_frame(std::move(owned));
    });
}

minicpmo_status minicpmo_duplex_finish(minicpmo_duplex* duplex) {
    return guard([&] { stream_of(not_null(duplex, "duplex"))->finish(); });
}

minicpmo_status minicpmo_duplex_next(minicpmo_duplex* duplex, minicpmo_duplex_chunk* chunk) {
    return guard([&] {
        check_struct(chunk, "duplex_chunk");
        take(not_null(duplex, "duplex"), *chunk, true);
    });
}

minicpmo_status minicpmo_duplex_poll(minicpmo_duplex* duplex, minicpmo_duplex_chunk* chunk) {
    return guard([&] {
        check_struct(chunk, "duplex_chunk");
        take(not_null(duplex, "duplex"), *chunk, false);
    });
}

// --- places and files ---

minicpmo_status minicpmo_duplex_snapshot_take(minicpmo_duplex* duplex, minicpmo_duplex_snapshot** snapshot) {
    return guard([&] {
        minicpmo_duplex& handle = not_null(duplex, "duplex");
        minicpmo_duplex_snapshot*& out = not_null(snapshot, "snapshot");
        auto taken = std::make_unique<minicpmo_duplex_snapshot>();
        while_quiet(handle, [&](DuplexSession& session) { taken->snapshot = session.snapshot(); });
        out = taken.release();
    });
}

minicpmo_status minicpmo_duplex_restore(minicpmo_duplex* duplex, const minicpmo_duplex_snapshot* snapshot) {
    return guard([&] {
        const DuplexSession::Snapshot& place = *not_null(snapshot, "snapshot").snapshot;
        after_stopping(not_null(duplex, "duplex"), [&](DuplexSession& session) { session.restore(place); });
    });
}

void minicpmo_duplex_snapshot_free(minicpmo_duplex_snapshot* snapshot) {
    const std::unique_ptr<minicpmo_duplex_snapshot> owned(snapshot);
}

minicpmo_status minicpmo_duplex_save(minicpmo_duplex* duplex, const char* path) {
    return guard([&] {
        const std::filesystem::path file = to_path(path);
        while_quiet(not_null(duplex, "duplex"), [&](DuplexSession& session) { session.save(file); });
    });
}

minicpmo_status minicpmo_duplex_load(minicpmo_duplex* duplex, const char* path) {
    return guard([&] {
        const std::filesystem::path file = to_path(path);
        after_stopping(not_null(duplex, "duplex"), [&](DuplexSession& session) { session.load(file); });
    });
}
