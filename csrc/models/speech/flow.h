#pragma once
// Flow: speech codes to the log-mel spectrum of a given voice, whole or chunk by chunk.
// Reference: stepaudio2/cosyvoice2/flow/flow.py, CausalMaskedDiffWithXvec; stepaudio2/token2wav.py for what a
// stream forgets.

#include <cstdint>
#include <span>
#include <vector>

#include "base/array.h"
#include "models/speech/flow_matching.h"
#include "models/speech/upsample_encoder.h"

namespace minicpmo {

struct FlowConfig {
    int n_code = 6561;
    int n_speaker = 192;  // features of a speaker vector
    int n_mel = 80;
    int token_rate_hz = 25;
    UpsampleEncoderConfig encoder;
    FlowMatchingConfig matching;
};

// A reference voice.
struct FlowPrompt {
    std::vector<int32_t> codes;
    Array<float> mel;            // [n_mel, up_rate * codes]
    std::vector<float> speaker;  // [n_speaker], of any length
};

// What a stream of one voice keeps between its chunks. A value: copies are independent, and assigning an
// earlier copy takes the stream back (to the start of a turn, say). After an exception other than
// ArgumentError that is the only way on. The first chunk makes room for those to come, so that a copy from
// before it takes the memory of the prompt alone.
struct FlowState {
    UpsampleEncoderState encoder;
    FlowMatchingState matching;
    std::vector<float> speaker;  // as the estimator reads it: [n_mel]
    int n_prompt = 0;            // codes of the voice

    // The frame of the noise table that the next chunk begins with.
    int noise_offset() const { return matching.n_cached(); }
};

class Flow {
public:
    // Frames that the estimator's history and a chunk may have together: the reference's buffer. A noise
    // table of so many is never too short for a stream.
    static constexpr int kMaxFrames = 1000;
    static constexpr int kMaxSteps = 100;

    Flow(const FlowConfig& config, const WeightScope& scope);

    // Noise is normal, n_mel values a frame, frame after frame; what exceeds the need is ignored.
    // A whole utterance -> [n_mel, up_rate * codes]. Noise: a frame for each of the prompt and the utterance.
    Array<float> generate(std::span<const int32_t> codes, const FlowPrompt& prompt,
                          std::span<const float> noise, int n_step, Workspace& workspace) const;

    // A stream of one voice. `lookahead`: the n_lookahead codes taken to follow those of the prompt. Noise: a
    // frame for each of the prompt.
    FlowState start(const FlowPrompt& prompt, std::span<const int32_t> lookahead,
                    std::span<const float> noise, int n_step, Workspace& workspace) const;
    // The next codes -> [n_mel, n_frames(codes, is_last)]. Unless `is_last`, the last n_lookahead codes are
    // only looked at, and are to be given again. Noise: the table from its first frame on, at least
    // noise_offset() + n_frames() frames.
    Array<float> next(std::span<const int32_t> codes, bool is_last, std::span<const float> noise,
                      FlowState& state, Workspace& workspace) const;

    int n_frames(int n_code, bool is_last) const {
        return config_.encoder.up_rate * encoder_.n_rows(n_code, is_last);
    }
    int max_prompt_codes() const;  // of start()
    const FlowConfig& config() const { return config_; }

    // Parts of the above, for who compares them one by one.
    struct Encoded {
        Array<float> states;  // [n_embd, n_frame]
        Array<float> mu;      // [n_mel, n_frame]
    };
    Encoded encode(std::span<const int32_t> codes, bool is_last, UpsampleEncoderState& state,
                   Workspace& workspace) const;
    UpsampleEncoderState start_encoder(Workspace& workspace) const;
    FlowMatchingState start_matching(int n_step, int n_prompt_frame, Workspace& workspace) const;
    std::vector<float> embed_speaker(std::span<const float> speaker,
                                     Workspace& workspace) const;  // -> [n_mel]
    const FlowMatching& matching() const { return matching_; }

private:
    void check_prompt(const FlowPrompt& prompt, int n_step) const;
    ggml_type cache_type() const;

    FlowConfig config_;
    UpsampleEncoder encoder_;
    FlowMatching matching_;
    Tensor code_embedding_ = nullptr;  // [n_embd, n_code]
    nn::Linear speaker_affine_;        // [n_speaker, n_mel]
    nn::Linear projection_;            // [n_embd, n_mel]
};

}  // namespace minicpmo
