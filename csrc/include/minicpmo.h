#pragma once
// The C API of minicpmo: a MiniCPM-o GGUF model reads text, pictures and sound and answers in text.
// Reference: csrc/engine/model.h and session.h, which this header offers to C and everything that can call C.
//
//     minicpmo_model *model = NULL;
//     minicpmo_session *session = NULL;
//     const char *text = "Hello!";
//     minicpmo_part part = {
//         .struct_size = sizeof part, .kind = MINICPMO_PART_TEXT, .text = text, .n_text = strlen(text)};
//     minicpmo_message message = {
//         .struct_size = sizeof message, .role = MINICPMO_ROLE_USER, .parts = &part, .n_part = 1};
//     minicpmo_piece piece = {.struct_size = sizeof piece};
//     if (minicpmo_model_load("model.gguf", NULL, &model) == MINICPMO_OK &&
//         minicpmo_session_create(model, NULL, &session) == MINICPMO_OK &&
//         minicpmo_session_prefill(session, &message, 1, NULL) == MINICPMO_OK &&
//         minicpmo_session_begin(session, NULL) == MINICPMO_OK) {
//         while (minicpmo_session_next(session, &piece) == MINICPMO_OK && piece.end == MINICPMO_END_NOT_YET)
//             fwrite(piece.text, 1, piece.n_text, stdout);
//     }
//     if (*minicpmo_last_error() != '\0') fprintf(stderr, "%s\n", minicpmo_last_error());
//     minicpmo_session_free(session);
//     minicpmo_model_free(model);
//
// Errors: a function that can fail returns a minicpmo_status and leaves its results untouched unless it says
// otherwise. Threads: any number may use a model at once, a session one at a time, except where a function
// says any thread. Text is UTF-8, ill-formed bytes read as U+FFFD. Structs begin with struct_size = sizeof of
// the struct, so that fields can be appended later; it is equal in all elements of an array.

#include <stddef.h>
#include <stdint.h>

#if !defined(_WIN32)
#define MINICPMO_API __attribute__((visibility("default")))
#elif defined(MINICPMO_BUILDING_LIBRARY)
#define MINICPMO_API __declspec(dllexport)
#else
#define MINICPMO_API
#endif

