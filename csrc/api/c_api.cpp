#include <memory>
#include <string>

#include "api/arguments.h"
#include "api/handles.h"
#include "text/utf8_stream.h"

using namespace minicpmo;
using namespace minicpmo::api;

// --- the library ---

const char* minicpmo_version(void) { return MINICPMO_VERSION; }

const char* minicpmo_last_error(void) { return last_error(); }

minicpmo_status minicpmo_devices(char* buffer, size_t n_buffer, size_t* n_byte) {
    return guard([&] {
        std::string names;
        for (const std::string& name : Backend::devices()) names += (names.empty() ? "" : "\n") + name;
        store_text(names, buffer, n_buffer, n_byte);
    });
}

// --- models ---

minicpmo_status minicpmo_model_params_default(minicpmo_model_params* params, size_t size) {
    return store_default(params, size, default_model_params(), "model_params");
}

minicpmo_status minicpmo_model_load(const char* path, const minicpmo_model_params* params,
                                    minicpmo_model** model) {
    return guard([&] {
        minicpmo_model*& out = not_null(model, "model");
        auto loaded = std::make_unique<minicpmo_model>();
        loaded->model = Model::load(to_path(path), to_load_options(params));
        loaded->name = utf8_lossy(loaded->model->config().name);
        loaded->device = loaded->model->backend()->name();
        out = loaded.release();
    });
}

void minicpmo_model_free(minicpmo_model* model) { const std::unique_ptr<minicpmo_model> owned(model); }

minicpmo_status minicpmo_model_describe(const minicpmo_model* model, minicpmo_model_info* info) {
    return guard([&] {
        const minicpmo_model& handle = not_null(model, "model");
        check_struct(info, "model_info");
        const ModelConfig& config = handle.model->config();
        info->name = handle.name.c_str();
        info->device = handle.device.c_str();
        info->file_bytes = handle.model->file_bytes();
        info->n_vocab = config.llm.n_vocab;
        info->n_ctx_train = config.llm.n_ctx_train;
        info->n_embd = config.llm.decoder.n_embd;
        info->has_vision = config.vision ? 1 : 0;
        info->has_audio = config.audio ? 1 : 0;
    });
}

minicpmo_status minicpmo_tokenize(const minicpmo_model* model, const char* text, size_t n_text,
                                  int32_t parse_special, int32_t* ids, size_t n_max, size_t* n_id) {
    return guard([&] {
        const auto bytes = checked_span(text, n_text, "text");
        const auto& tokenizer = not_null(model, "model").model->tokenizer();
        size_t& n = not_null(n_id, "n_id");
        const std::vector<int32_t> all = tokenizer.encode({bytes.data(), bytes.size()}, parse_special != 0);
        n = all.size();
        if (ids == nullptr) return;
        check<BufferError>(n_max >= all.size(), "[api] expected room for {} ids, got {}", all.size(), n_max);
        std::copy(all.begin(), all.end(), ids);
    });
}

minicpmo_status minicpmo_detokenize(const minicpmo_model* model, const int32_t* ids, size_t n_id,
                                    int32_t skip_special, char* buffer, size_t n_buffer, size_t* n_byte) {
    return guard([&] {
        const auto all = checked_span(ids, n_id, "ids");
        store_text(not_null(model, "model").model->tokenizer().decode(all, skip_special != 0), buffer,
                   n_buffer, n_byte);
    });
}

// --- sessions ---

minicpmo_status minicpmo_session_params_default(minicpmo_session_params* params, size_t size) {
    return store_default(params, size, default_session_params(), "session_params");
}

minicpmo_status minicpmo_prefill_params_default(minicpmo_prefill_params* params, size_t size) {
    return store_default(params, size, default_prefill_params(), "prefill_params");
}

minicpmo_status minicpmo_generate_params_default(minicpmo_generate_params* params, size_t size) {
    return store_default(params, size, default_generate_params(), "generate_params");
}

minicpmo_status minicpmo_session_create(const minicpmo_model* model, const minicpmo_session_params* params,
                                        minicpmo_session** session) {
    return guard([&] {
        minicpmo_session*& out = not_null(session, "session");
        const auto chosen = params_or_default(params, default_session_params(), "session_params");
        out = std::make_unique<minicpmo_session>(not_null(model, "model").model, to_session_options(chosen))
                  .release();
    });
}

void minicpmo_session_free(minicpmo_session* session) {
    const std::unique_ptr<minicpmo_session> owned(session);
}

minicpmo_status minicpmo_session_reset(minicpmo_session* session) {
    return guard([&] { not_null(session, "session").session.reset(); });
}

void minicpmo_session_interrupt(minicpmo_session* session) {
    if (session != nullptr) session->session.interrupt();
}

minicpmo_status minicpmo_session_prefill(minicpmo_session* session, const minicpmo_message* messages,
                                         size_t n_message, const minicpmo_prefill_params* params) {
    return guard([&] {
        const auto chosen = params_or_default(params, default_prefill_params(), "prefill_params");
        const Messages all = to_messages(messages, n_message);
        not_null(session, "session").session.prefill(all.list, to_prompt_options(chosen));
    });
}

minicpmo_status minicpmo_session_begin(minicpmo_session* session, const minicpmo_generate_params* params) {
    return guard([&] {
        const auto chosen = params_or_default(params, default_generate_params(), "generate_params");
        not_null(session, "session").session.begin(to_generate_options(chosen));
    });
}

minicpmo_status minicpmo_session_next(minicpmo_session* session, minicpmo_piece* piece) {
    return guard([&] {
        minicpmo_session& handle = not_null(session, "session");
        check_struct(piece, "piece");
        std::optional<Piece> next = handle.session.next();
        const minicpmo_end end = next ? MINICPMO_END_NOT_YET : to_end(handle.session.stop_reason());
        handle.piece = next ? std::move(next->text) : std::string();
        piece->text = handle.piece.c_str();
        piece->n_text = handle.piece.size();
        piece->token = next ? next->id : -1;
        piece->end = end;
    });
}

minicpmo_status minicpmo_session_n_past(const minicpmo_session* session, int32_t* n_past) {
    return guard([&] { not_null(n_past, "n_past") = not_null(session, "session").session.n_past(); });
}

minicpmo_status minicpmo_session_timings(const minicpmo_session* session, minicpmo_timings* timings) {
    return guard([&] {
        const Timings& t = not_null(session, "session").session.timings();
        check_struct(timings, "timings");
        *timings = {sizeof(*timings), t.media.vision_s, t.media.audio_s, t.prefill_s,
                    t.first_token_s,  t.decode_s,       t.heard_s,       t.media.n_slice,
                    t.media.n_audio,  t.n_prompt,       t.n_decoded};
    });
}

minicpmo_status minicpmo_session_progress(const minicpmo_session* session, minicpmo_progress* progress) {
    return guard([&] {
        const Progress& p = not_null(session, "session").session.progress();
        check_struct(progress, "progress");
        *progress = {sizeof(*progress), p.n_slice_done, p.n_slice, p.n_audio_done,
                     p.n_audio,         p.n_token_done, p.n_token};
    });
}
