#include <pybind11/stl.h>

#include "arrays.h"
#include "bindings.h"
#include "engine/model.h"

namespace minicpmo::bindings {

namespace {

using ModelPtr = std::shared_ptr<Model>;
using Codes = std::vector<int32_t>;

// A model's flow by itself, for comparisons with the reference. Spectra and noise are float32 [n_frame,
// n_mel].
class FlowProbe {
public:
    explicit FlowProbe(ModelPtr model)
        : model_(std::move(model)), flow_(model_->speech().flow()), workspace_(model_->backend()) {}

    PyPair encode(const Codes& codes) {
        UpsampleEncoderState state = flow_.start_encoder(workspace_);
        Flow::Encoded encoded = flow_.encode(codes, true, state, workspace_);
        return py::make_tuple(to_numpy(std::move(encoded.states)), to_numpy(std::move(encoded.mu)));
    }
    py::array_t<float> velocity(const Rows2d& x, const Rows2d& mu, const PySamples& speaker,
                                const Rows2d& mel, float time) {
        const std::vector<float> voice = flow_.embed_speaker(to_samples(speaker), workspace_);
        const Array<float> frames = to_frames(x);
        const Array<float> known = to_frames(mu);
        const Array<float> prompt = to_frames(mel);
        return to_numpy(
            flow_.matching().velocity({known.data, voice, prompt.data}, frames.data, time, workspace_));
    }
    py::array_t<float> generate(const Codes& codes, const Codes& prompt, const Rows2d& mel,
                                const PySamples& speaker, const Rows2d& noise, int n_step) {
        return to_numpy(flow_.generate(codes, to_prompt(prompt, mel, speaker), to_frames(noise).data, n_step,
                                       workspace_));
    }
    void start(const Codes& prompt, const Rows2d& mel, const PySamples& speaker, const Codes& lookahead,
               const Rows2d& noise, int n_step) {
        state_ = flow_.start(to_prompt(prompt, mel, speaker), lookahead, to_frames(noise).data, n_step,
                             workspace_);
    }
    py::array_t<float> next(const Codes& codes, bool is_last, const Rows2d& noise) {
        check<ArgumentError>(state_.n_prompt > 0, "[flow] expected start() before next()");
        return to_numpy(flow_.next(codes, is_last, to_frames(noise).data, state_, workspace_));
    }

private:
    Array<float> to_frames(const Rows2d& rows) const {
        const int n_mel = flow_.config().n_mel;
        check<ArgumentError>(rows.ndim() == 2 && rows.shape(1) == n_mel,
                             "[flow] expected an array [n_frame, {}], got {} dimensions", n_mel, rows.ndim());
        Array<float> frames({rows.shape(1), rows.shape(0)});
        std::copy_n(rows.data(), frames.data.size(), frames.data.begin());
        return frames;
    }
    FlowPrompt to_prompt(const Codes& codes, const Rows2d& mel, const PySamples& speaker) const {
        const std::span<const float> features = to_samples(speaker);
        return {codes, to_frames(mel), {features.begin(), features.end()}};
    }

    ModelPtr model_;
    const Flow& flow_;
    Workspace workspace_;
    FlowState state_;
};

}  // namespace

void bind_flow(py::module_& m) {
    py::class_<FlowProbe>(m, "FlowProbe",
                          "The flow by itself, codes to mel. Spectra and noise are float32 [n_frame, n_mel].")
        .def(py::init<ModelPtr>(), py::arg("model"))
        .def("encode", &FlowProbe::encode, py::arg("codes"),
             "A whole piece -> (states [n_frame, n_embd], mu [n_frame, n_mel])")
        .def("velocity", &FlowProbe::velocity, py::arg("x"), py::arg("mu"), py::arg("speaker"),
             py::arg("mel"), py::arg("time"),
             "-> float32 [n_frame, 2, n_mel]: with the conditions and without")
        .def("generate", &FlowProbe::generate, py::arg("codes"), py::arg("prompt"), py::arg("mel"),
             py::arg("speaker"), py::arg("noise"), py::arg("n_step"))
        .def("start", &FlowProbe::start, py::arg("prompt"), py::arg("mel"), py::arg("speaker"),
             py::arg("lookahead"), py::arg("noise"), py::arg("n_step"))
        .def("next", &FlowProbe::next, py::arg("codes"), py::arg("is_last"), py::arg("noise"),
             "The mel frames of the next codes; noise is the whole table.");
}

}  // namespace minicpmo::bindings
