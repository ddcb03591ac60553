// The headers must compile as C11, and their usage examples must work.

#include <minicpmo.h>
#include <minicpmo_audio.h>
#include <minicpmo_chat.h>
#include <minicpmo_duplex.h>
#include <minicpmo_session_state.h>
#include <minicpmo_speech.h>
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

static int say(minicpmo_session* session, minicpmo_speech_decoder* decoder, size_t* n_sample) {
    minicpmo_spoken_answer* answer = NULL;
    minicpmo_spoken_piece piece = {.struct_size = sizeof piece};
    minicpmo_generate_params params;
    int n_token = 0;
    if (minicpmo_generate_params_default(&params, sizeof params) != MINICPMO_OK) return -1;
    params.max_new_tokens = 20;
    params.ignore_stop = 1;
    if (minicpmo_spoken_answer_begin(session, decoder, &params, NULL, &answer) == MINICPMO_OK) {
        while (minicpmo_spoken_answer_next(answer, &piece) == MINICPMO_OK &&
               piece.end == MINICPMO_END_NOT_YET) {
            *n_sample += piece.n_sample;
            n_token += piece.token >= 0;
        }
    }
    minicpmo_spoken_answer_free(answer);
    return n_token;
}

int speak_in_c(const char* path, size_t* n_sample) {
    minicpmo_model* model = NULL;
    minicpmo_session* session = NULL;
    minicpmo_voice* voice = NULL;
    minicpmo_speech_decoder* decoder = NULL;
    const char* text = "Hello!";
    minicpmo_part part = {
        .struct_size = sizeof part, .kind = MINICPMO_PART_TEXT, .text = text, .n_text = strlen(text)};
    minicpmo_message message = {
        .struct_size = sizeof message, .role = MINICPMO_ROLE_USER, .parts = &part, .n_part = 1};
    int n_token = -1;
    *n_sample = 0;
    if (minicpmo_model_load(path, NULL, &model) == MINICPMO_OK &&
        minicpmo_session_create(model, NULL, &session) == MINICPMO_OK &&
        minicpmo_session_prefill(session, &message, 1, NULL) == MINICPMO_OK &&
        minicpmo_voice_of_model(model, NULL, &voice) == MINICPMO_OK &&
        minicpmo_speech_decoder_create(model, voice, NULL, &decoder) == MINICPMO_OK)
        n_token = say(session, decoder, n_sample);
    minicpmo_speech_decoder_free(decoder);
    minicpmo_voice_free(voice);
    minicpmo_session_free(session);
    minicpmo_model_free(model);
    return n_token;
}

int converse_in_c(const char* path, int n_unit, size_t* n_sample) {
    minicpmo_model* model = NULL;
    minicpmo_duplex* duplex = NULL;
    minicpmo_duplex_chunk chunk = {.struct_size = sizeof chunk};
    static const float second[16000];
    minicpmo_unit unit = {.struct_size = sizeof unit, .samples = second, .n_sample = 16000};
    int n_done = -1;
    *n_sample = 0;
    if (minicpmo_model_load(path, NULL, &model) == MINICPMO_OK &&
        minicpmo_duplex_create(model, NULL, &duplex) == MINICPMO_OK &&
        minicpmo_duplex_prepare(duplex, NULL, NULL, NULL, 0, NULL) == MINICPMO_OK) {
        n_done = 0;
        while (n_done < n_unit && minicpmo_duplex_step(duplex, &unit, &chunk) == MINICPMO_OK) {
            *n_sample += chunk.n_sample;
            ++n_done;
        }
    }
    minicpmo_duplex_free(duplex);
    minicpmo_model_free(model);
    return n_done;
}
