#include "engine/duplex_session.h"

#include "base/error.h"
#include "base/stopwatch.h"
#include "engine/recording.h"
#include "engine/session_file.h"

namespace minicpmo {

DuplexSession::DuplexSession(std::shared_ptr<const Model> model, const DuplexOptions& options)
    : model_((model->audio(), std::move(model))),
      encoder_(model_),
      writer_(model_, options.context, options.window, options.sampling, options.rules),
      speaker_(options.has_speech ? std::make_unique<UnitSpeaker>(model_, options.speech) : nullptr) {}

void DuplexSession::prepare(const DuplexPrompt& prompt) {
    check<ArgumentError>(!has_speech() || prompt.voice != nullptr,
                         "[duplex] expected a voice for what is said, got none");
    n_unit_ = 0;
    encoder_.reset();
    if (speaker_) speaker_->prepare(*prompt.voice);
    Array<float> voice;
    if (!prompt.reference.empty()) {
        Workspace workspace(model_->backend());
        const AudioConfig& config = *model_->config().audio;
        Recording recording(*model_, {prompt.reference}, attention_block(config, config.chunk_s));
        voice = recording.all(workspace);
    }
    writer_.prepare(prompt.prefix, voice, prompt.suffix);
}

double DuplexSession::unit_s() const {
    return static_cast<double>(unit_samples()) / model_->config().audio->mel.sample_rate;
}

void DuplexSession::interrupt() noexcept {
    writer_.cut();
    if (speaker_) speaker_->cut(n_unit_);
}

EncodedUnit DuplexSession::encode(const UnitInput& input) { return encoder_.encode(input); }

UnitWords DuplexSession::write(const EncodedUnit& unit, bool forces_listen) {
    UnitWords words = writer_.write(unit.prompt, forces_listen);
    ++n_unit_;
    return words;
}

UnitCodes DuplexSession::codes(int64_t unit, const UnitWords& words) {
    if (speaker_) return speaker_->codes(unit, words);
    UnitCodes none;
    none.is_cut = words.is_cut;
    none.is_silent = true;
    return none;
}

UnitSound DuplexSession::samples(const UnitCodes& codes) {
    if (speaker_) return speaker_->samples(codes);
    UnitSound none;
    none.is_cut = codes.is_cut;
    return none;
}

DuplexChunk DuplexSession::step(const UnitInput& input, bool forces_listen) {
    const Stopwatch watch;
    DuplexChunk chunk;
    chunk.unit = n_unit_;
    const AudioStream::Mark before = encoder_.mark();
    try {
        const EncodedUnit unit = encode(input);
        chunk.timings.vision_s = unit.vision_s;
        chunk.timings.audio_s = unit.audio_s;
        chunk.words = write(unit, forces_listen);
    } catch (...) {
        encoder_.rewind(before);
        throw;
    }
    const UnitCodes speech = codes(chunk.unit, chunk.words);
    UnitSound sound = samples(speech);
    chunk.samples = std::move(sound.samples);
    chunk.is_cut = sound.is_cut;
    chunk.timings.prefill_s = chunk.words.prefill_s;
    chunk.timings.decode_s = chunk.words.decode_s;
    chunk.timings.codes_s = speech.codes_s;
    chunk.timings.flow_s = sound.flow_s;
    chunk.timings.vocoder_s = sound.vocoder_s;
    chunk.timings.total_s = watch.seconds();
    return chunk;
}

std::shared_ptr<const DuplexSession::Snapshot> DuplexSession::snapshot() const {
    Snapshot snapshot{encoder_.mark(), writer_.mark(), {}, n_unit_};
    if (speaker_) snapshot.speaker = speaker_->mark();
    return std::make_shared<const Snapshot>(std::move(snapshot));
}

void DuplexSession::restore(const Snapshot& snapshot) {
    writer_.rewind(snapshot.writer);
    encoder_.rewind(snapshot.encoder);
    if (speaker_) speaker_->rewind(snapshot.speaker);
    n_unit_ = snapshot.n_unit;
}

void DuplexSession::archive(Archive& archive) {
    int64_t n_unit = n_unit_;
    archive(n_unit);
    check<ModelFileError>(n_unit >= 0, "[duplex] expected units from 0 on, got {}", n_unit);
    n_unit_ = n_unit;
    archive(writer_);
    archive(encoder_);
    bool is_said = has_speech();
    archive(is_said);
    check<ModelFileError>(is_said == has_speech(),
                          "[duplex] expected a conversation that is {}said, got the other",
                          has_speech() ? "" : "not ");
    if (speaker_) archive(*speaker_);
}

void DuplexSession::save(const std::filesystem::path& path) {
    save_session(path, SessionKind::duplex, *model_, [this](Archive& a) { archive(a); });
}

void DuplexSession::load(const std::filesystem::path& path) {
    try {
        load_session(path, SessionKind::duplex, *model_, [this](Archive& a) { archive(a); });
    } catch (...) {
        writer_.reset();
        throw;
    }
}

}  // namespace minicpmo
