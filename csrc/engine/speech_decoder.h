#pragma once
// SpeechDecoder: speech codes of one voice to samples, a window at a time. Used by one thread at a time;
// interrupt() from any. Reference: stepaudio2/token2wav.py, Token2wav.stream, and MiniCPMO's buffer of codes
// around it.

#include <memory>
#include <span>
#include <vector>

#include "engine/model.h"

namespace minicpmo {

struct SpeechDecoderOptions {
    int n_step = 0;  // Euler steps of the flow; 0: as many as the file says
    uint64_t seed = 0;
    bool has_noise = true;  // in the excitation: breath and hiss
};

class SpeechDecoder {
public:
    // Hears the voice once, which takes about as long as speaking for its length does.
    SpeechDecoder(std::shared_ptr<const Model> model, const Voice& voice,
                  const SpeechDecoderOptions& options);

    // A new turn. A turn that streams opens with three codes of silence, which the reference puts in front so
    // that the first window fills sooner.
    void begin(bool opens_with_silence);
    // More codes -> the samples of the windows that they complete; with the last ones, all the rest.
    std::vector<float> push(std::span<const int32_t> codes, bool is_last);

    void interrupt() noexcept { workspace_.interrupt(); }
    void clear_interrupt() noexcept { workspace_.clear_interrupt(); }
    double flow_s() const { return flow_s_; }  // seconds spent since begin()
    double vocoder_s() const { return vocoder_s_; }

private:
    std::vector<float> decode(std::span<const int32_t> window, bool is_last);

    std::shared_ptr<const Model> model_;
    Workspace workspace_;
    std::vector<float> flow_noise_;    // [n_mel, Flow::kMaxFrames]
    std::vector<float> source_noise_;  // [n_harmonic, n_sample], read round and round
    FlowState voice_state_;            // after the voice was heard
    FlowState flow_;
    VocoderState vocoder_;
    std::vector<int32_t> buffer_;
    bool has_codes_ = false;
    double flow_s_ = 0;
    double vocoder_s_ = 0;
};

}  // namespace minicpmo
