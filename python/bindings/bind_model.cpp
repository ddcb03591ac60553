#include <pybind11/stl.h>

#include "arrays.h"
#include "bindings.h"
#include "engine/model.h"
#include "engine/prompt_reader.h"
#include "load_options.h"

namespace minicpmo::bindings {

namespace {

using ModelPtr = std::shared_ptr<Model>;

py::dict describe_speech(const SpeechModel& speech) {
    using namespace py::literals;
    const SpeechFlowConfig& flow = speech.flow_config();
    const DecoderConfig& lm = speech.tts_config().lm.decoder;
    std::vector<std::string> voices;
    for (const Voice& voice : speech.voices()) voices.push_back(voice.name);
    return py::dict(
        "n_layer"_a = lm.n_layer, "n_embd"_a = lm.n_embd, "code_rate"_a = flow.network.token_rate_hz,
        "n_steps"_a = flow.n_step, "sample_rate"_a = speech.sample_rate(),
        "vocoder"_a = speech.vocoder().config().is_causal() ? "causal" : "original",
        "n_code"_a = flow.network.n_code, "n_mel"_a = flow.network.n_mel,
        "n_speaker"_a = flow.network.n_speaker, "frames_per_code"_a = flow.network.encoder.up_rate,
        "chunk_codes"_a = flow.chunk_codes, "n_lookahead"_a = flow.network.encoder.n_lookahead,
        "can_clone"_a = speech.can_clone(), "voices"_a = voices);
}

py::dict describe_speech(const BookSpeech& speech) {
    using namespace py::literals;
    const BookConfig& c = speech.config();
    const int frame_rate = c.vocos.sample_rate_hz / c.vocos.hop_length;
    return py::dict("n_layer"_a = c.lm.decoder.n_layer, "n_embd"_a = c.lm.decoder.n_embd,
                    "n_book"_a = c.lm.n_book, "code_rate"_a = frame_rate / c.dvae.n_group,
                    "sample_rate"_a = c.vocos.sample_rate_hz, "vocoder"_a = "vocos", "can_clone"_a = false,
                    "voices"_a = std::vector<std::string>{});
}

PyFacts describe(const Model& model) {
    using namespace py::literals;
    const ModelConfig& c = model.config();
    const DecoderConfig& d = c.llm.decoder;
    py::dict llm("arch"_a = c.llm.arch, "n_layer"_a = d.n_layer, "n_embd"_a = d.n_embd, "n_ff"_a = d.n_ff,
                 "n_head"_a = d.n_head, "n_head_kv"_a = d.n_head_kv, "d_head"_a = d.d_head,
                 "n_vocab"_a = c.llm.n_vocab, "n_ctx_train"_a = c.llm.n_ctx_train, "norm_eps"_a = d.norm_eps,
                 "rope_base"_a = d.rope.base, "qk_norm"_a = d.qk_norm, "type"_a = c.llm.file_type);
    py::dict out("name"_a = c.name, "modules"_a = c.modules, "device"_a = model.backend()->name(),
                 "n_threads"_a = model.backend()->n_threads(), "file_bytes"_a = model.file_bytes(),
                 "llm"_a = llm);
    if (c.vision) {
        const VisionConfig& v = *c.vision;
        out["vision"] =
            py::dict("n_layer"_a = v.tower.n_layer, "n_embd"_a = v.tower.n_embd, "n_ff"_a = v.tower.n_ff,
                     "n_head"_a = v.tower.n_head, "patch_size"_a = v.tower.patch_size,
                     "position_grid"_a = v.tower.position_grid, "n_query"_a = v.resampler.n_query,
                     "scale_resolution"_a = v.slicing.scale_resolution,
                     "max_slice_nums"_a = v.slicing.max_slices, "use_image_id"_a = v.use_image_id);
    }
    if (c.audio) {
        const AudioConfig& a = *c.audio;
        const WhisperConfig& w = a.encoder.whisper;
        out["audio"] =
            py::dict("n_layer"_a = w.n_layer, "n_embd"_a = w.n_embd, "n_ff"_a = w.n_ff, "n_head"_a = w.n_head,
                     "n_mel"_a = w.n_mel, "n_position"_a = w.n_position, "sample_rate"_a = a.mel.sample_rate,
                     "hop"_a = a.mel.hop, "pool_step"_a = a.encoder.pool_step, "chunk_s"_a = a.chunk_s,
                     "chunks_stand_alone"_a = a.chunks_stand_alone);
    }
    if (model.has_voices()) {
        out["speech"] = describe_speech(model.speech());
    } else if (model.has_speech()) {
        out["speech"] = describe_speech(model.book_speech());
    }
    out["stop_tokens"] = c.tokens.stop;
    out["user_instructs"] = c.chat.user_instructs;
    return out;
}

using TensorFacts = std::tuple<std::string, std::vector<int64_t>, std::string, size_t>;

std::vector<TensorFacts> list_tensors(const Model& model) {
    std::vector<TensorFacts> out;
    for (const TensorInfo& t : model.tensors()) {
        out.emplace_back(t.name, std::vector<int64_t>(t.ne.begin(), t.ne.begin() + t.n_dims),
                         ggml_type_name(t.type), t.data.size());
    }
    return out;
}

py::array_t<float> encode_image(const Model& model, const py::array& pixels, std::optional<int> max_slices) {
    const ImageView view = to_view(pixels);
    Array<float> all;
    {
        const py::gil_scoped_release release;
        const VisionEncoder& vision = model.vision();
        Workspace workspace(model.backend());
        const PreparedImage image = prepare_image(*model.config().vision, view, max_slices);
        all = Array<float>({vision.n_embd(), vision.n_query(), static_cast<int64_t>(image.slices.size())});
        auto out = all.data.begin();
        for (const PatchedImage& slice : image.slices) {
            const Array<float> rows = encode_slice(model, slice, workspace);
            out = std::copy(rows.data.begin(), rows.data.end(), out);
        }
    }
    return to_numpy(std::move(all));
}

PyFacts prepare(const Model& model, const py::array& pixels, std::optional<int> max_slices,
                std::optional<bool> use_image_id) {
    using namespace py::literals;
    model.vision();
    const VisionConfig& config = *model.config().vision;
    PreparedImage image = prepare_image(config, to_view(pixels), max_slices);
    py::list patches;
    py::list sizes;
    for (PatchedImage& slice : image.slices) {
        sizes.append(py::make_tuple(slice.rows, slice.cols));
        const py::ssize_t p = config.tower.patch_size;
        const py::ssize_t n = slice.pixels.shape[1];
        patches.append(to_numpy(std::move(slice.pixels.data), {n, 3, p, p}));
    }
    const py::object grid =
        image.grid.cols > 0 ? py::object(py::make_tuple(image.grid.cols, image.grid.rows)) : py::none();
    return py::dict("grid"_a = grid, "target_sizes"_a = sizes, "patches"_a = patches,
                    "placeholder"_a = image_placeholder(config, image.grid, 0, use_image_id));
}

py::array_t<float> encode_patches(const Model& model, const py::array& pixels, std::optional<int> max_slices,
                                  size_t index) {
    const VisionEncoder& vision = model.vision();
    const PreparedImage image = prepare_image(*model.config().vision, to_view(pixels), max_slices);
    check<ArgumentError>(index < image.slices.size(), "[vision] expected a slice of 0 to {}, got {}",
                         image.slices.size() - 1, index);
    const PatchedImage& slice = image.slices[index];
    const std::vector<int32_t> ids = slice_position_ids(*model.config().vision, slice);
    Workspace workspace(model.backend());
    return to_numpy(vision.encode_patches({slice.pixels, ids, slice.rows, slice.cols}, workspace));
}

using PyPrompt = py::typing::Tuple<py::str, py::array_t<int32_t>, py::array_t<float>>;
using PyForward = py::typing::Tuple<py::array_t<float>, py::array_t<float>>;

PyPrompt build_prompt(const Model& model, const PyMessages& messages, const PromptOptions& options) {
    const std::vector<Message> parsed = to_messages(messages);
    Prompt prompt;
    Array<float> embeds;
    {
        const py::gil_scoped_release release;
        Workspace workspace(model.backend());
        prompt = PromptBuilder(model).build(parsed, options);
        embeds = PromptReader(model, prompt, workspace).read(static_cast<int>(prompt.ids.size()));
    }
    const auto n = static_cast<py::ssize_t>(prompt.ids.size());
    return py::make_tuple(prompt.text, to_numpy(std::move(prompt.ids), {n}), to_numpy(std::move(embeds)));
}

using Ids = py::array_t<int32_t, py::array::c_style>;

PyForward forward(const Model& model, const std::optional<Ids>& ids, const std::optional<Rows2d>& embeds) {
    const int n_embd = model.config().llm.decoder.n_embd;
    check<ArgumentError>(ids.has_value() != embeds.has_value(),
                         "[forward] expected either ids or embeds, got {}",
                         ids.has_value() ? "both" : "neither");
    check<ArgumentError>(!ids || ids->ndim() == 1, "[forward] expected ids [n], got {} dimensions",
                         ids ? ids->ndim() : 0);
    check<ArgumentError>(!embeds || (embeds->ndim() == 2 && embeds->shape(1) == n_embd),
                         "[forward] expected embeds [n, {}]", n_embd);
    DecoderInput input;
    if (ids) input.ids = {ids->data(), static_cast<size_t>(ids->size())};
    if (embeds) input.embeds = {embeds->data(), static_cast<size_t>(embeds->size())};
    Model::Forward result;
    {
        const py::gil_scoped_release release;
        result = model.forward(input);
    }
    const auto n_vocab = static_cast<py::ssize_t>(result.logits.data.size());
    return py::make_tuple(to_numpy(std::move(result.logits.data), {n_vocab}),
                          to_numpy(std::move(result.hidden)));
}

}  // namespace

void bind_model(py::module_& m) {
    py::class_<PromptOptions>(m, "PromptOptions", "How messages become a prompt.")
        .def(py::init<>())
        .def_readwrite("add_generation_prompt", &PromptOptions::add_generation_prompt)
        .def_readwrite("enable_thinking", &PromptOptions::enable_thinking)
        .def_readwrite("use_tts", &PromptOptions::use_tts)
        .def_readwrite("omni", &PromptOptions::omni)
        .def_readwrite("stream_input", &PromptOptions::stream_input)
        .def_readwrite("parse_special", &PromptOptions::parse_special)
        .def_readwrite("max_slices", &PromptOptions::max_slices)
        .def_readwrite("use_image_id", &PromptOptions::use_image_id);

    py::class_<Model, ModelPtr>(m, "Model", "An immutable model file on a device; sessions share it.")
        .def_static(
            "load",
            [](const std::string& path, const std::vector<std::string>& parts, bool looks_around,
               const std::string& device, int n_threads, int max_sessions, bool batches_sessions,
               const std::optional<std::vector<std::string>>& modules, int n_ctx,
               const std::optional<std::string>& kv_type, bool checks_memory,
               std::optional<uint64_t> available, bool copies_weights, size_t media_cache_bytes) {
                LoadOptions options =
                    to_load_options(parts, device, n_threads, max_sessions,
                                    {modules, n_ctx, kv_type, checks_memory, available, copies_weights});
                options.looks_around = looks_around;
                options.batches_sessions = batches_sessions;
                options.media_cache_bytes = media_cache_bytes;
                return std::const_pointer_cast<Model>(Model::load(path, options));
            },
            py::arg("path"), py::kw_only(), py::arg("parts") = std::vector<std::string>{},
            py::arg("looks_around") = true, py::arg("device") = "auto", py::arg("n_threads") = 0,
            py::arg("max_sessions") = 0, py::arg("batches_sessions") = false, py::arg("modules") = py::none(),
            py::arg("n_ctx") = 0, py::arg("kv_type") = py::none(), py::arg("checks_memory") = true,
            py::arg("available") = py::none(), py::arg("copies_weights") = false,
            py::arg("media_cache_bytes") = kMediaCacheBytes, py::call_guard<py::gil_scoped_release>(),
            "Opens and checks a GGUF file, or a set of them; raises ModelFileError, and MemoryError for what "
            "does not fit.")
        .def("describe", &describe, "The facts of the file as a dict.")
        .def("tensors", &list_tensors,
             "[(name, shape with the fastest dimension first, type, bytes)] of the file, in its order")
        .def(
            "tokenize",
            [](const Model& model, const std::string& text, bool parse) {
                return model.tokenizer().encode(text, parse);
            },
            py::arg("text"), py::arg("parse_special") = true, py::call_guard<py::gil_scoped_release>())
        .def(
            "detokenize",
            [](const Model& model, const std::vector<int32_t>& ids, bool skip) {
                return model.tokenizer().decode(ids, skip);
            },
            py::arg("ids"), py::arg("skip_special") = false, py::call_guard<py::gil_scoped_release>())
        .def("encode_image", &encode_image, py::arg("pixels"), py::arg("max_slices") = py::none(),
             "uint8 [h, w, 3] -> float32 [n_slice, n_query, n_embd]")
        .def("encode_patches", &encode_patches, py::arg("pixels"), py::arg("max_slices") = py::none(),
             py::arg("slice") = 0,
             "uint8 [h, w, 3] -> float32 [n_patch, n_embd_vision]: the vision tower alone, one slice")
        .def("prepare_image", &prepare, py::arg("pixels"), py::arg("max_slices") = py::none(),
             py::arg("use_image_id") = py::none(),
             "uint8 [h, w, 3] -> dict(grid (cols, rows) or None, target_sizes [(rows, cols)], patches "
             "float32 [n, 3, p, p] "
             "each, placeholder)")
        .def("build_prompt", &build_prompt, py::arg("messages"), py::arg("options"),
             "[(role, [str | array])] -> (text, ids int32 [n], embeds float32 [n, n_embd])")
        .def("forward", &forward, py::kw_only(), py::arg("ids") = py::none(), py::arg("embeds") = py::none(),
             "ids int32 [n] or embeds float32 [n, n_embd] -> (logits float32 [n_vocab] of the last row, "
             "hidden [n, n_embd])");
}

}  // namespace minicpmo::bindings
