#pragma once
// DuplexSession: a conversation in both directions at once, a second at a time: what was seen and heard goes
// in, and out comes whether the model listens or what it says. Used by one thread at a time, the four stages
// of a unit by one thread each; interrupt() from any. Reference: MiniCPMODuplex (prepare, streaming_prefill,
// streaming_generate) and its successor DuplexCapability.

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "engine/unit_encoder.h"
#include "engine/unit_speaker.h"
#include "engine/unit_writer.h"

namespace minicpmo {

struct DuplexOptions {
    ContextOptions context;
    WindowOptions window;
    DuplexSampling sampling;
    UnitRules rules;
    bool has_speech = true;  // what is written is said
    UnitSpeechRules speech;
};

struct DuplexPrompt {
    std::string prefix = "<|im_start|>system\nStreaming Omni Conversation.\n<|audio_start|>";
    std::string suffix = "<|audio_end|><|im_end|>";
    std::span<const float> reference;  // sound between the two, which the language model hears; may be empty
    const Voice* voice = nullptr;      // that speaks; needed with has_speech
};

struct UnitTimings {  // in seconds
    double vision_s = 0, audio_s = 0, prefill_s = 0, decode_s = 0;
    double codes_s = 0, flow_s = 0, vocoder_s = 0;
    double total_s = 0;
};

struct DuplexChunk {
    int64_t unit = 0;  // of the conversation, from 0
    UnitWords words;
    std::vector<float> samples;  // at sample_rate(); empty where nothing is said
    bool is_cut = false;         // what was to be said was not, or not all of it
    UnitTimings timings;
};

class DuplexSession {
public:
    DuplexSession(std::shared_ptr<const Model> model, const DuplexOptions& options);

    // Begins a conversation; whatever it throws, the one before is over.
    void prepare(const DuplexPrompt& prompt);
    // One unit. Throws ContextFullError, ArgumentError, OutOfMemoryError: the conversation has not changed
    // then.
    DuplexChunk step(const UnitInput& input, bool forces_listen = false);
    // Cuts speech: the unit that is written now, or else the next one, ends the turn and listens; what was
    // written and not yet said is not said. What is seen and heard goes on.
    void interrupt() noexcept;

    // The stages of step(), in order, each by one thread at a time.
    EncodedUnit encode(const UnitInput& input);
    UnitWords write(const EncodedUnit& unit, bool forces_listen);
    UnitCodes codes(int64_t unit, const UnitWords& words);
    UnitSound samples(const UnitCodes& codes);

    // A place in the conversation to come back to, cheap while the model listens. Restoring throws
    // ArgumentError when the window has forgotten part of it, or when it is another session's.
    struct Snapshot {
        AudioStream::Mark encoder;
        UnitWriter::Mark writer;
        UnitSpeaker::Mark speaker;
        int64_t n_unit = 0;
    };
    std::shared_ptr<const Snapshot> snapshot() const;
    void restore(const Snapshot& snapshot);
    // The whole conversation as a file, which another process with the same model file and options goes on
    // from. load() throws ModelFileError for files that are none; the conversation is then over.
    void save(const std::filesystem::path& path);
    void load(const std::filesystem::path& path);

    int64_t n_unit() const { return n_unit_; }
    int64_t unit_samples() const { return encoder_.unit_samples(); }
    double unit_s() const;
    bool has_speech() const { return speaker_ != nullptr; }
    int sample_rate() const { return speaker_ ? speaker_->sample_rate() : 0; }
    bool is_speaking() const { return writer_.is_speaking(); }
    int n_past() const { return writer_.n_past(); }
    const Context& context() const { return writer_.context(); }
    // Of the units to come, between two steps.
    void set_sampling(const DuplexSampling& sampling) { writer_.set_sampling(sampling); }
    void set_rules(const UnitRules& rules) { writer_.set_rules(rules); }
    void keep_logits(bool is_wanted) { writer_.keep_logits(is_wanted); }

private:
    void archive(Archive& archive);

    std::shared_ptr<const Model> model_;
    UnitEncoder encoder_;
    UnitWriter writer_;
    std::unique_ptr<UnitSpeaker> speaker_;  // absent where nothing is said
    std::atomic<int64_t> n_unit_ = 0;       // that were begun to be written
};

}  // namespace minicpmo
