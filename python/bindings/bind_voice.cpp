#include <pybind11/stl.h>

#include "arrays.h"
#include "audio/resample.h"
#include "bindings.h"
#include "engine/model.h"
#include "engine/speech_decoder.h"
#include "engine/voice_file.h"

namespace minicpmo::bindings {

namespace {

using ModelPtr = std::shared_ptr<Model>;
using VoicePtr = std::shared_ptr<Voice>;
using PyCodes = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using PyPcm = py::array_t<int16_t, py::array::c_style | py::array::forcecast>;
using PyNumbers = py::array_t<float, py::array::c_style | py::array::forcecast>;

template <class T, int kFlags>
std::vector<T> to_vector(const py::array_t<T, kFlags>& array, const char* name) {
    check<ArgumentError>(array.ndim() == 1, "[voice] expected an array [n], got {} dimensions ({})",
                         array.ndim(), name);
    return {array.data(), array.data() + array.size()};
}

Array<float> to_rows(const PyNumbers& array) {  // [n_frame, n_feature] -> [n_feature, n_frame]
    check<ArgumentError>(array.ndim() == 2, "[voice] expected an array [n_frame, n], got {} dimensions",
                         array.ndim());
    Array<float> rows({array.shape(1), array.shape(0)});
    std::copy_n(array.data(), rows.data.size(), rows.data.begin());
    return rows;
}

Voice make_voice(const PyCodes& codes, const PyNumbers& mel, const PyNumbers& speaker,
                 const std::optional<PyPcm>& pcm, const std::string& name) {
    Voice voice;
    voice.name = name;
    voice.codes = to_vector(codes, "codes");
    voice.mel = to_rows(mel);
    voice.speaker.data = to_vector(speaker, "speaker");
    voice.speaker.shape = {static_cast<int64_t>(voice.speaker.data.size())};
    if (pcm) voice.pcm = to_vector(*pcm, "pcm");
    return voice;
}

// A file may hold bytes that are no text.
py::object to_text(const std::string& bytes) {
    PyObject* text = PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace");
    if (text == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(text);
}

template <class T>
py::array_t<T> copied(const std::vector<T>& values) {
    return to_numpy(values, {static_cast<py::ssize_t>(values.size())});
}

Voice encode_voice(const Model& model, const PySamples& samples, const std::string& name) {
    const std::span<const float> view = to_samples(samples);
    const py::gil_scoped_release release;
    Workspace workspace(model.backend());
    return model.speech().voice_encoder().encode(view, name, workspace);
}

PyFacts remember_voice(const ModelPtr& model, const Voice& voice, int n_steps) {
    using namespace py::literals;
    VoiceCache cache;
    {
        const py::gil_scoped_release release;
        cache = SpeechDecoder(model, voice, {.n_step = n_steps}).remember();
    }
    return py::dict("conformer_cnn_cache"_a = to_numpy(std::move(cache.encoder_contexts)),
                    "conformer_att_cache"_a = to_numpy(std::move(cache.encoder_keys_values)),
                    "estimator_cnn_cache"_a = to_numpy(std::move(cache.estimator_contexts)),
                    "estimator_att_cache"_a = to_numpy(std::move(cache.estimator_keys_values)));
}

// The parts of encode_voice by themselves, for comparisons with the reference.
class VoiceParts {
public:
    explicit VoiceParts(ModelPtr model)
        : model_(std::move(model)),
          encoder_(model_->speech().voice_encoder()),
          workspace_(model_->backend()) {}

    py::array_t<float> log_mel(const PySamples& samples) {
        return to_numpy(encoder_.tokenizer_mel().mirrored(to_samples(samples)));
    }
    py::typing::Tuple<py::array_t<int32_t>, py::array_t<float>> tokens(const PyNumbers& mel) {
        SpeechTokens tokens = encoder_.tokenizer().encode(to_rows(mel), workspace_);
        return py::make_tuple(copied(tokens.codes), to_numpy(std::move(tokens.states)));
    }
    py::array_t<float> fbank(const PySamples& samples) {
        return to_numpy(encoder_.fbank().compute(to_samples(samples)));
    }
    py::array_t<float> speaker(const PyNumbers& fbank) {
        Array<float> features = to_rows(fbank);
        subtract_mean(features);
        return to_numpy(encoder_.speaker().encode(features, workspace_));
    }
    py::array_t<float> mel(const PySamples& samples) {
        return to_numpy(encoder_.mel().compute(to_samples(samples)));
    }

private:
    ModelPtr model_;
    const VoiceEncoder& encoder_;
    Workspace workspace_;
};

void bind_parts(py::module_& m) {
    py::class_<VoiceParts>(m, "VoiceParts", "The parts of encode_voice by themselves.")
        .def(py::init<ModelPtr>(), py::arg("model"))
        .def("log_mel", &VoiceParts::log_mel, py::arg("samples"),
             "float32 [n] at 16 kHz -> float32 [n_frame, n_mel], of the speech tokenizer")
        .def("tokens", &VoiceParts::tokens, py::arg("mel"),
             "float32 [n_frame, n_mel] -> (codes int32 [n], states float32 [n, n_embd])")
        .def("fbank", &VoiceParts::fbank, py::arg("samples"),
             "float32 [n] at 16 kHz -> float32 [n_frame, n_mel], of the speaker encoder")
        .def("speaker", &VoiceParts::speaker, py::arg("fbank"), "float32 [n_frame, n_mel] -> float32 [n]")
        .def("mel", &VoiceParts::mel, py::arg("samples"),
             "float32 [n] at the decoder's rate -> float32 [n_frame, n_mel], of the decoder");
    m.def(
        "resample",
        [](const PySamples& samples, int from_rate, int to_rate) {
            std::vector<float> out = resample(to_samples(samples), from_rate, to_rate);
            const auto n = static_cast<py::ssize_t>(out.size());
            return to_numpy(std::move(out), {n});
        },
        py::arg("samples"), py::arg("from_rate"), py::arg("to_rate"), "float32 [n] -> float32 [m]");
}

}  // namespace

void bind_voice(py::module_& m) {
    py::class_<Voice, VoicePtr>(m, "Voice", "What speech sounds like, taken from a recording.")
        .def(py::init(&make_voice), py::arg("codes"), py::arg("mel"), py::arg("speaker"),
             py::arg("pcm") = py::none(), py::arg("name") = "")
        .def_property_readonly("name", [](const Voice& voice) { return to_text(voice.name); })
        .def_property_readonly(
            "codes", [](const Voice& voice) { return copied(voice.codes); }, "int32 [n]: speech codes")
        .def_property_readonly(
            "mel", [](const Voice& voice) { return to_numpy(voice.mel); }, "float32 [2 * n, n_mel]")
        .def_property_readonly(
            "speaker", [](const Voice& voice) { return to_numpy(voice.speaker); }, "float32 [n_speaker]")
        .def_property_readonly(
            "pcm", [](const Voice& voice) { return copied(voice.pcm); },
            "int16 [n]: the recording at 16 kHz; may be empty")
        .def(
            "save", [](const Voice& voice, const std::string& path) { save_voice(voice, path); },
            py::arg("path"), "Writes a GGUF file with this voice alone.")
        .def_static(
            "load", [](const std::string& path) { return load_voice(path); }, py::arg("path"),
            "Reads what save wrote.");
    m.def("encode_voice", &encode_voice, py::arg("model"), py::arg("samples"), py::arg("name") = "",
          "float32 [n] mono at 16 kHz -> Voice");
    m.def("remember_voice", &remember_voice, py::arg("model"), py::arg("voice"), py::arg("n_steps"),
          "Voice -> dict of float32 arrays: what the flow keeps of it, in the layout of published files");
    bind_parts(m);
}

}  // namespace minicpmo::bindings