#ifdef __cplusplus
extern "C" {
#endif
typedef enum minicpmo_status {
    MINICPMO_OK = 0,
    MINICPMO_ERROR_INTERNAL = 1,           // none of the others; a bug or a failing device
    MINICPMO_ERROR_ARGUMENT = 2,           // the caller passed something out of range
    MINICPMO_ERROR_MODEL_FILE = 3,         // the file is absent, damaged, cut or inconsistent
    MINICPMO_ERROR_UNSUPPORTED_MODEL = 4,  // a sound file asks for something this build cannot run
    MINICPMO_ERROR_CONTEXT_FULL = 5,       // the session has no room for what was asked
    MINICPMO_ERROR_INTERRUPTED = 6,        // minicpmo_session_interrupt was called meanwhile
    MINICPMO_ERROR_OUT_OF_MEMORY = 7,
    MINICPMO_ERROR_BUFFER_TOO_SMALL = 8,  // the caller's buffer; the size that is needed was stored
    MINICPMO_ERROR_SESSION_LIMIT = 9,     // the model has max_sessions conversations
    MINICPMO_ERROR_TIMEOUT = 10           // there was no room in time; nothing was taken
} minicpmo_status;

typedef struct minicpmo_model minicpmo_model;      // immutable, shared by its sessions
typedef struct minicpmo_session minicpmo_session;  // one conversation

// --- the library ---
// "major.minor.patch". Any thread; the text is static.
MINICPMO_API const char* minicpmo_version(void);

// What went wrong in the calling thread's last call that failed; "" if none did. The text belongs to the
// library and is valid until this thread's next failure.
MINICPMO_API const char* minicpmo_last_error(void);

// The names of the devices there are, one per line. Any thread; the caller owns the buffer. *n_byte becomes
// the length without the closing zero byte; a null buffer only asks for it, too small a one is left as it is.
MINICPMO_API minicpmo_status minicpmo_devices(char* buffer, size_t n_buffer, size_t* n_byte);

// --- models ---
typedef struct minicpmo_model_params {
    size_t struct_size;
    const char* device;  // "auto": the first GPU, else the CPU; "cpu"; or a name that minicpmo_devices lists
    int32_t n_threads;   // 0: one for each core
    const char* const* parts;  // [n_part] paths of the set's other files; if none, those beside the first
    size_t n_part;
    int32_t max_sessions;        // conversations at a time; 0: any number. From here on not in all versions
    int32_t batches_sessions;    // not 0: tokens of several at a time: faster, rounded by who else answers
    uint64_t media_cache_bytes;  // of embeddings kept for pictures and sounds that come again; 0: none. Newer
    int32_t n_ctx;           // tokens of a conversation to have memory for; 0: the model's own, or what fits
    int32_t left_out;        // modules that are not loaded: 0, or bits of minicpmo_memory.h
    int32_t ignores_memory;  // not 0: what does not fit is tried all the same
    int32_t copies_weights;  // not 0: into memory with large pages: slower to load, faster to answer. Newer
} minicpmo_model_params;

typedef struct minicpmo_model_info {
    size_t struct_size;
    const char* name;               // the file's own title
    const char* device;             // where the weights are
    uint64_t file_bytes;            // of all parts together
    int32_t n_vocab;                // ids are 0 to n_vocab - 1
    int32_t n_ctx_train;            // tokens
    int32_t n_embd;                 // features
    int32_t has_vision, has_audio;  // 1: it sees pictures, it hears; else 0
} minicpmo_model_info;

// Fills *params, a struct of `size` bytes, with the defaults. Any thread; the texts in it are static.
MINICPMO_API minicpmo_status minicpmo_model_params_default(minicpmo_model_params* params, size_t size);

// Opens a GGUF file, of a split one the first part; or a folder of published files, or any file in one.
// Null params are the defaults. Any thread. The caller owns *model and gives it to minicpmo_model_free.
MINICPMO_API minicpmo_status minicpmo_model_load(const char* path, const minicpmo_model_params* params,
                                                 minicpmo_model** model);

// Gives the model up; null is ignored. Its sessions stay usable. No other thread may be using this handle.
MINICPMO_API void minicpmo_model_free(minicpmo_model* model);

// Facts about the model. Any thread; the texts in *info are the model's and valid until it is freed.
MINICPMO_API minicpmo_status minicpmo_model_describe(const minicpmo_model* model, minicpmo_model_info* info);

// Text to ids, at most n_max; *n_id becomes their number, null ids only ask for it. Special tokens in the
// text count as such only if parse_special is not 0. Any thread; the caller owns all buffers.
MINICPMO_API minicpmo_status minicpmo_tokenize(const minicpmo_model* model, const char* text, size_t n_text,
                                               int32_t parse_special, int32_t* ids, size_t n_max,
                                               size_t* n_id);

// Ids to text, without special tokens if skip_special is not 0; buffer as for minicpmo_devices. Any thread;
// the caller owns all buffers.
MINICPMO_API minicpmo_status minicpmo_detokenize(const minicpmo_model* model, const int32_t* ids, size_t n_id,
                                                 int32_t skip_special, char* buffer, size_t n_buffer,
                                                 size_t* n_byte);

// --- sessions ---
typedef struct minicpmo_session_params {
    size_t struct_size;
    int32_t n_ctx;           // most tokens of the conversation; 0: what the model was loaded for
    const char* cache_type;  // "f32", "f16", "bf16", "q8_0"; "auto": f32 for f32 weights, else f16
} minicpmo_session_params;

typedef enum { MINICPMO_ROLE_SYSTEM = 0, MINICPMO_ROLE_USER = 1, MINICPMO_ROLE_ASSISTANT = 2 } minicpmo_role;
typedef enum { MINICPMO_PART_TEXT = 0, MINICPMO_PART_IMAGE = 1, MINICPMO_PART_AUDIO = 2 } minicpmo_part_kind;

typedef struct minicpmo_part {
    size_t struct_size;
    int32_t kind;           // a minicpmo_part_kind; the fields of other kinds are not read
    const char* text;       // [n_text]
    size_t n_text;          // bytes
    const uint8_t* pixels;  // [height] rows of [width][3]: red, green, blue; rows top to bottom
    int32_t width, height;  // pixels
    size_t row_stride;      // bytes from row to row; 0: 3 * width
    const float* samples;   // [n_sample] mono, -1 to 1, 16000 a second
    size_t n_sample;
} minicpmo_part;

typedef struct minicpmo_message {
    size_t struct_size;
    int32_t role;  // a minicpmo_role
    const minicpmo_part* parts;
    size_t n_part;
} minicpmo_message;

typedef struct minicpmo_prefill_params {
    size_t struct_size;
    int32_t max_slices;     // of one picture, 1 to 64; 0: the model's own
    int32_t omni;           // not 0: parts are joined without newlines between them
    int32_t parse_special;  // not 0: special tokens in the messages' text count as such
} minicpmo_prefill_params;

typedef struct minicpmo_generate_params {
    size_t struct_size;
    int32_t max_new_tokens;
    float temperature;         // 0: always the likeliest token
    int32_t top_k;             // 0: all
    float top_p;               // 1: all
    float min_p;               // relative to the likeliest; 0: all
    float repetition_penalty;  // of ids already generated; 1: none
    uint64_t seed;
    int32_t enable_thinking;  // not 0: the answer may think first
    int32_t use_tts;          // 1: the answer opens with <|tts_bos|>; 0: not; -1: if there was sound
    int32_t ignore_stop;      // not 0: stop tokens are tokens like any other
    int64_t draft_tokens;     // most that are guessed and checked at a time, 0 to 64; not in all versions
} minicpmo_generate_params;

typedef enum minicpmo_end {
    MINICPMO_END_NOT_YET = 0,
    MINICPMO_END_STOP = 1,        // the model ended its answer
    MINICPMO_END_LENGTH = 2,      // max_new_tokens
    MINICPMO_END_INTERRUPTED = 3  // minicpmo_session_interrupt
} minicpmo_end;

typedef struct minicpmo_piece {
    size_t struct_size;
    const char* text;  // [n_text] and a zero byte; whole characters, so it may be empty for a while
    size_t n_text;     // bytes
    int32_t token;  // -1 with the text that is left when the answer ends inside a character, and at the end
    int32_t end;    // a minicpmo_end; with anything but MINICPMO_END_NOT_YET there is no text
} minicpmo_piece;

typedef struct minicpmo_timings {  // of the last turn; times in seconds
    size_t struct_size;
    double vision_s, audio_s, prefill_s, first_token_s, decode_s;
    double heard_s;  // length of the sound
    int32_t n_slice, n_audio, n_prompt, n_decoded;
} minicpmo_timings;

typedef struct minicpmo_progress {  // of the running prefill
    size_t struct_size;
    int32_t n_slice_done, n_slice, n_audio_done, n_audio, n_token_done, n_token;
} minicpmo_progress;

// Fill *params, a struct of `size` bytes, with the defaults. Any thread; the texts in them are static.
MINICPMO_API minicpmo_status minicpmo_session_params_default(minicpmo_session_params* params, size_t size);
MINICPMO_API minicpmo_status minicpmo_prefill_params_default(minicpmo_prefill_params* params, size_t size);
MINICPMO_API minicpmo_status minicpmo_generate_params_default(minicpmo_generate_params* params, size_t size);

// A new conversation; params may be null. Any thread. The caller gives *session to minicpmo_session_free.
MINICPMO_API minicpmo_status minicpmo_session_create(const minicpmo_model* model,
                                                     const minicpmo_session_params* params,
                                                     minicpmo_session** session);

// Ends the session; null is ignored. No thread may be using it.
MINICPMO_API void minicpmo_session_free(minicpmo_session* session);

// Forgets the conversation. The session's thread.
MINICPMO_API minicpmo_status minicpmo_session_reset(minicpmo_session* session);

// Stops what the session computes: a prefill gives MINICPMO_ERROR_INTERRUPTED, an answer ends with
// MINICPMO_END_INTERRUPTED. Any thread, also in a signal handler; the next prefill or begin forgets it.
MINICPMO_API void minicpmo_session_interrupt(minicpmo_session* session);

// Appends messages to the conversation, turn after turn as they come: a user message after a user message
// continues that turn. On failure the conversation is as before. params may be null. The session's thread;
// messages, texts and pixels stay the caller's and are not kept.
MINICPMO_API minicpmo_status minicpmo_session_prefill(minicpmo_session* session,
                                                      const minicpmo_message* messages, size_t n_message,
                                                      const minicpmo_prefill_params* params);

// Begins an answer to what was prefilled; params may be null. The session's thread.
MINICPMO_API minicpmo_status minicpmo_session_begin(minicpmo_session* session,
                                                    const minicpmo_generate_params* params);

// The next piece of the answer, about one token. The session's thread; piece->text lives until its next call.
MINICPMO_API minicpmo_status minicpmo_session_next(minicpmo_session* session, minicpmo_piece* piece);

// Tokens in the conversation so far. The session's thread.
MINICPMO_API minicpmo_status minicpmo_session_n_past(const minicpmo_session* session, int32_t* n_past);

// How long the last turn took. The session's thread; the caller owns *timings.
MINICPMO_API minicpmo_status minicpmo_session_timings(const minicpmo_session* session,
                                                      minicpmo_timings* timings);

// How far a running prefill is. Any thread; the caller owns *progress.
MINICPMO_API minicpmo_status minicpmo_session_progress(const minicpmo_session* session,
                                                       minicpmo_progress* progress);

#ifdef __cplusplus
}
#endif
