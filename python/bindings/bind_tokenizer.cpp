#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include "bindings.h"
#include "engine/model_config.h"
#include "text/system_prompt.h"
#include "text/tokenizer.h"

namespace minicpmo::bindings {

namespace py = pybind11;

void bind_tokenizer(py::module_& m) {
    py::class_<Tokenizer, std::shared_ptr<Tokenizer>>(
        m, "Tokenizer",
        "Text to the ids of one model and back, by byte pairs (Qwen2TokenizerFast) or sentence pieces.")
        .def(py::init([](std::vector<std::string> tokens, const std::vector<int>& types,
                         std::vector<std::string> merges) {
                 Vocabulary vocabulary;
                 vocabulary.tokens = std::move(tokens);
                 vocabulary.merges = std::move(merges);
                 for (const int type : types) {
                     check<ArgumentError>(type >= 1 && type <= 6,
                                          "[tokenizer] expected token types of 1 to 6, got {}", type);
                     vocabulary.types.push_back(static_cast<TokenType>(type));
                 }
                 return std::make_shared<Tokenizer>(std::move(vocabulary));
             }),
             py::kw_only(), py::arg("tokens"), py::arg("types"), py::arg("merges"),
             "Of byte pairs: tokens by id; types as in GGUF (1 normal, 3 control, 4 user-defined, 5 unused); "
             "merges best "
             "first.")
        .def_static(
            "from_gguf",
            [](const std::string& path) {
                return std::make_shared<Tokenizer>(read_vocabulary(GgufFile::open(path)));
            },
            py::arg("path"), "The tokenizer of a GGUF file.")
        .def(
            "encode",
            [](const Tokenizer& t, const std::string& text, bool parse_special) {
                return t.encode(text, parse_special);
            },
            py::arg("text"), py::arg("parse_special") = true, py::call_guard<py::gil_scoped_release>(),
            "str -> list of ids.")
        .def(
            "decode",
            [](const Tokenizer& t, const std::vector<int32_t>& ids, bool skip) {
                return t.decode(ids, skip);
            },
            py::arg("ids"), py::arg("skip_special") = false, py::call_guard<py::gil_scoped_release>(),
            "ids -> str; bytes that are no UTF-8 become U+FFFD.")
        .def(
            "find", [](const Tokenizer& t, const std::string& token) { return t.find(token); },
            py::arg("token"), "The id of a token as the vocabulary writes it, or None.")
        .def_property_readonly("n_vocab", &Tokenizer::n_vocab);

    m.def(
        "system_prompt",
        [](bool has_reference_audio, const std::string& mode,
           const std::string& language) -> py::typing::List<py::typing::Optional<py::str>> {
            const ChatMessage message = system_prompt(has_reference_audio, mode, language);
            py::list parts;
            for (const ContentPart& part : message.content) {
                parts.append(part.kind == PartKind::text ? py::object(py::str(part.text))
                                                         : py::object(py::none()));
            }
            return parts;
        },
        py::arg("has_reference_audio"), py::arg("mode"), py::arg("language"),
        "The official system prompt as parts: str, and None where the reference audio goes.");
}

}  // namespace minicpmo::bindings
