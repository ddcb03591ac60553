#pragma once
// Speech for C: a voice, what decodes speech in that voice, and answers that are said as they are written.
// Reference: csrc/engine/spoken_answer.h, speech_decoder.h and voice_encoder.h; minicpmo.h says what holds
// for all functions.
//
//     minicpmo_voice *voice = NULL;
//     minicpmo_speech_decoder *decoder = NULL;
//     minicpmo_spoken_answer *answer = NULL;
//     minicpmo_spoken_piece piece = {.struct_size = sizeof piece};
//     if (minicpmo_voice_of_model(model, NULL, &voice) == MINICPMO_OK &&
//         minicpmo_speech_decoder_create(model, voice, NULL, &decoder) == MINICPMO_OK &&
//         minicpmo_spoken_answer_begin(session, decoder, NULL, NULL, &answer) == MINICPMO_OK) {
//         while (minicpmo_spoken_answer_next(answer, &piece) == MINICPMO_OK &&
//                piece.end == MINICPMO_END_NOT_YET) {
//             fwrite(piece.text, 1, piece.n_text, stdout);
//             fwrite(piece.samples, sizeof *piece.samples, piece.n_sample, wave);
//         }
//     }
//     minicpmo_spoken_answer_free(answer);
//     minicpmo_speech_decoder_free(decoder);
//     minicpmo_voice_free(voice);

#include "minicpmo.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct minicpmo_speech_info {
    size_t struct_size;
    int32_t has_speech;   // 1: it speaks; else 0, and so are all the others
    int32_t can_clone;    // 1: it makes voices of recordings; else 0
    int32_t sample_rate;  // of what it says, samples a second
    int32_t n_voice;      // that the file brings along
    double min_s, max_s;  // length of a recording to make a voice of; 0 if it cannot
} minicpmo_speech_info;

// Facts about the model's speech. Any thread; the caller owns *info.
MINICPMO_API minicpmo_status minicpmo_speech_describe(const minicpmo_model* model,
                                                      minicpmo_speech_info* info);

// --- voices ---

typedef struct minicpmo_voice minicpmo_voice;  // immutable; any number of threads may use it at once

// The voice of that name in the model's file; null or "" is its first one. Any thread. The caller owns *voice
// and gives it to minicpmo_voice_free.
MINICPMO_API minicpmo_status minicpmo_voice_of_model(const minicpmo_model* model, const char* name,
                                                     minicpmo_voice** voice);

// The name of the model's voice number `index`, from 0; buffer as for minicpmo_devices. Any thread.
MINICPMO_API minicpmo_status minicpmo_voice_name_of_model(const minicpmo_model* model, int32_t index,
                                                          char* buffer, size_t n_buffer, size_t* n_byte);

// A voice of a recording: mono, -1 to 1, 16000 a second; `name` may be null. Any thread; the samples stay the
// caller's. The caller owns *voice and gives it to minicpmo_voice_free.
MINICPMO_API minicpmo_status minicpmo_voice_encode(const minicpmo_model* model, const float* samples,
                                                   size_t n_sample, const char* name, minicpmo_voice** voice);

// From a file with one voice, and to one: whatever was at `path` is replaced. Any thread. The caller owns
// *voice and gives it to minicpmo_voice_free.
MINICPMO_API minicpmo_status minicpmo_voice_load(const char* path, minicpmo_voice** voice);
MINICPMO_API minicpmo_status minicpmo_voice_save(const minicpmo_voice* voice, const char* path);

// The voice's name, maybe empty; buffer as for minicpmo_devices. Any thread.
MINICPMO_API minicpmo_status minicpmo_voice_name(const minicpmo_voice* voice, char* buffer, size_t n_buffer,
                                                 size_t* n_byte);

// The recording, for a prompt that asks for this voice: mono, 16000 a second, at most n_max samples;
// *n_sample becomes their number, 0 if the voice came without; null samples only ask for it. Any thread.
MINICPMO_API minicpmo_status minicpmo_voice_samples(const minicpmo_voice* voice, float* samples, size_t n_max,
                                                    size_t* n_sample);

// Gives the voice up; null is ignored. Decoders made with it stay usable. No thread may be using it.
MINICPMO_API void minicpmo_voice_free(minicpmo_voice* voice);

// --- speech decoders ---

