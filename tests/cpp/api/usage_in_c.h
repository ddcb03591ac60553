#pragma once
// The usage examples of minicpmo.h, minicpmo_speech.h and minicpmo_duplex.h as C functions.

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Appends what the model at `path` says to `answer`; returns the number of its tokens, -1 on failure.
int answer_in_c(const char* path, char* answer, size_t n_answer);

// Counts the samples of a spoken answer of the model at `path`; returns the number of its tokens, -1 on
// failure.
int speak_in_c(const char* path, size_t* n_sample);

// Counts the samples that the model at `path` says in n_unit seconds of silence; returns the number of units,
// -1 on failure.
int converse_in_c(const char* path, int n_unit, size_t* n_sample);

#ifdef __cplusplus
}
#endif
