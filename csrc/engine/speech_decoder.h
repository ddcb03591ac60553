#pragma once
// SpeechDecoder: speech codes of one voice to samples, a window at a time. Used by one thread at a time;
// interrupt() from any. Reference: stepaudio2/token2wav.py, Token2wav.stream, and MiniCPMO's buffer of codes
// around it.

#include <memory>
#include <span>
#include <vector>

#include "base/archive.h"
#include "engine/code_writer.h"
#include "engine/model.h"
#include "models/speech/flow_memory.h"

namespace minicpmo {

struct SpeechDecoderOptions {
    int n_step = 0;  // Euler steps of the flow; 0: as many as the file says
    uint64_t seed = 0;
    bool has_noise = true;  // in the excitation: breath and hiss
};

class SpeechDecoder : public CodeDecoder {
public:
    // NOTE: the reference draws the excitation's noise anew for every call, or reads a table of 300 s; a
    // table of 10 s, at 24 kHz, repeats no sooner than an ear forgets it.
    static constexpr size_t kNoiseSamples = 240000;

    // Hears the voice once, which takes about as long as speaking for its length does.
    SpeechDecoder(std::shared_ptr<const Model> model, const Voice& voice,
                  const SpeechDecoderOptions& options);

    // A new turn. A turn that streams opens with three codes of silence, which the reference puts in front so
    // that the first window fills sooner.
    void begin(bool streams) override;
    // More codes -> the samples of the windows that they complete; with the last ones, all the rest.
    std::vector<float> push(std::span<const int32_t> codes, bool is_last);
    std::vector<float> decode(const CodeBatch& batch) override { return push(batch.codes, batch.is_last); }
    // The samples of codes that wait for a window to fill, but for those that a window only looks at; nothing
    // while they are very few. Reference: MiniCPMODuplex._generate_waveform_from_tokens, force_flush.
    std::vector<float> hurry();

    // Where a turn is.
    struct State {
        FlowState flow;
        VocoderState vocoder;
        std::vector<int32_t> buffer;                // codes on their way into a window
        std::vector<std::vector<int32_t>> windows;  // that were decoded
        bool has_codes = false;
    };
    const State& state() const { return state_; }
    void restore(const State& state) { state_ = state; }  // of this decoder or one of the same voice
    // The turn, as the codes it was made of: reading it decodes them once more.
    void archive(Archive& archive);

    // What the flow made of the voice.
    VoiceCache remember() const { return remember_voice(model_->speech().flow(), voice_state_); }

    void interrupt() noexcept override { workspace_.interrupt(); }
    void clear_interrupt() noexcept override { workspace_.clear_interrupt(); }
    double spectrum_s() const override { return flow_s_; }
    double vocoder_s() const override { return vocoder_s_; }

private:
    std::vector<float> decode_window(std::span<const int32_t> window, bool is_last);

    std::shared_ptr<const Model> model_;
    Workspace workspace_;
    std::vector<float> flow_noise_;    // [n_mel, Flow::kMaxFrames]
    std::vector<float> source_noise_;  // [n_harmonic, n_sample], read round and round
    FlowState voice_state_;            // after the voice was heard
    State state_;
    double flow_s_ = 0;
    double vocoder_s_ = 0;
};

}  // namespace minicpmo
