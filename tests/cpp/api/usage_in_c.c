// The header must compile as C11, and its usage example must work.

#include <minicpmo.h>
#include <stdio.h>
#include <string.h>

#include "api/usage_in_c.h"

int answer_in_c(const char* path, char* answer, size_t n_answer) {
    minicpmo_model* model = NULL;
    minicpmo_session* session = NULL;
    const char* text = "Hello!";
    minicpmo_part part = {
        .struct_size = sizeof part, .kind = MINICPMO_PART_TEXT, .text = text, .n_text = strlen(text)};
    minicpmo_message message = {
        .struct_size = sizeof message, .role = MINICPMO_ROLE_USER, .parts = &part, .n_part = 1};
    minicpmo_piece piece = {.struct_size = sizeof piece};
    minicpmo_generate_params params;
    int n_piece = 0;
    answer[0] = '\0';
    if (minicpmo_generate_params_default(&params, sizeof params) != MINICPMO_OK) return -1;
    params.max_new_tokens = 8;
    params.temperature = 0.0f;
    params.ignore_stop = 1;
    if (minicpmo_model_load(path, NULL, &model) == MINICPMO_OK &&
        minicpmo_session_create(model, NULL, &session) == MINICPMO_OK &&
        minicpmo_session_prefill(session, &message, 1, NULL) == MINICPMO_OK &&
        minicpmo_session_begin(session, &params) == MINICPMO_OK) {
        while (minicpmo_session_next(session, &piece) == MINICPMO_OK && piece.end == MINICPMO_END_NOT_YET) {
            strncat(answer, piece.text, n_answer - strlen(answer) - 1);
            n_piece += piece.token >= 0;
        }
    }
    minicpmo_session_free(session);
    minicpmo_model_free(model);
    return *minicpmo_last_error() == '\0' ? n_piece : -1;
}
