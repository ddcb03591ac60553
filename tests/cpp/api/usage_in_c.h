#pragma once
// The usage example of minicpmo.h as a C function.

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Appends what the model at `path` says to `answer`; returns the number of its tokens, -1 on failure.
int answer_in_c(const char* path, char* answer, size_t n_answer);

#ifdef __cplusplus
}
#endif
