#include <memory>

#include "api/arguments.h"
#include "api/handles.h"
#include "include/minicpmo_session_state.h"

using namespace minicpmo;
using namespace minicpmo::api;

struct minicpmo_session_snapshot {
    std::shared_ptr<const Session::Snapshot> snapshot;
};

namespace {

Session& own(minicpmo_session* session) {
    minicpmo_session& handle = not_null(session, "session");
    check<ArgumentError>(!handle.is_lent, "[api] expected a session without a spoken answer, got a lent one");
    return handle.session;
}

}  // namespace

minicpmo_status minicpmo_session_prefill_stream(minicpmo_session* session, const minicpmo_message* messages,
                                                size_t n_message, const minicpmo_prefill_params* params,
                                                int32_t is_last) {
    return guard([&] {
        const auto chosen = params_or_default(params, default_prefill_params(), "prefill_params");
        const Messages all = to_messages(messages, n_message);
        own(session).prefill_stream(all.list, to_prompt_options(chosen), is_last != 0);
    });
}

minicpmo_status minicpmo_session_snapshot_take(minicpmo_session* session,
                                               minicpmo_session_snapshot** snapshot) {
    return guard([&] {
        minicpmo_session_snapshot*& out = not_null(snapshot, "snapshot");
        out = std::make_unique<minicpmo_session_snapshot>(minicpmo_session_snapshot{own(session).snapshot()})
                  .release();
    });
}

minicpmo_status minicpmo_session_restore(minicpmo_session* session,
                                         const minicpmo_session_snapshot* snapshot) {
    return guard([&] { own(session).restore(*not_null(snapshot, "snapshot").snapshot); });
}

void minicpmo_session_snapshot_free(minicpmo_session_snapshot* snapshot) {
    const std::unique_ptr<minicpmo_session_snapshot> owned(snapshot);
}

minicpmo_status minicpmo_session_save(minicpmo_session* session, const char* path) {
    return guard([&] { own(session).save(to_path(path)); });
}

minicpmo_status minicpmo_session_load(minicpmo_session* session, const char* path) {
    return guard([&] { own(session).load(to_path(path)); });
}
