#pragma once
// The state of a session for C: sound that goes on from message to message, places to come back to, and
// conversations as files. Reference: csrc/engine/session.h; minicpmo.h says what holds for all functions.
// All of them fail while the session is lent to a spoken answer.

#include "minicpmo.h"

#ifdef __cplusplus
extern "C" {
#endif

// minicpmo_session_prefill with sound that goes on from call to call: what completes a second is read, and
// with is_last not 0 the rest too. On failure the conversation is as before. params may be null. The
// session's thread; messages, texts, pixels and samples stay the caller's and are not kept.
MINICPMO_API minicpmo_status minicpmo_session_prefill_stream(minicpmo_session* session,
                                                             const minicpmo_message* messages,
                                                             size_t n_message,
                                                             const minicpmo_prefill_params* params,
                                                             int32_t is_last);

typedef struct minicpmo_session_snapshot minicpmo_session_snapshot;  // immutable

// A place in the conversation to come back to, such as before an answer to who turned out not to have
// finished. The session's thread. The caller owns *snapshot and gives it to minicpmo_session_snapshot_free.
MINICPMO_API minicpmo_status minicpmo_session_snapshot_take(minicpmo_session* session,
                                                            minicpmo_session_snapshot** snapshot);

// Goes back, any number of times; an answer that goes on ends. Fails when the snapshot is another session's,
// or of what was forgotten: nothing has changed then. The session's thread.
MINICPMO_API minicpmo_status minicpmo_session_restore(minicpmo_session* session,
                                                      const minicpmo_session_snapshot* snapshot);

// Gives the snapshot up; null is ignored. No thread may be using it.
MINICPMO_API void minicpmo_session_snapshot_free(minicpmo_session_snapshot* snapshot);

// The conversation to a file, between turns: whatever was at `path` is replaced. The session's thread.
MINICPMO_API minicpmo_status minicpmo_session_save(minicpmo_session* session, const char* path);

// Goes on with a saved conversation, of the same model file. On failure the session is empty. The session's
// thread.
MINICPMO_API minicpmo_status minicpmo_session_load(minicpmo_session* session, const char* path);

#ifdef __cplusplus
}
#endif
