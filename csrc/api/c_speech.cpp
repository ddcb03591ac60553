#include <algorithm>
#include <memory>
#include <string>

#include "api/arguments.h"
#include "api/handles.h"
#include "engine/book_decoder.h"
#include "engine/speech_decoder.h"
#include "engine/spoken_answer.h"
#include "engine/voice_file.h"
#include "include/minicpmo_speech.h"
#include "text/utf8_stream.h"

using namespace minicpmo;
using namespace minicpmo::api;

struct minicpmo_speech_decoder {
    std::shared_ptr<const Model> model;
    std::unique_ptr<CodeDecoder> decoder;
    bool is_lent = false;
};

struct minicpmo_spoken_answer {
    minicpmo_spoken_answer(minicpmo_session& session_, minicpmo_speech_decoder& decoder_,
                           const GenerateOptions& options, const SpeechStreamOptions& speech)
        : session(session_),
          decoder(decoder_),
          answer(session.model, session.session, *decoder.decoder, options, speech) {
        session.is_lent = decoder.is_lent = true;
    }
    ~minicpmo_spoken_answer() { session.is_lent = decoder.is_lent = false; }
    minicpmo_spoken_answer(const minicpmo_spoken_answer&) = delete;
    minicpmo_spoken_answer& operator=(const minicpmo_spoken_answer&) = delete;

    minicpmo_session& session;
    minicpmo_speech_decoder& decoder;
    SpokenAnswer answer;
    std::string text;  // shown to C
    std::vector<float> samples;
};

namespace {

std::string to_name(const char* name) { return name == nullptr ? "" : name; }

minicpmo_voice* keep(Voice voice) {
    return std::make_unique<minicpmo_voice>(minicpmo_voice{std::move(voice)}).release();
}

minicpmo_speech_decoder_params default_decoder_params() {
    const SpeechDecoderOptions options;
    return {sizeof(minicpmo_speech_decoder_params), options.n_step, options.has_noise ? 1 : 0, options.seed};
}

minicpmo_speech_params default_speech_params() {
    const SpeechStreamOptions options;
    return {sizeof(minicpmo_speech_params), options.is_whole ? 1 : 0, options.has_threads ? 1 : 0,
            options.seed};
}

// What comes next, or nothing and why.
std::optional<SpokenPiece> next_piece(minicpmo_spoken_answer& answer, minicpmo_end& end) {
    std::optional<SpokenPiece> piece;
    try {
        piece = answer.answer.next();
        end = piece ? MINICPMO_END_NOT_YET : to_end(answer.session.session.stop_reason());
    } catch (const InterruptedError&) {
        end = MINICPMO_END_INTERRUPTED;
    }
    return piece;
}

}  // namespace

minicpmo_status minicpmo_speech_describe(const minicpmo_model* model, minicpmo_speech_info* info) {
    return guard([&] {
        const Model& found = *not_null(model, "model").model;
        check_struct(info, "speech_info");
        *info = {sizeof(*info), 0, 0, 0, 0, 0, 0};
        if (!found.has_speech()) return;
        info->has_speech = 1;
        info->sample_rate = found.sample_rate();
        if (!found.has_voices()) return;
        const SpeechModel& speech = found.speech();
        info->can_clone = speech.can_clone() ? 1 : 0;
        info->n_voice = static_cast<int32_t>(speech.voices().size());
        if (!speech.can_clone()) return;
        info->min_s = VoiceEncoder::kMinSeconds;
        info->max_s = speech.voice_encoder().max_seconds();
    });
}

// --- voices ---

minicpmo_status minicpmo_voice_of_model(const minicpmo_model* model, const char* name,
                                        minicpmo_voice** voice) {
    return guard([&] {
        minicpmo_voice*& out = not_null(voice, "voice");
        out = keep(not_null(model, "model").model->speech().voice(to_name(name)));
    });
}

minicpmo_status minicpmo_voice_name_of_model(const minicpmo_model* model, int32_t index, char* buffer,
                                             size_t n_buffer, size_t* n_byte) {
    return guard([&] {
        const std::vector<Voice>& voices = not_null(model, "model").model->speech().voices();
        check<ArgumentError>(index >= 0 && static_cast<size_t>(index) < voices.size(),
                             "[api] expected one of {} voices, got {}", voices.size(), index);
        store_text(utf8_lossy(voices[static_cast<size_t>(index)].name), buffer, n_buffer, n_byte);
    });
}

minicpmo_status minicpmo_voice_encode(const minicpmo_model* model, const float* samples, size_t n_sample,
                                      const char* name, minicpmo_voice** voice) {
    return guard([&] {
        const std::shared_ptr<const Model>& found = not_null(model, "model").model;
        minicpmo_voice*& out = not_null(voice, "voice");
        const auto recording = checked_span(samples, n_sample, "samples");
        Workspace workspace(found->backend());
        out = keep(found->speech().voice_encoder().encode(recording, utf8_lossy(to_name(name)), workspace));
    });
}

minicpmo_status minicpmo_voice_load(const char* path, minicpmo_voice** voice) {
    return guard([&] {
        minicpmo_voice*& out = not_null(voice, "voice");
        out = keep(load_voice(to_path(path)));
    });
}

minicpmo_status minicpmo_voice_save(const minicpmo_voice* voice, const char* path) {
    return guard([&] { save_voice(not_null(voice, "voice").voice, to_path(path)); });
}

minicpmo_status minicpmo_voice_name(const minicpmo_voice* voice, char* buffer, size_t n_buffer,
                                    size_t* n_byte) {
    return guard(
        [&] { store_text(utf8_lossy(not_null(voice, "voice").voice.name), buffer, n_buffer, n_byte); });
}

