#include <pybind11/stl.h>

#include "arrays.h"
#include "bindings.h"
#include "engine/model.h"
#include "engine/vocoder_config.h"

namespace minicpmo::bindings {

namespace {

using ModelPtr = std::shared_ptr<Model>;

// A model's vocoder by itself, for comparisons with the reference.
class VocoderProbe {
public:
    VocoderProbe(ModelPtr model, bool is_causal)
        : model_(std::move(model)),
          vocoder_(model_->speech().vocoder(is_causal ? VocoderKind::causal : VocoderKind::original)),
          workspace_(model_->backend()),
          state_(vocoder_.start()) {}

    void restart() { state_ = vocoder_.start(); }

    PyPair excite(const Rows2d& mel, const PySamples& noise) {
        const Array<float> frames = to_frames(mel);
        const std::span<const float> table = to_samples(noise);
        Excitation excitation;
        {
            const py::gil_scoped_release release;
            excitation = vocoder_.excite(frames, table, workspace_);
        }
        return py::make_tuple(to_wave(std::move(excitation.f0)), to_wave(std::move(excitation.samples)));
    }
    py::array_t<float> generate(const Rows2d& mel, const PySamples& noise) {
        const Array<float> frames = to_frames(mel);
        const std::span<const float> table = to_samples(noise);
        std::vector<float> wave;
        {
            const py::gil_scoped_release release;
            wave = vocoder_.generate(frames, table, workspace_);
        }
        return to_wave(std::move(wave));
    }
    py::array_t<float> next(const Rows2d& mel, bool is_last, const PySamples& noise) {
        const Array<float> frames = to_frames(mel);
        const std::span<const float> table = to_samples(noise);
        std::vector<float> wave;
        {
            const py::gil_scoped_release release;
            wave = vocoder_.next(frames, is_last, table, state_, workspace_);
        }
        return to_wave(std::move(wave));
    }
    int n_delay() const { return vocoder_.config().n_delay; }
    int frame_length() const { return vocoder_.config().frame_length(); }

private:
    static Array<float> to_frames(const Rows2d& mel) {
        check<ArgumentError>(mel.ndim() == 2, "[vocoder] expected mel [n_frame, n_mel], got {} dimensions",
                             mel.ndim());
        Array<float> frames({mel.shape(1), mel.shape(0)});
        std::copy_n(mel.data(), frames.data.size(), frames.data.begin());
        return frames;
    }
    static py::array_t<float> to_wave(std::vector<float> samples) {
        const auto n = static_cast<py::ssize_t>(samples.size());
        return to_numpy(std::move(samples), {n});
    }

    ModelPtr model_;
    const Vocoder& vocoder_;
    Workspace workspace_;
    VocoderState state_;
};

}  // namespace

void bind_vocoder(py::module_& m) {
    py::class_<VocoderProbe>(m, "Vocoder", "A model's vocoder by itself: mel frames to samples.")
        .def(py::init<ModelPtr, bool>(), py::arg("model"), py::arg("is_causal"))
        .def("excite", &VocoderProbe::excite, py::arg("mel"), py::arg("noise"),
             "float32 [n_frame, n_mel] -> (pitch in Hz [n_frame], excitation [n_sample]); noise as a table "
             "that "
             "is read round and round, or empty")
        .def("generate", &VocoderProbe::generate, py::arg("mel"), py::arg("noise"),
             "A whole utterance, float32 [n_frame, n_mel] -> float32 [n_sample]")
        .def("next", &VocoderProbe::next, py::arg("mel"), py::arg("is_last"), py::arg("noise"),
             "The next chunk of a stream, float32 [n_frame, n_mel] -> float32 [n_sample]")
        .def("restart", &VocoderProbe::restart, "Begins a new stream.")
        .def_property_readonly("n_delay", &VocoderProbe::n_delay, "Frames that a stream lags behind.")
        .def_property_readonly("frame_length", &VocoderProbe::frame_length, "Samples of a frame.");
}

}  // namespace minicpmo::bindings
