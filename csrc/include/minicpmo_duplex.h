#pragma once
// Full duplex for C: a conversation in both directions at once, a second at a time. What was seen and heard
// goes in, and out comes whether the model listens or what it says. Reference: csrc/engine/duplex_session.h
// and duplex_stream.h; docs/streaming.md says what the options do, minicpmo.h what holds for all functions.
//
//     minicpmo_duplex *duplex = NULL;
//     minicpmo_duplex_chunk chunk = {.struct_size = sizeof chunk};
//     float second[16000];
//     minicpmo_unit unit = {.struct_size = sizeof unit, .samples = second, .n_sample = 16000};
//     if (minicpmo_duplex_create(model, NULL, &duplex) == MINICPMO_OK &&
//         minicpmo_duplex_prepare(duplex, NULL, NULL, NULL, 0, NULL) == MINICPMO_OK) {
//         while (record(second) && minicpmo_duplex_step(duplex, &unit, &chunk) == MINICPMO_OK) {
//             fwrite(chunk.text, 1, chunk.n_text, stdout);
//             fwrite(chunk.samples, sizeof *chunk.samples, chunk.n_sample, speaker);
//         }
//     }
//     minicpmo_duplex_free(duplex);
//
// step() computes a second where it is called. With push_audio, push_frame, finish and next the conversation
// runs by itself on four threads: it begins with the first of these calls and ends with MINICPMO_CHUNK_END.
// Until then the functions for "the conversation's thread" fail, or drop what is not done where they say so;
// while they run, no other thread may push or take.

#include "minicpmo_speech.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct minicpmo_duplex minicpmo_duplex;

typedef enum {
    MINICPMO_WINDOW_OFF = 0,     // the context fills up
    MINICPMO_WINDOW_BASIC = 1,   // beyond window_high tokens the oldest units go until there are window_low
    MINICPMO_WINDOW_CONTEXT = 2  // beyond max_units the oldest go; what was said in them stays as text
} minicpmo_window;

typedef struct minicpmo_duplex_params {
    size_t struct_size;
    int32_t n_ctx;                    // most tokens; 0: what the model was loaded for
    const char* cache_type;           // as of minicpmo_session_params
    int32_t window;                   // a minicpmo_window; the fields of other kinds are not read
    int32_t window_high, window_low;  // tokens
    int32_t max_units;
    int32_t max_previous;        // tokens of what was said before
    float temperature;           // 0: always the likeliest token
    int32_t top_k;               // 0: all
    float top_p;                 // 1: all
    float repetition_penalty;    // 1: none
    int32_t repetition_window;   // of the last tokens
    float length_penalty;        // above 1 turns get longer
    float listen_scale;          // weight of listening among the probabilities
    int32_t scales_end_token;    // not 0: a quirk of the reference, see Q14 in docs/streaming.md
    uint64_t seed;               // of the text
    int32_t max_tokens;          // of a unit, the one that ends it included
    int32_t max_characters;      // said in a unit: fewer than this; 0: any
    int32_t force_listen;        // so many units at first only listen
    int32_t last_token_decides;  // not 0: another quirk, see Q13
    int32_t has_speech;          // 1: what is written is said; 0: not; -1: if the model speaks
    int32_t n_step;              // of the flow; 0: the model's own
    float speech_temperature;
    uint64_t speech_seed;
    int32_t hurries_always;  // not 0: no speech code waits for a full window
    int32_t fills_units;     // not 0: short sound in a turn that goes on has silence in front
    int32_t finishes_turns;  // not 0: a turn's last unit may sound up to four seconds
} minicpmo_duplex_params;

typedef struct minicpmo_duplex_info {
    size_t struct_size;
    int32_t n_ctx;         // most tokens
    int32_t unit_samples;  // that a unit hears
    double unit_s;         // seconds that they last
    int32_t sample_rate;   // of what is said, samples a second; 0: nothing is
} minicpmo_duplex_info;

