#include <pybind11/stl.h>

#include "arrays.h"
#include "bindings.h"
#include "engine/book_decoder.h"
#include "engine/book_writer.h"

namespace minicpmo::bindings {

namespace {

using ModelPtr = std::shared_ptr<Model>;
using PyCodes = py::array_t<int32_t, py::array::c_style>;
using PyBatch = py::typing::Optional<py::typing::Tuple<py::array_t<int32_t>, py::bool_, py::bool_>>;

// int32 [n, n_book], as the engine keeps them.
std::vector<int32_t> to_codes(const Model& model, const PyCodes& codes) {
    const int n_book = model.book_speech().config().lm.n_book;
    check<ArgumentError>(codes.ndim() == 2 && codes.shape(1) == n_book,
                         "[speech codes] expected codes [n, {}], got {} dimensions", n_book, codes.ndim());
    return {codes.data(), codes.data() + codes.size()};
}

py::array_t<float> mel_of_codes(const Model& model, const PyCodes& codes) {
    const std::vector<int32_t> ids = to_codes(model, codes);
    Array<float> mel;
    {
        const py::gil_scoped_release release;
        Workspace workspace(model.backend());
        mel = model.book_speech().dvae().decode(ids, workspace);
    }
    return to_numpy(std::move(mel));
}

py::array_t<float> wave_of_mel(const Model& model, const Rows2d& mel) {
    check<ArgumentError>(mel.ndim() == 2, "[vocos] expected mel [n_frame, n_mel], got {} dimensions",
                         mel.ndim());
    Array<float> frames({mel.shape(1), mel.shape(0)});
    std::copy_n(mel.data(), frames.data.size(), frames.data.begin());
    std::vector<float> wave;
    {
        const py::gil_scoped_release release;
        Workspace workspace(model.backend());
        wave = model.book_speech().vocos().generate(frames, workspace);
    }
    const auto n = static_cast<py::ssize_t>(wave.size());
    return to_numpy(std::move(wave), {n});
}

// An utterance whose text is all known, with given codes in place of drawn ones.
py::array_t<float> logits_of_codes(const Model& model, const std::string& text, const PySamples& speaker,
                                   const PyCodes& codes) {
    const std::vector<int32_t> ids = to_codes(model, codes);
    const BookSpeech& speech = model.book_speech();
    const ConditionalTts& lm = speech.tts();
    const ConditionalTtsConfig& config = lm.config();
    const std::span<const float> state = to_samples(speaker);
    const auto n_book = static_cast<size_t>(config.n_book);
    Array<float> all({config.n_code, config.n_book, static_cast<int64_t>(ids.size() / n_book) + 1});
    {
        const py::gil_scoped_release release;
        Workspace workspace(model.backend());
        KvCache cache(lm.kv_shape(default_kv_type(model.config())), model.backend());
        lm.open(cache);
        const std::vector<int32_t> pieces = speech.encoder().encode(text);
        std::vector<int32_t> known = {config.text_bos, config.speaker};
        known.insert(known.end(), pieces.begin(), pieces.end());
        known.push_back(config.text_eos);
        lm.read_text(known, 0, state, cache, workspace);
        auto out = all.data.begin();
        for (size_t i = 0; i <= ids.size(); i += n_book) {
            const auto before = std::span(ids).subspan(i == 0 ? 0 : i - n_book, i == 0 ? 0 : n_book);
            const Array<float> logits = lm.step(before, static_cast<int>(pieces.size()), cache, workspace);
            out = std::copy(logits.data.begin(), logits.data.end(), out);
        }
    }
    return to_numpy(std::move(all));
}

BookConfig with_temperature(BookConfig config, std::optional<float> temperature) {
    for (CodeSampling& sampling : config.sampling)
        if (temperature) sampling.temperature = *temperature;
    return config;
}

struct Writer {
    ModelPtr model;  // outlives the writer
    BookWriter writer;

