#pragma once
// Whole conversations for C, and what need not be computed twice. Reference: csrc/engine/session.h;
// minicpmo.h says what holds for all functions.

#include "minicpmo.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct minicpmo_chat_params {
    size_t struct_size;
    int32_t max_slices;       // as in minicpmo_prefill_params, like the next two
    int32_t omni;             // not 0: parts are joined without newlines between them
    int32_t parse_special;    // not 0: special tokens in the messages' text count as such
    int32_t enable_thinking;  // not 0: the answer may think first
    int32_t use_tts;          // 1: the answer opens with <|tts_bos|>; 0: not; -1: if there is sound
} minicpmo_chat_params;

typedef struct minicpmo_savings {  // of the last turn
    size_t struct_size;
    int32_t n_reused;       // tokens of the prompt that the session held already, beside timings' n_prompt
    int32_t n_slice_found;  // of timings' n_slice: that the model had encoded before
    int32_t n_audio_found;  // of n_audio, likewise
    int32_t n_drafted;      // tokens that were guessed, see draft_tokens of minicpmo_generate_params
    int32_t n_confirmed;    // of these, that the answer said: so many of n_decoded took no pass of their own
} minicpmo_savings;

// Fills *params, a struct of `size` bytes, with the defaults. Any thread.
MINICPMO_API minicpmo_status minicpmo_chat_params_default(minicpmo_chat_params* params, size_t size);

// A whole conversation by the chat template, the beginning of the answer included, instead of what was there:
// what it begins with and the session holds already is not read again. Messages that are refused leave the
// session as it was, any other failure leaves it empty. params may be null. The session's thread, which fails
// while the session is lent to a spoken answer; messages and what they hold stay the caller's.
MINICPMO_API minicpmo_status minicpmo_session_prefill_chat(minicpmo_session* session,
                                                           const minicpmo_message* messages, size_t n_message,
                                                           const minicpmo_chat_params* params);

// What the last turn did not compute. The session's thread; the caller owns *savings.
MINICPMO_API minicpmo_status minicpmo_session_savings(const minicpmo_session* session,
                                                      minicpmo_savings* savings);

#ifdef __cplusplus
}
#endif