typedef struct minicpmo_speech_decoder minicpmo_speech_decoder;  // one voice; for one answer at a time

typedef struct minicpmo_speech_decoder_params {
    size_t struct_size;
    int32_t n_step;     // of the flow: fewer are faster and coarser; 0: the model's own
    int32_t has_noise;  // not 0: breath and hiss
    uint64_t seed;      // of the noise
} minicpmo_speech_decoder_params;

// Fills *params, a struct of `size` bytes, with the defaults. Any thread.
MINICPMO_API minicpmo_status minicpmo_speech_decoder_params_default(minicpmo_speech_decoder_params* params,
                                                                    size_t size);

// A decoder for that voice; it listens to the voice first, which takes a while. A model that has speech and
// neither clones nor has voices speaks as its prompt sounds: its voice is null. params may be null. Any
// thread. The caller owns *decoder and gives it to minicpmo_speech_decoder_free.
MINICPMO_API minicpmo_status minicpmo_speech_decoder_create(const minicpmo_model* model,
                                                            const minicpmo_voice* voice,
                                                            const minicpmo_speech_decoder_params* params,
                                                            minicpmo_speech_decoder** decoder);

// Ends the decoder; null is ignored. No answer may be using it.
MINICPMO_API void minicpmo_speech_decoder_free(minicpmo_speech_decoder* decoder);

// --- spoken answers ---

typedef struct minicpmo_spoken_answer minicpmo_spoken_answer;

typedef struct minicpmo_speech_params {
    size_t struct_size;
    int32_t is_whole;     // not 0: speech begins when the text is complete; else with its first tokens
    int32_t has_threads;  // not 0: speech is made on two threads of its own; the samples are the same
    uint64_t seed;        // of the speech codes
} minicpmo_speech_params;

typedef struct minicpmo_spoken_piece {  // text or samples
    size_t struct_size;
    const char* text;      // [n_text] and a zero byte; whole characters
    size_t n_text;         // bytes
    const float* samples;  // [n_sample] mono, -1 to 1; null with text
    size_t n_sample;
    int32_t token;  // -1 with samples, with text left over, and at the end
    int32_t end;    // a minicpmo_end, of the text, when all was said
} minicpmo_spoken_piece;

typedef struct minicpmo_speech_timings {  // so far; times in seconds
    size_t struct_size;
    double codes_s, flow_s, vocoder_s;
    double first_sample_s;  // from the first tokens given to speech to the first samples
    int64_t n_sample;
    int32_t n_code;
} minicpmo_speech_timings;

// Fills *params, a struct of `size` bytes, with the defaults. Any thread.
MINICPMO_API minicpmo_status minicpmo_speech_params_default(minicpmo_speech_params* params, size_t size);

// Begins a spoken answer to what was prefilled. Either params may be null; use_tts -1 counts as 1. The
// session and the decoder, of one model, are lent to the answer until it is freed: nothing else may use them,
// and they are freed after it. The session's thread. The caller owns *answer and gives it to
// minicpmo_spoken_answer_free.
MINICPMO_API minicpmo_status minicpmo_spoken_answer_begin(minicpmo_session* session,
                                                          minicpmo_speech_decoder* decoder,
                                                          const minicpmo_generate_params* params,
                                                          const minicpmo_speech_params* speech,
                                                          minicpmo_spoken_answer** answer);

// The next piece, about a token of text or a second of sound. One thread at a time; piece->text and
// piece->samples live until its next call.
MINICPMO_API minicpmo_status minicpmo_spoken_answer_next(minicpmo_spoken_answer* answer,
                                                         minicpmo_spoken_piece* piece);

// Stops text and sound: the answer ends with MINICPMO_END_INTERRUPTED. Any thread, but no signal handler.
MINICPMO_API void minicpmo_spoken_answer_interrupt(minicpmo_spoken_answer* answer);

// How long speech took and how much there is. Any thread; the caller owns *timings.
MINICPMO_API minicpmo_status minicpmo_spoken_answer_timings(const minicpmo_spoken_answer* answer,
                                                            minicpmo_speech_timings* timings);

// Ends the answer, said or not, and gives session and decoder back; null is ignored. No thread may be using
// it.
MINICPMO_API void minicpmo_spoken_answer_free(minicpmo_spoken_answer* answer);

#ifdef __cplusplus
}
#endif
