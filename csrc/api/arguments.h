#pragma once
// What C callers pass, checked and turned into the engine's types, and results turned into what C callers
// get. Reference: csrc/include/minicpmo.h.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <deque>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/guard.h"
#include "engine/message.h"
#include "engine/session.h"
#include "models/speech/voice.h"

namespace minicpmo::api {

// Sizes of a struct before fields were appended to it, which stay valid; a larger struct is from a newer
// header and may ask for what we do not know.
template <class S>
inline constexpr std::array<size_t, 0> kOlderSizes = {};
template <>
inline constexpr std::array<size_t, 2> kOlderSizes<minicpmo_model_params> = {
    offsetof(minicpmo_model_params, max_sessions), offsetof(minicpmo_model_params, media_cache_bytes)};
template <>
inline constexpr std::array<size_t, 1> kOlderSizes<minicpmo_generate_params> = {
    offsetof(minicpmo_generate_params, draft_tokens)};

template <class S>
void check_struct_size(size_t struct_size, const char* name) {
    const auto& older = kOlderSizes<S>;
    const bool is_older = std::find(older.begin(), older.end(), struct_size) != older.end();
    check<ArgumentError>(struct_size == sizeof(S) || is_older,
                         "[api] expected a struct_size of {}, got {} ({})", sizeof(S), struct_size, name);
}

template <class S>
void check_struct(const S* given, const char* name) {
    check<ArgumentError>(given != nullptr, "[api] expected a struct, got null ({})", name);
    check_struct_size<S>(given->struct_size, name);
}

template <class T>
T& not_null(T* pointer, const char* name) {
    check<ArgumentError>(pointer != nullptr, "[api] expected a pointer, got null ({})", name);
    return *pointer;
}

// An array of n elements at `data`, which may be null only if it is empty.
template <class T>
std::span<const T> checked_span(const T* data, size_t n, const char* name) {
    check<ArgumentError>(data != nullptr || n == 0, "[api] expected {} elements, got null ({})", n, name);
    return {data, n};
}

// The caller's params, or the defaults for null.
template <class P>
P params_or_default(const P* given, const P& defaults, const char* name) {
    P params = defaults;
    if (given == nullptr) return params;
    check_struct(given, name);
    std::memcpy(&params, given, given->struct_size);
    return params;
}

template <class P>
minicpmo_status store_default(P* params, size_t struct_size, const P& defaults, const char* name) {
    return guard([&] {
        P& out = not_null(params, name);
        check_struct_size<P>(struct_size, name);
        std::memcpy(&out, &defaults, struct_size);
        out.struct_size = struct_size;
    });
}

// Text with its closing zero byte, as minicpmo_devices describes it.
void store_text(std::string_view text, char* buffer, size_t n_buffer, size_t* n_byte);

std::filesystem::path to_path(const char* utf8);
minicpmo_end to_end(const std::string& stop_reason);  // of a session; throws ArgumentError before any answer

// A caller's pixels, or where rows are padded a copy of them.
ImageView to_view(const uint8_t* pixels, int32_t width, int32_t height, size_t row_stride,
                  std::deque<Image>& copies);

std::vector<float> to_samples(const Voice& voice);  // its recording; may be empty

// Messages whose pictures point into the caller's memory, or where rows are padded into `copies`.
struct Messages {
    std::vector<Message> list;
    std::deque<Image> copies;
};
Messages to_messages(const minicpmo_message* messages, size_t n_message);
LoadOptions to_load_options(const minicpmo_model_params* params);  // or the defaults for null
std::optional<ggml_type> to_cache_type(const char* name);
PromptOptions to_prompt_options(const minicpmo_prefill_params& params);
SessionOptions to_session_options(const minicpmo_session_params& params);
GenerateOptions to_generate_options(const minicpmo_generate_params& params);

minicpmo_model_params default_model_params();
minicpmo_prefill_params default_prefill_params();
minicpmo_session_params default_session_params();
minicpmo_generate_params default_generate_params();

}  // namespace minicpmo::api
