#include "api/arguments.h"

#include <algorithm>

#include "core/quantize.h"
#include "include/minicpmo_memory.h"

namespace minicpmo::api {

namespace {

constexpr float kPcmScale = 32768.0F;

Role to_role(int32_t role) {
    switch (role) {
        case MINICPMO_ROLE_SYSTEM:
            return Role::system;
        case MINICPMO_ROLE_USER:
            return Role::user;
        case MINICPMO_ROLE_ASSISTANT:
            return Role::assistant;
        default:
            fail<ArgumentError>("[api] expected a role of {} to {}, got {}", int{MINICPMO_ROLE_SYSTEM},
                                int{MINICPMO_ROLE_ASSISTANT}, role);
    }
}

MessagePart to_part(const minicpmo_part& part, std::deque<Image>& copies) {
    check_struct_size<minicpmo_part>(part.struct_size, "part");
    if (part.kind == MINICPMO_PART_IMAGE) {
        const ImageView view = to_view(part.pixels, part.width, part.height, part.row_stride, copies);
        return {PartKind::image, "", view, {}};
    }
    if (part.kind == MINICPMO_PART_AUDIO) {
        return {PartKind::audio, "", {}, checked_span(part.samples, part.n_sample, "samples")};
    }
    check<ArgumentError>(part.kind == MINICPMO_PART_TEXT, "[api] expected a part of kind {} to {}, got {}",
                         int{MINICPMO_PART_TEXT}, int{MINICPMO_PART_AUDIO}, part.kind);
    const std::span<const char> text = checked_span(part.text, part.n_text, "text");
    return {PartKind::text, std::string(text.begin(), text.end()), {}, {}};
}

}  // namespace

void store_text(std::string_view text, char* buffer, size_t n_buffer, size_t* n_byte) {
    not_null(n_byte, "n_byte") = text.size();
    if (buffer == nullptr) return;
    check<BufferError>(n_buffer > text.size(), "[api] expected a buffer of at least {} bytes, got {}",
                       text.size() + 1, n_buffer);
    std::memcpy(buffer, text.data(), text.size());
    buffer[text.size()] = '\0';
}

std::filesystem::path to_path(const char* utf8) {
    const std::string_view text = &not_null(utf8, "path");
    return std::u8string(text.begin(), text.end());
}

minicpmo_end to_end(const std::string& stop_reason) {
    check<ArgumentError>(!stop_reason.empty(),
                         "[api] expected minicpmo_session_begin before the first piece");
    if (stop_reason == "length") return MINICPMO_END_LENGTH;
    return stop_reason == "interrupted" ? MINICPMO_END_INTERRUPTED : MINICPMO_END_STOP;
}

std::vector<float> to_samples(const Voice& voice) {
    std::vector<float> samples(voice.pcm.size());
    std::transform(voice.pcm.begin(), voice.pcm.end(), samples.begin(),
                   [](int16_t x) { return static_cast<float>(x) / kPcmScale; });
    return samples;
}

ImageView to_view(const uint8_t* pixels, int32_t width, int32_t height, size_t row_stride,
                  std::deque<Image>& copies) {
    const ImageView view{pixels, width, height};
    check_image(view);
    const size_t row_bytes = static_cast<size_t>(width) * kImageChannels;
    if (row_stride == 0 || row_stride == row_bytes) return view;
    check<ArgumentError>(row_stride > row_bytes, "[api] expected a row_stride of at least {} bytes, got {}",
                         row_bytes, row_stride);
    Image& copy = copies.emplace_back(width, height);
    for (size_t y = 0; y < static_cast<size_t>(height); ++y) {
        std::memcpy(copy.pixels.data() + y * row_bytes, pixels + y * row_stride, row_bytes);
    }
    return copy.view();
}

Messages to_messages(const minicpmo_message* messages, size_t n_message) {
    Messages all;
    for (const minicpmo_message& message : checked_span(messages, n_message, "messages")) {
        check_struct_size<minicpmo_message>(message.struct_size, "message");
        Message& out = all.list.emplace_back(Message{to_role(message.role), {}});
        for (const minicpmo_part& part : checked_span(message.parts, message.n_part, "parts")) {
            out.content.push_back(to_part(part, all.copies));
        }
    }
    return all;
}

LoadOptions to_load_options(const minicpmo_model_params* params) {
    const auto chosen = params_or_default(params, default_model_params(), "model_params");
    constexpr int32_t kModules = MINICPMO_MODULE_VISION | MINICPMO_MODULE_AUDIO | MINICPMO_MODULE_SPEECH;
    check<ArgumentError>((chosen.left_out & ~kModules) == 0,
                         "[api] expected modules of 0 to {}, got {} (left_out)", kModules, chosen.left_out);
    LoadOptions options;
    options.backend.device = &not_null(chosen.device, "device");
    options.backend.n_threads = chosen.n_threads;
    for (const char* const& part : checked_span(chosen.parts, chosen.n_part, "parts"))
        options.parts.push_back(to_path(part));
    options.max_sessions = chosen.max_sessions;
    options.batches_sessions = chosen.batches_sessions != 0;
    options.modules.vision = (chosen.left_out & MINICPMO_MODULE_VISION) == 0;
    options.modules.audio = (chosen.left_out & MINICPMO_MODULE_AUDIO) == 0;
    options.modules.speech = (chosen.left_out & MINICPMO_MODULE_SPEECH) == 0;
    options.n_ctx = chosen.n_ctx;
    options.checks_memory = chosen.ignores_memory == 0;
    options.weight_memory = chosen.copies_weights != 0 ? WeightMemory::copied : WeightMemory::mapped;
    options.media_cache_bytes = chosen.media_cache_bytes;
    return options;
}

std::optional<ggml_type> to_cache_type(const char* name) {
    const std::string_view wanted = &not_null(name, "cache_type");
    if (wanted == "auto") return std::nullopt;
    return parse_type(wanted);  // the cache knows which of them it can be
}

PromptOptions to_prompt_options(const minicpmo_prefill_params& params) {
    PromptOptions options;
    options.omni = params.omni != 0;
    options.parse_special = params.parse_special != 0;
    if (params.max_slices != 0) options.max_slices = params.max_slices;
    return options;
}

SessionOptions to_session_options(const minicpmo_session_params& params) {
    return {params.n_ctx, to_cache_type(params.cache_type)};
}

GenerateOptions to_generate_options(const minicpmo_generate_params& params) {
    GenerateOptions options;
    options.max_new_tokens = params.max_new_tokens;
    options.sampling.temperature = params.temperature;
    options.sampling.top_k = params.top_k;
    options.sampling.top_p = params.top_p;
    options.sampling.min_p = params.min_p;
    options.sampling.repetition_penalty = params.repetition_penalty;
    options.sampling.seed = params.seed;
    options.enable_thinking = params.enable_thinking != 0;
    if (params.use_tts >= 0) options.use_tts = params.use_tts != 0;
    options.ignore_stop = params.ignore_stop != 0;
    check<ArgumentError>(params.draft_tokens >= 0 && params.draft_tokens <= kMostDrafted,
                         "[api] expected draft_tokens of 0 to {}, got {}", kMostDrafted, params.draft_tokens);
    options.n_draft = static_cast<int>(params.draft_tokens);
    return options;
}

minicpmo_model_params default_model_params() {
    minicpmo_model_params params = {};
    params.struct_size = sizeof(params);
    params.device = "auto";
    params.media_cache_bytes = kMediaCacheBytes;
    return params;
}

minicpmo_prefill_params default_prefill_params() {
    minicpmo_prefill_params params{};
    params.struct_size = sizeof(params);
    return params;
}

minicpmo_session_params default_session_params() { return {sizeof(minicpmo_session_params), 0, "auto"}; }

minicpmo_generate_params default_generate_params() {
    const GenerateOptions options;
    minicpmo_generate_params params{};
    params.struct_size = sizeof(params);
    params.max_new_tokens = options.max_new_tokens;
    params.temperature = options.sampling.temperature;
    params.top_k = options.sampling.top_k;
    params.top_p = options.sampling.top_p;
    params.min_p = options.sampling.min_p;
    params.repetition_penalty = options.sampling.repetition_penalty;
    params.seed = options.sampling.seed;
    params.use_tts = -1;
    return params;
}

}  // namespace minicpmo::api
