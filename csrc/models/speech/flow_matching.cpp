#include "models/speech/flow_matching.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace minicpmo {

namespace {

std::vector<float> cosine_times(int n_step) {
    std::vector<float> times;
    for (int k = 0; k <= n_step; ++k) {
        const float t = static_cast<float>(k) / static_cast<float>(n_step);
        times.push_back(1.0F - std::cos(t * 0.5F * std::numbers::pi_v<float>));
    }
    return times;
}

}  // namespace

FlowMatching::FlowMatching(const FlowMatchingConfig& config, const WeightScope& scope)
    : config_(config), dit_(config.dit, scope) {}

std::shared_ptr<const FlowSteps> FlowMatching::steps(int n_step, Workspace& workspace) const {
    auto steps = std::make_shared<FlowSteps>();
    steps->times = cosine_times(n_step);
    steps->modulation =
        dit_.modulation(std::span(steps->times).first(static_cast<size_t>(n_step)), workspace);
    return steps;
}

FlowMatchingState FlowMatching::start(std::shared_ptr<const FlowSteps> steps, int n_prompt, int n_usual,
                                      ggml_type cache_type, const Backend& backend) const {
    const DitConfig& c = config_.dit;
    const int n_tensor = steps->modulation.shape().n_tensor * c.n_layer * 2;
    const int64_t n_row = int64_t{Dit::kBranches} * c.n_head * c.d_head;
    FlowMatchingState state;
    state.steps = std::move(steps);
    state.keys_values = StreamCache({cache_type, n_row, n_prompt, n_tensor}, backend);
    state.n_usual = n_usual;
    state.contexts = StreamCache({GGML_TYPE_F32, c.n_embd, c.n_context(), n_tensor}, backend);
    return state;
}

Array<float> FlowMatching::solve(const FlowConditions& conditions, std::span<const float> noise,
                                 const FlowSteps& steps, Workspace& workspace) const {
    return integrate(conditions, noise, {&steps}, workspace);
}

Array<float> FlowMatching::solve(const FlowConditions& conditions, std::span<const float> noise,
                                 FlowMatchingState& state, Workspace& workspace) const {
    const auto n_frame = static_cast<int>(noise.size() / static_cast<size_t>(config_.dit.n_mel));
    FrameCells cells = state.cells;
    FrameCells::Room room = cells.add(n_frame);
    for (const auto& [from, to] : room.moves) state.keys_values.move_rows(from, to, 1);
    if (cells.n() > state.keys_values.shape().n_row)
        state.keys_values.set_n_row(std::max(cells.n(), state.n_usual));
    // Moving changed nothing that the state says before its cells do.
    Array<float> mel =
        integrate(conditions, noise, {state.steps.get(), &state, std::move(room.cells)}, workspace);
    state.cells = std::move(cells);
    return mel;
}

// [3 * n_mel, 2 * n_frame]: the conditions of each frame, then as many zeros.
Array<float> FlowMatching::branches(const FlowConditions& conditions, int64_t n_frame) const {
    const int64_t n_mel = config_.dit.n_mel;
    Array<float> all({3 * n_mel, Dit::kBranches, n_frame});
    for (int64_t t = 0; t < n_frame; ++t) {
        const auto out = all.data.begin() + t * Dit::kBranches * 3 * n_mel;
        std::copy_n(conditions.mu.begin() + t * n_mel, n_mel, out);
        std::copy_n(conditions.speaker.begin(), n_mel, out + n_mel);
        if (t * n_mel < static_cast<int64_t>(conditions.prompt.size()))
            std::copy_n(conditions.prompt.begin() + t * n_mel, n_mel, out + 2 * n_mel);
    }
    return all;
}

