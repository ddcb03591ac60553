#include <pybind11/stl.h>

#include "arrays.h"
#include "bindings.h"
#include "engine/code_generator.h"
#include "engine/model.h"

namespace minicpmo::bindings {

namespace {

using ModelPtr = std::shared_ptr<Model>;
using PyIds = py::array_t<int32_t, py::array::c_style>;
using PyBatch = std::optional<py::typing::Tuple<std::vector<int32_t>, bool>>;

struct Condition {
    std::span<const int32_t> ids;
    Array<float> hidden;  // [n_embd_llm, n]
};

Condition to_condition(const PyIds& ids, const Rows2d& hidden) {
    check<ArgumentError>(ids.ndim() == 1 && hidden.ndim() == 2,
                         "[tts] expected ids [n] and hidden [n, n_embd], got {} and {} dimensions",
                         ids.ndim(), hidden.ndim());
    Condition c{{ids.data(), static_cast<size_t>(ids.size())},
                Array<float>({hidden.shape(1), hidden.shape(0)})};
    std::copy_n(hidden.data(), c.hidden.data.size(), c.hidden.data.begin());
    return c;
}

py::array_t<float> tts_condition(const Model& model, const PyIds& ids, const Rows2d& hidden,
                                 const std::vector<int32_t>& tail) {
    const Condition c = to_condition(ids, hidden);
    Array<float> rows;
    {
        const py::gil_scoped_release release;
        Workspace workspace(model.backend());
        rows = model.speech().tts().condition(c.ids, c.hidden, tail, workspace);
    }
    return to_numpy(std::move(rows));
}

// The generator's steps with given codes in place of drawn ones.
py::array_t<float> tts_forward(const Model& model, const PyIds& ids, const Rows2d& hidden,
                               const std::vector<int32_t>& codes) {
    const Condition c = to_condition(ids, hidden);
    const TtsLm& lm = model.speech().tts();
    const TtsLmConfig& config = lm.config();
    Array<float> all({config.n_code, static_cast<int64_t>(codes.size()) + 1});
    {
        const py::gil_scoped_release release;
        Workspace workspace(model.backend());
        KvCache cache(lm.kv_shape(default_kv_type(model.config())), model.backend());
        const std::vector<int32_t> tail = {config.text_eos, config.audio_bos};
        const Array<float> rows = lm.condition(c.ids, c.hidden, tail, workspace);
        auto out = all.data.begin();
        const auto step = [&](const DecoderInput& input) {
            const Array<float> logits = lm.forward(input, true, cache, workspace);
            out = std::copy(logits.data.begin(), logits.data.end(), out);
        };
        step({.ids = {}, .embeds = rows.data});
        for (const int32_t& code : codes) step({.ids = {&code, 1}, .embeds = {}});
    }
    return to_numpy(std::move(all));
}

CodeRules parse_rules(const TtsConfig& config, const std::string& mode, std::optional<float> temperature) {
    check<ArgumentError>(mode == "chat" || mode == "streaming" || mode == "duplex",
                         "[tts] expected mode chat, streaming or duplex, got {}", mode);
    CodeRules rules = mode == "chat"     ? chat_rules(config)
                      : mode == "duplex" ? duplex_rules(config)
                                         : streaming_rules(config);
    if (temperature) rules.sampling.temperature = *temperature;
    return rules;
}

struct Generator {
    ModelPtr model;  // outlives the generator
    CodeGenerator generator;

    Generator(ModelPtr m, const std::string& mode, uint64_t seed, std::optional<float> temperature)
        : model(std::move(m)),
          generator(model->speech().tts(), model->backend(), default_kv_type(model->config()),
                    parse_rules(model->speech().tts_config(), mode, temperature), seed) {}
};

PyBatch next_batch(Generator& voice, int n) {
    std::optional<CodeBatch> batch;
    {
        const py::gil_scoped_release release;
        batch = voice.generator.next_batch(n);
    }
    if (!batch) return std::nullopt;
    return py::make_tuple(std::move(batch->codes), batch->is_last);
}

}  // namespace

void bind_tts(py::module_& m) {
    m.def("tts_condition", &tts_condition, py::arg("model"), py::arg("text_ids"), py::arg("hidden"),
          py::arg("tail") = std::vector<int32_t>{},
          "int32 [n], float32 [n, n_embd_llm], text ids alone -> input rows float32 [n + n_tail, n_embd]");
    m.def("tts_forward", &tts_forward, py::arg("model"), py::arg("text_ids"), py::arg("hidden"),
          py::arg("codes"), "A whole utterance with given codes -> logits float32 [n_code + 1, n_vocab]");

    py::class_<CodeState>(m, "CodeState", "Where a CodeGenerator was.");
    py::class_<Generator>(m, "CodeGenerator", "Speech codes of one turn. One thread at a time.")
        .def(py::init<ModelPtr, const std::string&, uint64_t, std::optional<float>>(), py::arg("model"),
             py::arg("mode"), py::kw_only(), py::arg("seed") = 0, py::arg("temperature") = py::none(),
             "mode: chat, streaming or duplex")
        .def(
            "feed",
            [](Generator& voice, const PyIds& ids, const Rows2d& hidden, bool is_final) {
                const Condition c = to_condition(ids, hidden);
                const py::gil_scoped_release release;
                voice.generator.feed(c.ids, c.hidden, is_final);
            },
            py::arg("text_ids"), py::arg("hidden"), py::arg("is_final") = false,
            "The next chunk: int32 [n], float32 [n, n_embd_llm]")
        .def(
            "next", [](Generator& voice) { return voice.generator.next(); },
            py::call_guard<py::gil_scoped_release>(), "The next code, or None where the chunk has ended.")
        .def("next_batch", &next_batch, py::arg("n") = CodeGenerator::kBatchCodes,
             "(codes, is_last), or None where more text is needed.")
        .def("snapshot", [](const Generator& voice) { return voice.generator.state(); })
        .def(
            "restore", [](Generator& voice, const CodeState& state) { voice.generator.restore(state); },
            py::arg("state"))
        .def(
            "reset", [](Generator& voice, uint64_t seed) { voice.generator.reset(seed); },
            py::arg("seed") = 0)
        .def("interrupt", [](Generator& voice) { voice.generator.interrupt(); })
        .def("clear_interrupt", [](Generator& voice) { voice.generator.clear_interrupt(); })
        .def_property_readonly("n_past", [](const Generator& voice) { return voice.generator.n_past(); });
}

}  // namespace minicpmo::bindings
