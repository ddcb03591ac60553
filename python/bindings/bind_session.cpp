#include <pybind11/stl.h>

#include "arrays.h"
#include "bindings.h"
#include "core/quantize.h"
#include "engine/session.h"

namespace minicpmo::bindings {

namespace {

using SessionPtr = std::shared_ptr<Session>;

PyFacts timings_dict(const Session& session) {
    using namespace py::literals;
    const Timings& t = session.timings();
    return py::dict("vision_s"_a = t.media.vision_s, "n_slice"_a = t.media.n_slice,
                    "n_slice_found"_a = t.media.n_slice_found, "n_audio_found"_a = t.media.n_audio_found,
                    "audio_s"_a = t.media.audio_s, "n_audio"_a = t.media.n_audio, "heard_s"_a = t.heard_s,
                    "prefill_s"_a = t.prefill_s, "n_prompt"_a = t.n_prompt, "n_reused"_a = t.n_reused,
                    "first_token_s"_a = t.first_token_s, "decode_s"_a = t.decode_s,
                    "n_decoded"_a = t.n_decoded, "n_drafted"_a = t.n_drafted,
                    "n_confirmed"_a = t.n_confirmed);
}

}  // namespace

void bind_session(py::module_& m) {
    py::class_<GenerateOptions>(m, "GenerateOptions", "How an answer is sampled.")
        .def(py::init<>())
        .def_readwrite("max_new_tokens", &GenerateOptions::max_new_tokens)
        .def_readwrite("enable_thinking", &GenerateOptions::enable_thinking)
        .def_readwrite("use_tts", &GenerateOptions::use_tts)
        .def_readwrite("ignore_stop", &GenerateOptions::ignore_stop)
        .def_readwrite("ends_with_speech", &GenerateOptions::ends_with_speech)
        .def_readwrite("is_speakable", &GenerateOptions::is_speakable)
        .def_readwrite("keep_hidden", &GenerateOptions::keep_hidden)
        .def_readwrite("n_draft", &GenerateOptions::n_draft)
        .def_property(
            "temperature", [](const GenerateOptions& o) { return o.sampling.temperature; },
            [](GenerateOptions& o, float v) { o.sampling.temperature = v; })
        .def_property(
            "top_k", [](const GenerateOptions& o) { return o.sampling.top_k; },
            [](GenerateOptions& o, int v) { o.sampling.top_k = v; })
        .def_property(
            "top_p", [](const GenerateOptions& o) { return o.sampling.top_p; },
            [](GenerateOptions& o, float v) { o.sampling.top_p = v; })
        .def_property(
            "min_p", [](const GenerateOptions& o) { return o.sampling.min_p; },
            [](GenerateOptions& o, float v) { o.sampling.min_p = v; })
        .def_property(
            "repetition_penalty", [](const GenerateOptions& o) { return o.sampling.repetition_penalty; },
            [](GenerateOptions& o, float v) { o.sampling.repetition_penalty = v; })
        .def_property(
            "repetition_window", [](const GenerateOptions& o) { return o.sampling.repetition_window; },
            [](GenerateOptions& o, int v) { o.sampling.repetition_window = v; })
        .def_property(
            "length_penalty", [](const GenerateOptions& o) { return o.sampling.length_penalty; },
            [](GenerateOptions& o, float v) { o.sampling.length_penalty = v; })
        .def_property(
            "seed", [](const GenerateOptions& o) { return o.sampling.seed; },
            [](GenerateOptions& o, uint64_t v) { o.sampling.seed = v; });

    py::class_<Session::Snapshot, std::shared_ptr<Session::Snapshot>>(
        m, "SessionSnapshot", "A place in a conversation to come back to.");
    py::class_<Session, SessionPtr>(
        m, "Session", "One conversation. One thread at a time; interrupt and progress from any.")
        .def(py::init([](std::shared_ptr<Model> model, int n_ctx, const std::optional<std::string>& kv_type,
                         std::optional<std::pair<int, int>> window) {
                 SessionOptions options{n_ctx, std::nullopt};
                 if (kv_type) options.kv_type = parse_type(*kv_type);
                 if (window) options.window = RoundWindow{window->first, window->second};
                 return std::make_shared<Session>(std::move(model), options);
             }),
             py::arg("model"), py::kw_only(), py::arg("n_ctx") = 0, py::arg("kv_type") = py::none(),
             py::arg("window") = py::none())
        .def(
            "prefill",
            [](Session& session, const PyMessages& messages, const PromptOptions& options) {
                const std::vector<Message> parsed = to_messages(messages);
                const py::gil_scoped_release release;
                session.prefill(parsed, options);
            },
            py::arg("messages"), py::arg("options"), "Appends [(role, [str | array])] to the conversation.")
        .def(
            "prefill_stream",
            [](Session& session, const PyMessages& messages, const PromptOptions& options, bool is_last) {
                const std::vector<Message> parsed = to_messages(messages);
                const py::gil_scoped_release release;
                session.prefill_stream(parsed, options, is_last);
            },
            py::arg("messages"), py::arg("options"), py::arg("is_last") = false,
            "The same; sound goes on from call to call.")
        .def(
            "prefill_chat",
            [](Session& session, const PyMessages& messages, const PromptOptions& options) {
                const std::vector<Message> parsed = to_messages(messages);
                const py::gil_scoped_release release;
                session.prefill_chat(parsed, options);
            },
            py::arg("messages"), py::arg("options"),
            "A whole conversation by the chat template; what the session holds of it already stays.")
        .def("begin", &Session::begin, py::arg("options"), py::call_guard<py::gil_scoped_release>(),
             "Begins an answer.")
        .def(
            "next",
            [](Session& session) -> py::typing::Optional<py::typing::Tuple<py::int_, py::str>> {
                std::optional<Piece> piece;
                {
                    const py::gil_scoped_release release;
                    piece = session.next();
                }
                return piece ? py::object(py::make_tuple(piece->id, piece->text)) : py::object(py::none());
            },
            "(id, text) or None at the end of the answer. An id of -1 closes a character that stayed "
            "incomplete.")
        .def("interrupt", &Session::interrupt,
             "Stops what another thread computes; that call raises or ends its answer.")
        .def("reset", &Session::reset, "Forgets the conversation.")
        .def("rest", &Session::rest, py::call_guard<py::gil_scoped_release>(),
             "Gives scratch memory back, which the next call takes anew.")
        .def("snapshot",
             [](const Session& session) {
                 return std::const_pointer_cast<Session::Snapshot>(session.snapshot());
             })
        .def("restore", &Session::restore, py::arg("snapshot"))
        .def(
            "save", [](Session& session, const std::string& path) { session.save(path); }, py::arg("path"),
            py::call_guard<py::gil_scoped_release>())
        .def(
            "load", [](Session& session, const std::string& path) { session.load(path); }, py::arg("path"),
            py::call_guard<py::gil_scoped_release>())
        .def(
            "answer_hidden", [](const Session& session) { return to_numpy(session.answer_hidden()); },
            "float32 [n, n_embd]: row i is the state after the final norm with token i of the answer as "
            "input.")
        .def(
            "logits",
            [](Session& session) {
                const std::span<const float> logits = session.logits();
                return to_numpy(std::vector<float>(logits.begin(), logits.end()),
                                {static_cast<py::ssize_t>(logits.size())});
            },
            "float32 [n_vocab], of the next token after all that was read.")
        .def(
            "ids",
            [](const Session& session) {
                std::vector<int32_t> ids;
                for (const RowSource& row : session.rows()) ids.push_back(row.token);
                const auto n = static_cast<py::ssize_t>(ids.size());
                return to_numpy(std::move(ids), {n});
            },
            "int32 [n_past]: the token of each row, -1 where it is a picture's or a sound's.")
        .def(
            "speaker",
            [](const Session& session) {
                const std::vector<float>& state = session.speaker();
                return to_numpy(state, {static_cast<py::ssize_t>(state.size())});
            },
            "float32 [n_embd]: the state that is the answer's voice, or nothing.")
        .def_property_readonly("n_past", &Session::n_past)
        .def_property_readonly("n_ctx", &Session::n_ctx)
        .def_property_readonly("n_rounds", &Session::n_round)
        .def_property_readonly("kv_bytes", &Session::kv_bytes)
        .def_property_readonly("stop_reason", &Session::stop_reason)
        .def_property_readonly("timings", &timings_dict)
        .def_property_readonly(
            "progress",
            [](const Session& session) {
                const Progress& p = session.progress();
                return py::make_tuple(p.n_slice_done.load(), p.n_slice.load(), p.n_audio_done.load(),
                                      p.n_audio.load(), p.n_token_done.load(), p.n_token.load());
            },
            "(slices done, slices, audio tokens done, audio tokens, tokens done, tokens) of the running "
            "prefill.");
}

}  // namespace minicpmo::bindings
