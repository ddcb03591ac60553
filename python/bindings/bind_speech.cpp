#include <pybind11/stl.h>

#include "arrays.h"
#include "bindings.h"
#include "engine/speech_decoder.h"
#include "engine/spoken_answer.h"

namespace minicpmo::bindings {

namespace {

using ModelPtr = std::shared_ptr<Model>;
using SessionPtr = std::shared_ptr<Session>;
using VoicePtr = std::shared_ptr<Voice>;
using DecoderPtr = std::shared_ptr<CodeDecoder>;
using PyCodes = py::array_t<int32_t, py::array::c_style>;
using PySpoken =
    py::typing::Optional<py::typing::Tuple<py::int_, py::str, py::typing::Optional<py::array_t<float>>>>;

py::array_t<float> to_wave(std::vector<float> samples) {
    const auto n = static_cast<py::ssize_t>(samples.size());
    return to_numpy(std::move(samples), {n});
}

// Keeps alive what the answer borrows.
class PySpokenAnswer {
public:
    PySpokenAnswer(const ModelPtr& model, SessionPtr session, DecoderPtr decoder,
                   const GenerateOptions& options, const SpeechStreamOptions& speech)
        : session_(std::move(session)),
          decoder_(std::move(decoder)),
          answer_(model, *session_, *decoder_, options, speech) {}

    PySpoken next() {
        std::optional<SpokenPiece> piece;
        {
            const py::gil_scoped_release release;
            piece = answer_.next();
        }
        if (!piece) return PySpoken(py::none());
        if (piece->text) return PySpoken(py::make_tuple(piece->text->id, piece->text->text, py::none()));
        return PySpoken(py::make_tuple(-1, "", to_wave(std::move(piece->samples))));
    }
    void interrupt() noexcept { answer_.interrupt(); }
    SpeechTimings timings() const { return answer_.timings(); }

private:
    SessionPtr session_;
    DecoderPtr decoder_;
    SpokenAnswer answer_;
};

PyFacts to_dict(const SpeechTimings& t) {
    using namespace py::literals;
    return py::dict("codes_s"_a = t.codes_s, "flow_s"_a = t.flow_s, "vocoder_s"_a = t.vocoder_s,
                    "first_sample_s"_a = t.first_sample_s, "n_code"_a = t.n_code, "n_sample"_a = t.n_sample);
}

std::vector<std::string> voice_names(const Model& model) {
    std::vector<std::string> names;
    if (model.has_voices()) {
        for (const Voice& voice : model.speech().voices()) names.push_back(voice.name);
    }
    return names;
}

void bind_decoder(py::module_& m) {
    py::class_<CodeDecoder, DecoderPtr>(m, "CodeDecoder", "Speech codes to samples, of either kind.");
    py::class_<SpeechDecoder, CodeDecoder, std::shared_ptr<SpeechDecoder>>(
        m, "SpeechDecoder", "Speech codes of one voice to samples. One thread at a time; interrupt from any.")
        .def(py::init([](ModelPtr model, const VoicePtr& voice, int n_steps, uint64_t seed, bool has_noise) {
                 const SpeechDecoderOptions options{n_steps, seed, has_noise};
                 return std::make_shared<SpeechDecoder>(std::move(model), *voice, options);
             }),
             py::arg("model"), py::arg("voice"), py::kw_only(), py::arg("n_steps") = 0, py::arg("seed") = 0,
             py::arg("has_noise") = true, py::call_guard<py::gil_scoped_release>(), "Hears the voice.")
        .def("begin", &SpeechDecoder::begin, py::arg("streams") = false,
             py::call_guard<py::gil_scoped_release>(), "A new turn.")
        .def(
            "push",
            [](SpeechDecoder& decoder, const PyCodes& codes, bool is_last) {
                check<ArgumentError>(codes.ndim() == 1, "[speech] expected codes [n], got {} dimensions",
                                     codes.ndim());
                const std::span<const int32_t> view(codes.data(), static_cast<size_t>(codes.size()));
                std::vector<float> samples;
                {
                    const py::gil_scoped_release release;
                    samples = decoder.push(view, is_last);
                }
                return to_wave(std::move(samples));
            },
            py::arg("codes"), py::arg("is_last") = false,
            "int32 [n] -> float32 [m]: the samples of the windows that are complete, at last all")
        .def("interrupt", &SpeechDecoder::interrupt)
        .def_property_readonly("timings", [](const SpeechDecoder& decoder) {
            using namespace py::literals;
            return PyFacts(py::dict("flow_s"_a = decoder.spectrum_s(), "vocoder_s"_a = decoder.vocoder_s()));
        });
}

}  // namespace

void bind_speech(py::module_& m) {
    m.def(
        "sample_rate", [](const Model& model) { return model.sample_rate(); }, py::arg("model"),
        "Of what it speaks, in Hz.");
    m.def(
        "has_voices", [](const Model& model) { return model.has_voices(); }, py::arg("model"),
        "Whether it speaks in voices of recordings; else, if at all, as its prompt sounds.");
    m.def("voices", &voice_names, py::arg("model"), "The names of the voices in the file.");
    m.def(
        "voice",
        [](const Model& model, const std::string& name) {
            return std::make_shared<Voice>(model.speech().voice(name));
        },
        py::arg("model"), py::arg("name"), "A voice of the file; \"\" is its first.");
    bind_decoder(m);
    py::class_<PySpokenAnswer>(
        m, "SpokenAnswer",
        "An answer of a session, said as it is written. One thread at a time; interrupt "
        "from any.")
        .def(py::init([](const ModelPtr& model, SessionPtr session, DecoderPtr decoder,
                         const GenerateOptions& options, bool is_whole, bool has_threads, uint64_t seed) {
                 SpeechStreamOptions speech;
                 speech.is_whole = is_whole;
                 speech.has_threads = has_threads;
                 speech.seed = seed;
                 return std::make_unique<PySpokenAnswer>(model, std::move(session), std::move(decoder),
                                                         options, speech);
             }),
             py::arg("model"), py::arg("session"), py::arg("decoder"), py::arg("options"), py::kw_only(),
             py::arg("is_whole"), py::arg("has_threads") = true, py::arg("seed") = 0,
             py::call_guard<py::gil_scoped_release>())
        .def("next", &PySpokenAnswer::next,
             "(token id, text, None) or (-1, \"\", float32 [n] samples); None at the end.")
        .def("interrupt", &PySpokenAnswer::interrupt)
        .def_property_readonly("timings",
                               [](const PySpokenAnswer& answer) { return to_dict(answer.timings()); });
}

}  // namespace minicpmo::bindings
