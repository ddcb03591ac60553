#pragma once
// UnitSpeaker: the voice's part of a unit: the words of one second to speech codes, and codes to samples.
// codes() and samples() may run on a thread each; cut() on any. Reference: MiniCPMODuplex.streaming_generate
// and _generate_waveform_from_tokens.

#include <memory>
#include <mutex>
#include <vector>

#include "engine/code_generator.h"
#include "engine/speech_decoder.h"
#include "engine/unit_writer.h"

namespace minicpmo {

struct UnitSpeechRules {
    int n_step = 0;  // Euler steps of the flow; 0: as many as the file says
    float temperature = 0.8F;
    uint64_t seed = 0;
    bool hurries_always = true;   // no code waits for a full window; else only in the first unit of a turn
    bool fills_units = true;      // sound shorter than its unit, in a turn that goes on, has silence in front
    bool finishes_turns = false;  // a turn's last unit may be longer than a second, up to four
};

struct UnitCodes {
    int64_t unit = 0;
    std::vector<int32_t> codes;
    bool is_first = false;  // of the turn
    bool ends_turn = false;
    bool is_cut = false;     // what was to be said is not said
    bool is_silent = false;  // nothing was to be said
    double codes_s = 0;
};

struct UnitSound {
    std::vector<float> samples;  // empty: nothing is said
    bool is_cut = false;
    double flow_s = 0, vocoder_s = 0;
};

class UnitSpeaker {
public:
    UnitSpeaker(std::shared_ptr<const Model> model, const UnitSpeechRules& rules);

    // A new conversation in this voice. A voice that is not the last one's is heard first.
    void prepare(const Voice& voice);
    UnitCodes codes(int64_t unit, const UnitWords& words);
    UnitSound samples(const UnitCodes& codes);
    // Units below `end` say no more; the next turn begins anew.
    void cut(int64_t end) noexcept;
    int sample_rate() const { return model_->speech().sample_rate(); }

    struct Mark {
        CodeGenerator::Mark codes;
        std::optional<SpeechDecoder::State> samples;  // of a turn that goes on
        int64_t n_turn = 0;
    };
    Mark mark() const;
    void rewind(const Mark& mark);
    // The voice and where a turn is.
    void archive(Archive& archive);

private:
    bool starts(int64_t unit, bool is_codes);  // false: it is cut
    void end_turn();

    std::shared_ptr<const Model> model_;
    UnitSpeechRules rules_;
    CodeGenerator generator_;
    std::optional<Voice> voice_;
    std::unique_ptr<SpeechDecoder> decoder_;
    int64_t n_turn_ = 0;
    std::mutex mutex_;  // of decoder_ being changed, of cut_end_ and the interruptions that go with it
    int64_t cut_end_ = 0;
};

}  // namespace minicpmo
