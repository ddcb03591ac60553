#include "api/arguments.h"
#include "api/handles.h"
#include "include/minicpmo_chat.h"

using namespace minicpmo;
using namespace minicpmo::api;

namespace {

minicpmo_chat_params default_chat_params() { return {sizeof(minicpmo_chat_params), 0, 0, 0, 0, -1}; }

PromptOptions to_prompt_options(const minicpmo_chat_params& params) {
    PromptOptions options;
    options.omni = params.omni != 0;
    options.parse_special = params.parse_special != 0;
    options.enable_thinking = params.enable_thinking != 0;
    if (params.max_slices != 0) options.max_slices = params.max_slices;
    if (params.use_tts >= 0) options.use_tts = params.use_tts != 0;
    return options;
}

}  // namespace

minicpmo_status minicpmo_chat_params_default(minicpmo_chat_params* params, size_t size) {
    return store_default(params, size, default_chat_params(), "chat_params");
}

minicpmo_status minicpmo_session_prefill_chat(minicpmo_session* session, const minicpmo_message* messages,
                                              size_t n_message, const minicpmo_chat_params* params) {
    return guard([&] {
        minicpmo_session& handle = not_null(session, "session");
        check<ArgumentError>(!handle.is_lent,
                             "[api] expected a session without a spoken answer, got a lent one");
        const auto chosen = params_or_default(params, default_chat_params(), "chat_params");
        const Messages all = to_messages(messages, n_message);
        handle.session.prefill_chat(all.list, to_prompt_options(chosen));
    });
}

minicpmo_status minicpmo_session_savings(const minicpmo_session* session, minicpmo_savings* savings) {
    return guard([&] {
        const Timings& t = not_null(session, "session").session.timings();
        check_struct(savings, "savings");
        *savings = {sizeof(*savings),      t.n_reused,  t.media.n_slice_found,
                    t.media.n_audio_found, t.n_drafted, t.n_confirmed};
    });
}
