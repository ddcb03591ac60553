#pragma once
// Sound as it arrives, for C: chunks of a second become embeddings while the next ones are on their way.
// Reference: csrc/engine/audio_stream.h; minicpmo.h says what holds for all functions.

#include "minicpmo.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    MINICPMO_AUDIO_HALF_DUPLEX = 0,  // chunks are encoded as they are
    MINICPMO_AUDIO_DUPLEX = 1        // with two frames of their neighbours
} minicpmo_audio_mode;

typedef struct minicpmo_audio_stream minicpmo_audio_stream;

// A new stream; `mode` is a minicpmo_audio_mode. Any thread. The caller owns *stream and gives it to
// minicpmo_audio_stream_free.
MINICPMO_API minicpmo_status minicpmo_audio_stream_create(const minicpmo_model* model, int32_t mode,
                                                          minicpmo_audio_stream** stream);

// Ends the stream; null is ignored. No thread may be using it.
MINICPMO_API void minicpmo_audio_stream_free(minicpmo_audio_stream* stream);

// Hears n_sample more samples: mono, -1 to 1, 16000 a second. *rows becomes the embeddings [*n_row][n_embd]
// of all chunks that they complete; they are the stream's and valid until its next call. One thread at a
// time.
MINICPMO_API minicpmo_status minicpmo_audio_stream_push(minicpmo_audio_stream* stream, const float* samples,
                                                        size_t n_sample, const float** rows, size_t* n_row);

// The same for what is left, shorter than a chunk; the stream is then as new.
MINICPMO_API minicpmo_status minicpmo_audio_stream_finish(minicpmo_audio_stream* stream, const float** rows,
                                                          size_t* n_row);

#ifdef __cplusplus
}
#endif