    Writer(ModelPtr m, uint64_t seed, std::optional<float> temperature)
        : model(std::move(m)),
          writer(model->book_speech().tts(), model->book_speech().encoder(),
                 with_temperature(model->book_speech().config(), temperature), model->backend(),
                 default_kv_type(model->config()), seed) {}

    void feed(const std::string& text, const PySamples& speaker, bool is_final) {
        SpokenTokens tokens;
        tokens.text = text;
        const std::span<const float> state = to_samples(speaker);
        tokens.speaker.assign(state.begin(), state.end());
        tokens.is_final = is_final;
        const py::gil_scoped_release release;
        writer.feed(tokens);
    }
    PyBatch next_batch() {
        std::optional<CodeBatch> batch;
        {
            const py::gil_scoped_release release;
            batch = writer.next_batch();
        }
        if (!batch) return PyBatch(py::none());
        const int n_book = model->book_speech().config().lm.n_book;
        const auto n = static_cast<py::ssize_t>(batch->codes.size()) / n_book;
        return PyBatch(
            py::make_tuple(to_numpy(std::move(batch->codes), {n, n_book}), batch->is_last, batch->ends_part));
    }
};

}  // namespace

void bind_book(py::module_& m) {
    m.def(
        "word_pieces",
        [](const Model& model, const std::string& text) {
            return model.book_speech().encoder().encode(text);
        },
        py::arg("model"), py::arg("text"), "What is said of a text, as ids.");
    m.def("mel_of_codes", &mel_of_codes, py::arg("model"), py::arg("codes"),
          "int32 [n, n_book] -> log-mel float32 [n_frame, n_mel]");
    m.def("wave_of_mel", &wave_of_mel, py::arg("model"), py::arg("mel"),
          "float32 [n_frame, n_mel] -> float32 [n_sample]");
    m.def("logits_of_codes", &logits_of_codes, py::arg("model"), py::arg("text"), py::arg("speaker"),
          py::arg("codes"),
          "An utterance in a voice, float32 [n_embd_llm], with given codes, int32 [n, n_book] -> logits "
          "float32 [n + 1, n_book, n_code]");
    py::class_<Writer>(m, "BookWriter", "Codes of several code books for one turn. One thread at a time.")
        .def(py::init<ModelPtr, uint64_t, std::optional<float>>(), py::arg("model"), py::kw_only(),
             py::arg("seed") = 0, py::arg("temperature") = py::none())
        .def("feed", &Writer::feed, py::arg("text"), py::arg("speaker"), py::arg("is_final") = false,
             "The next piece of text, and the voice, float32 [n_embd_llm].")
        .def("next_batch", &Writer::next_batch,
             "(codes int32 [n, n_book], is_last, ends_part), or None where more text is needed.")
        .def("interrupt", [](Writer& self) { self.writer.interrupt(); });
    py::class_<BookDecoder, CodeDecoder, std::shared_ptr<BookDecoder>>(
        m, "BookDecoder", "Codes of several code books to samples. One thread at a time; interrupt from any.")
        .def(py::init([](ModelPtr model) { return std::make_shared<BookDecoder>(std::move(model)); }),
             py::arg("model"))
        .def("begin", &BookDecoder::begin, py::arg("streams"), "A new turn.")
        .def(
            "decode",
            [](BookDecoder& decoder, const PyCodes& codes, bool is_last, bool ends_part) {
                CodeBatch batch{{codes.data(), codes.data() + codes.size()}, is_last, ends_part};
                std::vector<float> samples;
                {
                    const py::gil_scoped_release release;
                    samples = decoder.decode(batch);
                }
                const auto n = static_cast<py::ssize_t>(samples.size());
                return to_numpy(std::move(samples), {n});
            },
            py::arg("codes"), py::arg("is_last") = false, py::arg("ends_part") = false,
            "int32 [n, n_book] -> float32 [m]: the samples that are ready");
}

}  // namespace minicpmo::bindings