typedef struct minicpmo_frame {
    size_t struct_size;
    const uint8_t* pixels;  // as in minicpmo_part
    int32_t width;          // pixels
    int32_t height;         // pixels
    size_t row_stride;      // bytes from row to row; 0: 3 * width
    int32_t max_slices;     // 1 to 64; 0: 1
} minicpmo_frame;

typedef struct minicpmo_unit {  // sound, frames or text: any of them may be absent, but not all
    size_t struct_size;
    const float* samples;          // [n_sample] mono, -1 to 1, 16000 a second
    size_t n_sample;               // unit_samples, or 0
    const minicpmo_frame* frames;  // [n_frame] in the order in which they are seen
    size_t n_frame;
    const char* text;      // [n_text] that the user writes
    size_t n_text;         // bytes
    int32_t force_listen;  // not 0: says nothing; a turn that goes on ends
} minicpmo_unit;

typedef enum {
    MINICPMO_CHUNK_UNIT = 0,     // a unit
    MINICPMO_CHUNK_NOT_YET = 1,  // no unit is done yet
    MINICPMO_CHUNK_END = 2       // the last one was taken
} minicpmo_chunk_kind;

typedef struct minicpmo_duplex_chunk {  // what became of a unit
    size_t struct_size;
    int32_t kind;          // a minicpmo_chunk_kind; with anything but MINICPMO_CHUNK_UNIT all else is 0
    int64_t unit;          // of the conversation, from 0
    const char* text;      // [n_text] and a zero byte: what was said; empty while the model listens
    size_t n_text;         // bytes
    const float* samples;  // [n_sample] mono, -1 to 1; null where nothing is said
    size_t n_sample;
    int32_t sample_rate;  // of the samples; 0 where nothing is ever said
    const int32_t* ids;   // [n_id] tokens: the decision first, what closed the unit last
    size_t n_id;
    int32_t is_listen;                            // 1: the model listens; else 0
    int32_t end_of_turn;                          // 1: what it had to say is said; else 0
    int32_t is_cut;                               // 1: what was to be said was not, or not all of it; else 0
    float listen_probability, speak_probability;  // of the decision, before it was drawn
    int32_t n_past;                               // tokens in the context after the unit
    int32_t n_forgotten;                          // units that the window let go then
    double vision_s, audio_s, prefill_s, decode_s, codes_s, flow_s, vocoder_s;  // times in seconds
    double total_s;  // of the step; of pushed input, from its last sample to its sound
    // Of pushed input; 0 after a step:
    int32_t is_late;           // 1: that was longer than the unit; else 0
    int32_t n_dropped_frames;  // of the unit's frames, to keep up
    int32_t n_queued;          // complete units that waited then
} minicpmo_duplex_chunk;

// Fills *params, a struct of `size` bytes, with the defaults. Any thread; the texts in it are static.
MINICPMO_API minicpmo_status minicpmo_duplex_params_default(minicpmo_duplex_params* params, size_t size);

// A new conversation, to be prepared; params may be null for the defaults. Any thread. The caller owns
// *duplex and gives it to minicpmo_duplex_free.
MINICPMO_API minicpmo_status minicpmo_duplex_create(const minicpmo_model* model,
                                                    const minicpmo_duplex_params* params,
                                                    minicpmo_duplex** duplex);

// Ends the conversation; null is ignored, and what is not done is dropped. No thread may be using it.
MINICPMO_API void minicpmo_duplex_free(minicpmo_duplex* duplex);

// Facts that do not change. Any thread; the caller owns *info.
MINICPMO_API minicpmo_status minicpmo_duplex_describe(const minicpmo_duplex* duplex,
                                                      minicpmo_duplex_info* info);

// Begins the conversation; the one before is over, whatever this returns. What it is about: the texts before
// and behind the reference, tags included; null for the usual ones. The reference, [n_reference] samples as
// in a unit, tells the language model how it sounds; null is the recording of the voice, if there is one, and
// a pointer to none leaves it out. `voice` says what is to be said; null is the model's first. The
// conversation's thread; what is not done is dropped; all arguments stay the caller's and are not kept.
MINICPMO_API minicpmo_status minicpmo_duplex_prepare(minicpmo_duplex* duplex, const char* prefix,
                                                     const char* suffix, const float* reference,
                                                     size_t n_reference, const minicpmo_voice* voice);

