#include <pybind11/stl.h>

#include "arrays.h"
#include "bindings.h"
#include "engine/audio_stream.h"
#include "engine/recording.h"

namespace minicpmo::bindings {

namespace {

using ModelPtr = std::shared_ptr<Model>;

py::array_t<float> encode_audio(const Model& model, const PySamples& samples,
                                std::optional<float> chunk_seconds) {
    const std::span<const float> view = to_samples(samples);
    Array<float> rows;
    {
        const py::gil_scoped_release release;
        model.audio();
        Workspace workspace(model.backend());
        Recording recording(model, {view}, attention_block(*model.config().audio, chunk_seconds.value_or(0)));
        rows = recording.all(workspace);
    }
    return to_numpy(std::move(rows));
}

py::array_t<float> log_mel(const Model& model, const PySamples& samples) {
    const std::span<const float> view = to_samples(samples);
    model.audio();
    Array<float> mel;
    {
        const py::gil_scoped_release release;
        mel = model.log_mel()->offline(view);
    }
    return to_numpy(std::move(mel));
}

// The two halves of an AudioStream by themselves, for comparisons with the reference.
class ChunkEncoder {
public:
    ChunkEncoder(ModelPtr model, int redundancy)
        : model_(std::move(model)),
          workspace_(model_->backend()),
          state_(model_->audio().start(default_kv_type(model_->config()), model_->backend())),
          mel_(model_->log_mel(), {.redundancy = redundancy}) {}

    py::object push(const PySamples& samples, bool is_last) {
        std::optional<MelChunk> chunk = mel_.push(to_samples(samples), is_last);
        if (!chunk) return py::none();
        return py::make_tuple(to_numpy(std::move(chunk->mel)), chunk->prefix, chunk->suffix);
    }
    py::array_t<float> encode(const Rows2d& mel, int prefix, int suffix) {
        check<ArgumentError>(mel.ndim() == 2, "[audio] expected mel [n_frame, n_mel], got {} dimensions",
                             mel.ndim());
        Array<float> frames({mel.shape(1), mel.shape(0)});
        std::copy_n(mel.data(), frames.data.size(), frames.data.begin());
        return to_numpy(model_->audio().encode_chunk(frames, {prefix, suffix}, state_, workspace_));
    }
    int n_cached() const { return state_.cache.length(); }

private:
    ModelPtr model_;
    Workspace workspace_;
    AudioEncoderState state_;
    StreamingMel mel_;
};

}  // namespace

void bind_audio(py::module_& m) {
    m.def("encode_audio", &encode_audio, py::arg("model"), py::arg("samples"),
          py::arg("chunk_seconds") = py::none(),
          "float32 [n] mono at 16 kHz -> float32 [n_token, n_embd]; blocks of attention of so many seconds, "
          "None for full attention");
    m.def("log_mel", &log_mel, py::arg("model"), py::arg("samples"),
          "float32 [n], at most 30 s -> float32 [n_frame, n_mel]");

    py::class_<AudioStream, std::shared_ptr<AudioStream>>(
        m, "AudioStream", "Sound as it arrives to embeddings chunk by chunk. One thread at a time.")
        .def(py::init([](ModelPtr model, const std::string& mode) {
                 return std::make_shared<AudioStream>(std::move(model), parse_audio_stream_mode(mode));
             }),
             py::arg("model"), py::arg("mode"))
        .def(
            "push",
            [](AudioStream& stream, const PySamples& samples) {
                const std::span<const float> view = to_samples(samples);
                Array<float> rows;
                {
                    const py::gil_scoped_release release;
                    rows = stream.push(view);
                }
                return to_numpy(std::move(rows));
            },
            py::arg("samples"), "float32 [n] mono at 16 kHz -> float32 [n_token, n_embd] of complete chunks")
        .def(
            "finish",
            [](AudioStream& stream) {
                Array<float> rows;
                {
                    const py::gil_scoped_release release;
                    rows = stream.finish();
                }
                return to_numpy(std::move(rows));
            },
            "What is left, shorter than a chunk; the stream is then as new.")
        .def(
            "reset", [](AudioStream& stream) { stream.reset(); }, "Forgets what was heard.")
        .def_property_readonly("n_samples", &AudioStream::n_sample);

    py::class_<ChunkEncoder>(m, "ChunkEncoder", "The two halves of an AudioStream by themselves.")
        .def(py::init<ModelPtr, int>(), py::arg("model"), py::arg("redundancy") = 0)
        .def("push", &ChunkEncoder::push, py::arg("samples"), py::arg("is_last") = false,
             "float32 [n] -> (mel float32 [n_frame, n_mel], prefix, suffix: redundant frames) or None")
        .def("encode", &ChunkEncoder::encode, py::arg("mel"), py::arg("prefix") = 0, py::arg("suffix") = 0,
             "float32 [n_frame, n_mel] -> float32 [n_token, n_embd]")
        .def_property_readonly("n_cached", &ChunkEncoder::n_cached,
                               "Encoder frames that the next chunk sees.");
}

}  // namespace minicpmo::bindings
