#pragma once
// FlowMatching: noise to mel spectrum in n_step Euler steps along the velocities of a DiT, guided without a
// classifier. Reference: stepaudio2/cosyvoice2/flow/flow_matching.py, CausalConditionalCFM; Lipman et al.,
// Flow Matching for Generative Modeling, 2023; Ho and Salimans, Classifier-Free Diffusion Guidance, 2022.

#include <memory>
#include <span>
#include <vector>

#include "base/array.h"
#include "models/speech/dit.h"
#include "models/speech/frame_cells.h"

namespace minicpmo {

struct FlowMatchingConfig {
    DitConfig dit;
    float guidance = 0.7F;  // v = (1 + guidance) * v_with_conditions - guidance * v_without
};

// The times of the steps and what the network derives from them.
struct FlowSteps {
    std::vector<float> times;  // n_step + 1, from 0 to 1
    StreamCache modulation;
};

// What a stream keeps between its chunks, for each step and layer. A value: copies are independent.
struct FlowMatchingState {
    std::shared_ptr<const FlowSteps> steps;
    StreamCache keys_values;  // [2 * n_head * d_head, capacity]: keys, then values
    StreamCache contexts;     // of both convolutions
    FrameCells cells;
    int n_usual = 0;  // frames to make room for, if for any beside the prompt

    int n_cached() const { return cells.n(); }  // frames
};

// What is known of the frames that are sought.
struct FlowConditions {
    std::span<const float> mu;       // [n_mel, n_frame]
    std::span<const float> speaker;  // [n_mel]
    std::span<const float> prompt;   // [n_mel, n_prompt], n_prompt <= n_frame: zeros stand for the rest
};

class FlowMatching {
public:
    FlowMatching(const FlowMatchingConfig& config, const WeightScope& scope);

    std::shared_ptr<const FlowSteps> steps(int n_step, Workspace& workspace) const;
    FlowMatchingState start(std::shared_ptr<const FlowSteps> steps, int n_prompt, int n_usual,
                            ggml_type cache_type, const Backend& backend) const;

    // noise [n_mel, n_frame] -> mel [n_mel, n_frame]. With a state, the frames follow those of the state and
    // join them; otherwise `steps` says what to do.
    Array<float> solve(const FlowConditions& conditions, std::span<const float> noise, const FlowSteps& steps,
                       Workspace& workspace) const;
    Array<float> solve(const FlowConditions& conditions, std::span<const float> noise,
                       FlowMatchingState& state, Workspace& workspace) const;
    // The velocity at one time, with the conditions and without -> [n_mel, 2, n_frame].
    Array<float> velocity(const FlowConditions& conditions, std::span<const float> x, float time,
                          Workspace& workspace) const;

private:
    struct Run {
        const FlowSteps* steps;
        FlowMatchingState* state = nullptr;
        std::vector<int64_t> cells = {};
    };
    Array<float> integrate(const FlowConditions& conditions, std::span<const float> noise, const Run& run,
                           Workspace& workspace) const;
    Tensor build(Graph& g, const Run& run, int64_t n_frame) const;
    Array<float> branches(const FlowConditions& conditions, int64_t n_frame) const;

    FlowMatchingConfig config_;
    Dit dit_;
};

}  // namespace minicpmo
