#include <pybind11/stl.h>

#include "arrays.h"
#include "bindings.h"
#include "core/quantize.h"
#include "engine/duplex_stream.h"

namespace minicpmo::bindings {

namespace {

using namespace py::literals;
using ModelPtr = std::shared_ptr<Model>;
using VoicePtr = std::shared_ptr<Voice>;
using SessionPtr = std::shared_ptr<DuplexSession>;
using SnapshotPtr = std::shared_ptr<const DuplexSession::Snapshot>;
using PyFrames = std::vector<std::pair<py::array, int>>;

// Owns what a unit borrows.
struct UnitArguments {
    std::optional<PySamples> audio;
    PyFrames frames;
    UnitInput input;

    UnitArguments(std::optional<PySamples> audio_, PyFrames frames_, std::string text)
        : audio(std::move(audio_)), frames(std::move(frames_)) {
        if (audio) input.audio = to_samples(*audio);
        for (const auto& [image, max_slices] : frames) input.frames.push_back({to_view(image), max_slices});
        input.text = std::move(text);
    }
};

PyFacts to_dict(const UnitTimings& t) {
    return py::dict("vision_s"_a = t.vision_s, "audio_s"_a = t.audio_s, "prefill_s"_a = t.prefill_s,
                    "decode_s"_a = t.decode_s, "codes_s"_a = t.codes_s, "flow_s"_a = t.flow_s,
                    "vocoder_s"_a = t.vocoder_s, "total_s"_a = t.total_s);
}

PyFacts to_dict(DuplexChunk chunk) {
    const UnitWords& words = chunk.words;
    py::object samples = py::none();
    if (!chunk.samples.empty()) {
        const auto n = static_cast<py::ssize_t>(chunk.samples.size());
        samples = to_numpy(std::move(chunk.samples), {n});
    }
    return py::dict("unit"_a = chunk.unit, "is_listen"_a = words.is_listen, "text"_a = words.text,
                    "audio"_a = samples, "end_of_turn"_a = words.ends_turn, "is_interrupted"_a = chunk.is_cut,
                    "listen_probability"_a = words.decision.listen,
                    "speak_probability"_a = words.decision.speak, "token_ids"_a = words.ids,
                    "n_past"_a = words.n_past, "n_dropped_units"_a = words.n_forgotten,
                    "timings"_a = to_dict(chunk.timings));
}

PyFacts to_dict(StreamedChunk streamed) {
    PyFacts facts = to_dict(std::move(streamed.chunk));
    facts["latency_s"] = streamed.latency_s;
    facts["is_late"] = streamed.is_late;
    facts["n_dropped_frames"] = streamed.n_dropped_frames;
    facts["n_queued"] = streamed.n_queued;
    return facts;
}

// The prompt of a unit as the reference's schema has it: ids, and (kind, n) for embeddings.
py::list layout(const Prompt& prompt) {
    py::list out;
    size_t run = 0;
    for (int i = 0; i < static_cast<int>(prompt.ids.size());) {
        if (run < prompt.runs.size() && prompt.runs[run].begin == i) {
            const EmbeddingRun& r = prompt.runs[run++];
            out.append(py::make_tuple(r.kind == PartKind::image ? "img" : "audio", r.n));
            i += r.n;
        } else {
            out.append(prompt.ids[static_cast<size_t>(i++)]);
        }
    }
    return out;
}

// The stages of a unit one by one, for comparisons with the reference.
PyFacts trace_unit(DuplexSession& session, const ModelPtr& model, const PySamples& audio, PyFrames frames) {
    const UnitArguments arguments(audio, std::move(frames), "");
    EncodedUnit unit;
    UnitWords words;
    Array<float> condition;
    session.keep_logits(true);
    {
        const py::gil_scoped_release release;
        unit = session.encode(arguments.input);
        words = session.write(unit, false);
        if (!words.is_listen) {
            const TtsLm& tts = model->speech().tts();
            Workspace workspace(model->backend());
            condition = tts.condition(words.spoken, words.hidden, {{tts.config().audio_bos}}, workspace);
        }
    }
    const auto n_logit = static_cast<py::ssize_t>(words.logits.size());
    return py::dict(
        "prefill"_a = layout(unit.prompt), "ids"_a = words.ids, "is_listen"_a = words.is_listen,
        "end_of_turn"_a = words.ends_turn, "text"_a = words.text, "n_past"_a = words.n_past,
        "logits"_a = to_numpy(std::move(words.logits), {n_logit}), "spoken"_a = words.spoken,
        "hidden"_a = to_numpy(std::move(words.hidden)),
        "condition"_a = condition.empty() ? py::object(py::none()) : to_numpy(std::move(condition)));
}

// Keeps alive what the stream borrows.
class PyDuplexStream {
public:
    explicit PyDuplexStream(SessionPtr session)
        : session_(std::move(session)), stream_(std::make_unique<DuplexStream>(*session_)) {}
    ~PyDuplexStream() {
        const py::gil_scoped_release release;
        stream_.reset();
    }
    bool push_audio(const PySamples& samples, std::optional<double> timeout) {
        constexpr double kForEver = 3600.0 * 24 * 365;
        const std::span<const float> view = to_samples(samples);
        const py::gil_scoped_release release;
        const std::chrono::duration<double> wait(std::clamp(timeout.value_or(kForEver), 0.0, kForEver));
        return stream_->push_audio(view,
                                   std::chrono::steady_clock::now() +
                                       std::chrono::duration_cast<std::chrono::steady_clock::duration>(wait));
    }
    void push_frame(const py::array& image, int max_slices) {
        const ImageView view = to_view(image);
        OwnedFrame frame{Image(view.width, view.height), max_slices};
        std::copy_n(view.pixels, frame.image.pixels.size(), frame.image.pixels.begin());
        const py::gil_scoped_release release;
        stream_->push_frame(std::move(frame));
    }
    void finish() { stream_->finish(); }
    py::typing::Optional<PyFacts> take(bool waits) {
        std::optional<StreamedChunk> chunk;
        {
            const py::gil_scoped_release release;
            chunk = waits ? stream_->next() : stream_->poll();
        }
        if (!chunk) return py::typing::Optional<PyFacts>(py::none());
        return py::typing::Optional<PyFacts>(to_dict(std::move(*chunk)));
    }

private:
    SessionPtr session_;
    std::unique_ptr<DuplexStream> stream_;
};

SessionPtr make_session(ModelPtr model, int n_ctx, const std::optional<std::string>& kv_type,
                        const std::string& window, std::pair<int, int> window_tokens, int max_units,
                        int max_previous, const DuplexSampling& sampling, const UnitRules& rules,
                        bool has_speech, const UnitSpeechRules& speech) {
    DuplexOptions options;
    options.context.n_ctx = n_ctx;
    if (kv_type) options.context.kv_type = parse_type(*kv_type);
    options.window.mode = parse_window_mode(window);
    options.window.high = window_tokens.first;
    options.window.low = window_tokens.second;
    options.window.max_units = max_units;
    options.window.max_previous = max_previous;
    options.sampling = sampling;
    options.rules = rules;
    options.has_speech = has_speech;
    options.speech = speech;
    return std::make_shared<DuplexSession>(std::move(model), options);
}

void bind_rules(py::module_& m) {
    py::class_<DuplexSampling>(m, "DuplexSampling", "How the tokens of a unit are drawn.")
        .def(py::init<>())
        .def_readwrite("temperature", &DuplexSampling::temperature)
        .def_readwrite("top_k", &DuplexSampling::top_k)
        .def_readwrite("top_p", &DuplexSampling::top_p)
        .def_readwrite("repetition_penalty", &DuplexSampling::repetition_penalty)
        .def_readwrite("repetition_window", &DuplexSampling::repetition_window)
        .def_readwrite("length_penalty", &DuplexSampling::length_penalty)
        .def_readwrite("listen_scale", &DuplexSampling::listen_scale)
        .def_readwrite("scales_end_token", &DuplexSampling::scales_end_token)
        .def_readwrite("seed", &DuplexSampling::seed);
    py::class_<UnitRules>(m, "UnitRules", "What a unit may say.")
        .def(py::init<>())
        .def_readwrite("max_tokens", &UnitRules::max_tokens)
        .def_readwrite("max_characters", &UnitRules::max_characters)
        .def_readwrite("force_listen", &UnitRules::force_listen)
        .def_readwrite("last_token_decides", &UnitRules::last_token_decides);
    py::class_<UnitSpeechRules>(m, "UnitSpeechRules", "How a unit is said.")
        .def(py::init<>())
        .def_readwrite("n_steps", &UnitSpeechRules::n_step)
        .def_readwrite("temperature", &UnitSpeechRules::temperature)
        .def_readwrite("seed", &UnitSpeechRules::seed)
        .def_readwrite("hurries_always", &UnitSpeechRules::hurries_always)
        .def_readwrite("fills_units", &UnitSpeechRules::fills_units)
        .def_readwrite("finishes_turns", &UnitSpeechRules::finishes_turns);
}

void bind_stream(py::module_& m) {
    py::class_<PyDuplexStream>(m, "DuplexStream",
                               "A DuplexSession that runs by itself. Any thread may push, one may take.")
        .def(py::init<SessionPtr>(), py::arg("session"))
        .def("push_audio", &PyDuplexStream::push_audio, py::arg("samples"), py::arg("timeout") = py::none(),
             "float32 [n]; False if there was no room in time: nothing was taken then")
        .def("push_frame", &PyDuplexStream::push_frame, py::arg("image"), py::arg("max_slices") = 1)
        .def("finish", &PyDuplexStream::finish, "No more comes.")
        .def(
            "next", [](PyDuplexStream& stream) { return stream.take(true); },
            "The next unit, waited for; None after the last.")
        .def("poll", [](PyDuplexStream& stream) { return stream.take(false); }, "The next unit or None.");
}

}  // namespace

void bind_duplex(py::module_& m) {
    bind_rules(m);
    py::class_<DuplexSession::Snapshot, std::shared_ptr<DuplexSession::Snapshot>>(
        m, "DuplexSnapshot", "A place in a conversation to come back to.");
    py::class_<DuplexSession, SessionPtr>(
        m, "DuplexSession",
        "A conversation in both directions at once. One thread at a time; interrupt from any.")
        .def(py::init(&make_session), py::arg("model"), py::kw_only(), py::arg("n_ctx") = 0,
             py::arg("kv_type") = py::none(), py::arg("window") = "off",
             py::arg("window_tokens") = std::pair{8000, 6000}, py::arg("max_units") = 24,
             py::arg("max_previous") = 500, py::arg("sampling") = DuplexSampling{},
             py::arg("rules") = UnitRules{}, py::arg("has_speech") = true,
             py::arg("speech") = UnitSpeechRules{})
        .def(
            "prepare",
            [](DuplexSession& session, const std::string& prefix, const std::string& suffix,
               const std::optional<PySamples>& reference, const std::optional<VoicePtr>& voice) {
                DuplexPrompt prompt{prefix, suffix, {}, voice ? voice->get() : nullptr};
                if (reference) prompt.reference = to_samples(*reference);
                const py::gil_scoped_release release;
                session.prepare(prompt);
            },
            py::arg("prefix"), py::arg("suffix"), py::arg("reference") = py::none(),
            py::arg("voice") = py::none(), "Begins a conversation.")
        .def(
            "step",
            [](DuplexSession& session, std::optional<PySamples> audio, PyFrames frames, std::string text,
               bool force_listen) {
                const UnitArguments arguments(std::move(audio), std::move(frames), std::move(text));
                DuplexChunk chunk;
                {
                    const py::gil_scoped_release release;
                    chunk = session.step(arguments.input, force_listen);
                }
                return to_dict(std::move(chunk));
            },
            py::arg("audio") = py::none(), py::arg("frames") = PyFrames{}, py::arg("text") = "",
            py::arg("force_listen") = false, "One unit; frames are (uint8 [h, w, 3], most slices).")
        .def("trace_unit", &trace_unit, py::arg("model"), py::arg("audio"), py::arg("frames") = PyFrames{},
             "What the language model reads and writes in a unit; nothing is said.")
        .def("set_sampling", &DuplexSession::set_sampling, py::arg("sampling"), "Of the units to come.")
        .def("set_rules", &DuplexSession::set_rules, py::arg("rules"), "Of the units to come.")
        .def("interrupt", &DuplexSession::interrupt, "Cuts speech. Any thread.")
        .def("snapshot",
             [](const DuplexSession& session) {
                 return std::const_pointer_cast<DuplexSession::Snapshot>(session.snapshot());
             })
        .def("restore", &DuplexSession::restore, py::arg("snapshot"))
        .def(
            "save", [](DuplexSession& session, const std::string& path) { session.save(path); },
            py::arg("path"), py::call_guard<py::gil_scoped_release>())
        .def(
            "load", [](DuplexSession& session, const std::string& path) { session.load(path); },
            py::arg("path"), py::call_guard<py::gil_scoped_release>())
        .def_property_readonly("n_units", &DuplexSession::n_unit)
        .def_property_readonly("unit_samples", &DuplexSession::unit_samples)
        .def_property_readonly("sample_rate", &DuplexSession::sample_rate)
        .def_property_readonly("is_speaking", &DuplexSession::is_speaking)
        .def_property_readonly("n_past", &DuplexSession::n_past)
        .def_property_readonly("n_ctx", [](const DuplexSession& s) { return s.context().n_ctx(); })
        .def_property_readonly("kv_bytes", [](const DuplexSession& s) { return s.context().kv_bytes(); });
    bind_stream(m);
}

}  // namespace minicpmo::bindings