Tensor FlowMatching::build(Graph& g, const Run& run, int64_t n_frame) const {
    ggml_context* ctx = g.ctx();
    const int64_t n_mel = config_.dit.n_mel;
    Tensor x = g.input("noise", GGML_TYPE_F32, {n_mel, n_frame});
    const Tensor conditions = g.input("conditions", GGML_TYPE_F32, {3 * n_mel, Dit::kBranches * n_frame});
    Dit::Past past;
    if (run.state != nullptr) {
        past.keys_values = &run.state->keys_values;
        past.contexts = &run.state->contexts;
        past.n_key = run.state->n_cached() + n_frame;
        past.cells = g.input("cells", GGML_TYPE_I64, {n_frame});
    }
    const Tensor embedded = dit_.embed(g, conditions);
    const std::vector<float>& times = run.steps->times;
    for (size_t k = 0; k + 1 < times.size(); ++k) {
        past.first = static_cast<int>(k) * config_.dit.n_layer * 2;
        const Tensor v = dit_.velocity(g, x, embedded, run.steps->modulation[static_cast<int>(k)], past);
        const auto branch = [&](size_t b, float factor) {
            const Tensor part = ggml_view_2d(ctx, v, n_mel, n_frame, Dit::kBranches * v->nb[1], b * v->nb[1]);
            return ggml_scale_inplace(ctx, ggml_cont(ctx, part), factor * (times[k + 1] - times[k]));
        };
        x = ggml_add(ctx, x, branch(0, 1.0F + config_.guidance));
        x = ggml_add(ctx, x, branch(1, -config_.guidance));
    }
    return x;
}

Array<float> FlowMatching::integrate(const FlowConditions& conditions, std::span<const float> noise,
                                     const Run& run, Workspace& workspace) const {
    const int64_t n_frame = static_cast<int64_t>(noise.size()) / config_.dit.n_mel;
    check<Error>(conditions.mu.size() == noise.size() && conditions.prompt.size() <= noise.size() &&
                     conditions.speaker.size() == static_cast<size_t>(config_.dit.n_mel),
                 "[flow] expected conditions of {} frames, got {} values of mu and {} of the prompt", n_frame,
                 conditions.mu.size(), conditions.prompt.size());
    const auto n_step = run.steps->times.size() - 1;
    GraphKey key = {n_frame, static_cast<int64_t>(n_step), run.steps->modulation.generation()};
    if (run.state != nullptr) {
        key.insert(key.end(), {run.state->n_cached(), run.state->keys_values.generation(),
                               run.state->contexts.generation()});
    }
    // A runner for each number of steps, which its room for nodes depends on.
    const size_t max_nodes = (dit_.max_nodes() + 16) * n_step + 64;
    GraphRunner& runner = workspace.runner("flow_matching." + std::to_string(n_step), max_nodes);
    runner.prepare(key, [&](Graph& g) { g.output("mel", build(g, run, n_frame)); });
    runner.set("noise", noise);
    runner.set("conditions", branches(conditions, n_frame).data);
    if (run.state != nullptr) runner.set("cells", run.cells);
    runner.compute();
    Array<float> mel({config_.dit.n_mel, n_frame});
    runner.read("mel", mel.data);
    return mel;
}

Array<float> FlowMatching::velocity(const FlowConditions& conditions, std::span<const float> x, float time,
                                    Workspace& workspace) const {
    const int64_t n_mel = config_.dit.n_mel;
    const int64_t n_frame = static_cast<int64_t>(x.size()) / n_mel;
    const StreamCache modulation = dit_.modulation(std::span(&time, 1), workspace);
    GraphRunner& runner = workspace.runner("flow_velocity", dit_.max_nodes() + 64);
    runner.prepare({n_frame, modulation.generation()}, [&](Graph& g) {
        const Tensor noise = g.input("noise", GGML_TYPE_F32, {n_mel, n_frame});
        const Tensor known = g.input("conditions", GGML_TYPE_F32, {3 * n_mel, Dit::kBranches * n_frame});
        g.output("velocity", dit_.velocity(g, noise, dit_.embed(g, known), modulation[0], {}));
    });
    runner.set("noise", x);
    runner.set("conditions", branches(conditions, n_frame).data);
    runner.compute();
    Array<float> velocity({n_mel, Dit::kBranches, n_frame});
    runner.read("velocity", velocity.data);
    workspace.release("flow_velocity");
    return velocity;
}

}  // namespace minicpmo