// Changes how the units to come are drawn and what they may say: the fields from temperature to
// last_token_decides; the others are not read, and the seed is for the next prepare. The conversation's
// thread.
MINICPMO_API minicpmo_status minicpmo_duplex_set_params(minicpmo_duplex* duplex,
                                                        const minicpmo_duplex_params* params);

// One unit. On failure the conversation is as before. The conversation's thread; what is in *unit stays the
// caller's, the arrays in *chunk are the conversation's and valid until its next step, next or poll.
MINICPMO_API minicpmo_status minicpmo_duplex_step(minicpmo_duplex* duplex, const minicpmo_unit* unit,
                                                  minicpmo_duplex_chunk* chunk);

// Cuts speech: the unit that is written now, or else the next one, ends the turn and listens; what was
// written and not yet said is not said. What is seen and heard goes on. Any thread, but no signal handler.
MINICPMO_API void minicpmo_duplex_interrupt(minicpmo_duplex* duplex);

// --- input as it arrives ---

// Hears n_sample more samples, any number of them. Sound is never lost: where too much of it waits, this
// waits too, for timeout_s seconds at most, without end if that is negative; MINICPMO_ERROR_TIMEOUT then, and
// nothing was taken. Fails as a unit that was pushed before did, and where so many units wait to be taken
// that this would never end. Any thread; the samples stay the caller's.
MINICPMO_API minicpmo_status minicpmo_duplex_push_audio(minicpmo_duplex* duplex, const float* samples,
                                                        size_t n_sample, double timeout_s);

// Sees a picture in the second that arrives now. Where the engine falls behind, frames go. Any thread; the
// pixels stay the caller's.
MINICPMO_API minicpmo_status minicpmo_duplex_push_frame(minicpmo_duplex* duplex, const minicpmo_frame* frame);

// No more is pushed: silence fills the last unit up. Any thread.
MINICPMO_API minicpmo_status minicpmo_duplex_finish(minicpmo_duplex* duplex);

// The next unit: waits for it, or gives MINICPMO_CHUNK_NOT_YET. Fails as a unit did, once those before it
// were taken; the conversation is then to be prepared anew or restored. One thread at a time; *chunk as of
// step.
MINICPMO_API minicpmo_status minicpmo_duplex_next(minicpmo_duplex* duplex, minicpmo_duplex_chunk* chunk);
MINICPMO_API minicpmo_status minicpmo_duplex_poll(minicpmo_duplex* duplex, minicpmo_duplex_chunk* chunk);

// --- places and files ---

typedef struct minicpmo_duplex_snapshot minicpmo_duplex_snapshot;  // immutable

// A place in the conversation to come back to. The conversation's thread. The caller owns *snapshot and gives
// it to minicpmo_duplex_snapshot_free.
MINICPMO_API minicpmo_status minicpmo_duplex_snapshot_take(minicpmo_duplex* duplex,
                                                           minicpmo_duplex_snapshot** snapshot);

// Goes back; what follows is what would have followed then. Any number of times. Fails where the window has
// forgotten part of it, or when it is another conversation's: nothing has changed then, but what is not done
// is dropped. The conversation's thread.
MINICPMO_API minicpmo_status minicpmo_duplex_restore(minicpmo_duplex* duplex,
                                                     const minicpmo_duplex_snapshot* snapshot);

// Gives the snapshot up; null is ignored. No thread may be using it.
MINICPMO_API void minicpmo_duplex_snapshot_free(minicpmo_duplex_snapshot* snapshot);

// The whole conversation to a file: whatever was at `path` is replaced. The conversation's thread.
MINICPMO_API minicpmo_status minicpmo_duplex_save(minicpmo_duplex* duplex, const char* path);

// Goes on with a saved conversation, of the same model file and params. On failure there is none. The
// conversation's thread; what is not done is dropped.
MINICPMO_API minicpmo_status minicpmo_duplex_load(minicpmo_duplex* duplex, const char* path);

#ifdef __cplusplus
}
#endif