minicpmo_status minicpmo_voice_samples(const minicpmo_voice* voice, float* samples, size_t n_max,
                                       size_t* n_sample) {
    return guard([&] {
        const Voice& found = not_null(voice, "voice").voice;
        not_null(n_sample, "n_sample") = found.pcm.size();
        if (samples == nullptr) return;
        check<BufferError>(n_max >= found.pcm.size(), "[api] expected room for {} samples, got {}",
                           found.pcm.size(), n_max);
        const std::vector<float> all = to_samples(found);
        std::copy(all.begin(), all.end(), samples);
    });
}

void minicpmo_voice_free(minicpmo_voice* voice) { const std::unique_ptr<minicpmo_voice> owned(voice); }

// --- speech decoders ---

minicpmo_status minicpmo_speech_decoder_params_default(minicpmo_speech_decoder_params* params, size_t size) {
    return store_default(params, size, default_decoder_params(), "speech_decoder_params");
}

minicpmo_status minicpmo_speech_decoder_create(const minicpmo_model* model, const minicpmo_voice* voice,
                                               const minicpmo_speech_decoder_params* params,
                                               minicpmo_speech_decoder** decoder) {
    return guard([&] {
        minicpmo_speech_decoder*& out = not_null(decoder, "decoder");
        const auto chosen = params_or_default(params, default_decoder_params(), "speech_decoder_params");
        SpeechDecoderOptions options;
        options.n_step = chosen.n_step;
        options.seed = chosen.seed;
        options.has_noise = chosen.has_noise != 0;
        const std::shared_ptr<const Model>& found = not_null(model, "model").model;
        std::unique_ptr<CodeDecoder> made;
        if (found->has_speech() && !found->has_voices()) {
            check<ArgumentError>(voice == nullptr,
                                 "[api] expected no voice for a model that speaks as its prompt sounds");
            made = std::make_unique<BookDecoder>(found);
        } else {
            made = std::make_unique<SpeechDecoder>(found, not_null(voice, "voice").voice, options);
        }
        out = std::make_unique<minicpmo_speech_decoder>(minicpmo_speech_decoder{found, std::move(made)})
                  .release();
    });
}

void minicpmo_speech_decoder_free(minicpmo_speech_decoder* decoder) {
    const std::unique_ptr<minicpmo_speech_decoder> owned(decoder);
}

// --- spoken answers ---

minicpmo_status minicpmo_speech_params_default(minicpmo_speech_params* params, size_t size) {
    return store_default(params, size, default_speech_params(), "speech_params");
}

minicpmo_status minicpmo_spoken_answer_begin(minicpmo_session* session, minicpmo_speech_decoder* decoder,
                                             const minicpmo_generate_params* params,
                                             const minicpmo_speech_params* speech,
                                             minicpmo_spoken_answer** answer) {
    return guard([&] {
        minicpmo_spoken_answer*& out = not_null(answer, "answer");
        minicpmo_session& talker = not_null(session, "session");
        minicpmo_speech_decoder& mouth = not_null(decoder, "decoder");
        const auto text = params_or_default(params, default_generate_params(), "generate_params");
        const auto chosen = params_or_default(speech, default_speech_params(), "speech_params");
        check<ArgumentError>(!talker.is_lent && !mouth.is_lent,
                             "[api] expected a session and a decoder without an answer, got lent ones");
        check<ArgumentError>(talker.model == mouth.model,
                             "[api] expected a session and a decoder of one model, got two");
        SpeechStreamOptions options;
        options.is_whole = chosen.is_whole != 0;
        options.has_threads = chosen.has_threads != 0;
        options.seed = chosen.seed;
        out = std::make_unique<minicpmo_spoken_answer>(talker, mouth, to_generate_options(text), options)
                  .release();
    });
}

minicpmo_status minicpmo_spoken_answer_next(minicpmo_spoken_answer* answer, minicpmo_spoken_piece* piece) {
    return guard([&] {
        minicpmo_spoken_answer& handle = not_null(answer, "answer");
        check_struct(piece, "spoken_piece");
        minicpmo_end end = MINICPMO_END_NOT_YET;
        std::optional<SpokenPiece> next = next_piece(handle, end);
        const bool has_text = next && next->text;
        handle.text = has_text ? std::move(next->text->text) : std::string();
        handle.samples = next ? std::move(next->samples) : std::vector<float>();
        *piece = {sizeof(*piece),
                  handle.text.c_str(),
                  handle.text.size(),
                  handle.samples.empty() ? nullptr : handle.samples.data(),
                  handle.samples.size(),
                  has_text ? next->text->id : -1,
                  end};
    });
}

void minicpmo_spoken_answer_interrupt(minicpmo_spoken_answer* answer) {
    if (answer != nullptr) answer->answer.interrupt();
}

minicpmo_status minicpmo_spoken_answer_timings(const minicpmo_spoken_answer* answer,
                                               minicpmo_speech_timings* timings) {
    return guard([&] {
        const SpeechTimings t = not_null(answer, "answer").answer.timings();
        check_struct(timings, "speech_timings");
        *timings = {sizeof(*timings), t.codes_s,  t.flow_s, t.vocoder_s,
                    t.first_sample_s, t.n_sample, t.n_code};
    });
}

void minicpmo_spoken_answer_free(minicpmo_spoken_answer* answer) {
    const std::unique_ptr<minicpmo_spoken_answer> owned(answer);
}
