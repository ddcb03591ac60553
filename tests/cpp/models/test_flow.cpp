#include "models/speech/flow.h"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <string>

#include "base/error.h"
#include "base/rng.h"
#include "core/temp_folder.h"
#include "models/speech/flow_memory.h"
#include "models/tiny_flow.h"

using namespace minicpmo;

namespace {

std::vector<int32_t> random_codes(int n, uint64_t seed) {
    Rng rng{seed, 0};
    std::vector<int32_t> codes(static_cast<size_t>(n));
    for (int32_t& code : codes) code = static_cast<int32_t>(rng.next() % kTinyFlowCodes);
    return codes;
}

std::vector<float> random_values(size_t n, uint64_t seed) {
    Rng rng{seed, 0};
    std::vector<float> values(n);
    for (float& v : values) v = static_cast<float>(rng.uniform() * 4 - 2);
    return values;
}

FlowPrompt make_prompt(int n_code) {
    FlowPrompt prompt{random_codes(n_code, 7), Array<float>({kTinyFlowMel, 2 * n_code}),
                      random_values(kTinyFlowSpeaker, 8)};
    prompt.mel.data = random_values(prompt.mel.data.size(), 9);
    return prompt;
}

const std::vector<int32_t> kLookahead = {5, 5, 5};

// A flow from a file, and what runs it.
struct Fixture {
    explicit Fixture(const TinyFlowOptions& options = {}, int n_threads = 2) {
        GgufBuilder builder;
        add_tiny_flow(builder, options);
        const auto file =
            std::make_shared<const GgufFile>(GgufFile::open(folder.write("flow.gguf", builder.build())));
        backend = std::make_shared<const Backend>(BackendOptions{"cpu", n_threads});
        weights = std::make_unique<Weights>(file, *backend);
        flow = std::make_unique<Flow>(tiny_flow_config(), weights->root() / "t2w");
        workspace = std::make_unique<Workspace>(backend);
    }

    FlowState start(int n_prompt, int n_step = 2) {
        return flow->start(make_prompt(n_prompt), kLookahead, noise, n_step, *workspace);
    }
    Array<float> next(FlowState& state, int n_code, uint64_t seed, bool is_last = false) {
        return flow->next(random_codes(n_code, seed), is_last, noise, state, *workspace);
    }

    TempFolder folder;
    std::shared_ptr<const Backend> backend;
    std::unique_ptr<Weights> weights;
    std::unique_ptr<Flow> flow;
    std::unique_ptr<Workspace> workspace;
    std::vector<float> noise = random_values(size_t{Flow::kMaxFrames} * kTinyFlowMel, 3);
};

double largest_difference(const Array<float>& a, const Array<float>& b) {
    if (a.shape != b.shape) return INFINITY;
    double largest = 0.0;
    for (size_t i = 0; i < a.data.size(); ++i) {
        const double difference = std::abs(static_cast<double>(a.data[i]) - static_cast<double>(b.data[i]));
        largest = std::isnan(difference) ? INFINITY : std::max(largest, difference);
    }
    return largest;
}

// Frames by name, in the order of FrameCells, following what the cells are told.
class LabelledCells {
public:
    void add(int first_label, int n) {
        const FrameCells::Room room = cells.add(n);
        memory_.resize(std::max(memory_.size(), static_cast<size_t>(cells.n())), -1);
        for (const auto& [from, to] : room.moves)
            memory_[static_cast<size_t>(to)] = memory_[static_cast<size_t>(from)];
        for (size_t i = 0; i < room.cells.size(); ++i)
            memory_[static_cast<size_t>(room.cells[i])] = first_label + static_cast<int>(i);
        for (const int64_t cell : cells.cells()) CHECK(cell < cells.n());  // no gap, so all rows may be read
    }
    std::vector<int> labels() const {
        std::vector<int> labels;
        for (const int64_t cell : cells.cells()) labels.push_back(memory_[static_cast<size_t>(cell)]);
        return labels;
    }
    FrameCells cells;

private:
    std::vector<int> memory_;
};

std::vector<int> ranges(std::initializer_list<std::pair<int, int>> parts) {
    std::vector<int> all;
    for (const auto& [begin, end] : parts) {
        for (int i = begin; i < end; ++i) all.push_back(i);
    }
    return all;
}

}  // namespace

TEST_CASE("the estimator remembers the newest frames and the end of a prompt of 3 s") {
    LabelledCells frames;  // of the prompt 0 to 149, then generated ones
    const auto chunk = [&](int first) {
        frames.add(first, 50);
        frames.cells.keep(150, 100);
    };
    frames.add(0, 150);
    chunk(150);
    CHECK(frames.labels() == ranges({{150, 200}, {0, 150}}));
    chunk(200);
    CHECK(frames.labels() == ranges({{200, 250}, {150, 200}, {0, 150}}));
    chunk(250);
    CHECK(frames.labels() == ranges({{250, 300}, {200, 250}, {150, 200}, {50, 150}}));
    chunk(300);
    CHECK(frames.labels() == ranges({{300, 350}, {250, 300}, {200, 250}, {50, 150}}));
}

TEST_CASE(
    "the estimator remembers the prompt's beginning and end while fewer frames are newer than it is long") {
    LabelledCells frames;
    frames.add(0, 500);
    for (int i = 0; i < 3; ++i) {
        frames.add(500 + 50 * i, 50);
        frames.cells.keep(500, 100);
    }
    CHECK(frames.labels() == ranges({{600, 650}, {550, 600}, {500, 550}, {0, 350}, {400, 500}}));
    for (int i = 3; i < 10; ++i) {
        frames.add(500 + 50 * i, 50);
        frames.cells.keep(500, 100);
    }
    CHECK(frames.labels().size() == 600);
    CHECK(frames.labels()[499] == 549);
    CHECK(frames.labels()[500] == 400);
}

TEST_CASE("frames keep their rows while chunks are equal, and move where fewer come than were forgotten") {
    LabelledCells frames;
    frames.add(0, 20);
    int next = 20;
    for (const int n : {10, 10, 10, 10, 3, 10, 1, 12, 2, 2, 30}) {
        frames.add(next, n);
        next += n;
        const std::vector<int> all = frames.labels();
        frames.cells.keep(20, 10);
        std::vector<int> expected = all;
        if (all.size() > 30) expected.erase(expected.begin() + 20, expected.end() - 10);
        CHECK(frames.labels() == expected);
    }
    FrameCells cells;
    cells.add(30);
    for (int i = 0; i < 5; ++i) {
        cells.keep(10, 10);
        CHECK(cells.add(10).moves.empty());
    }
}

TEST_CASE("a stream cache is a value, and its rows move in every tensor") {
    const Backend backend({"cpu", 1});
    StreamCache a({GGML_TYPE_F32, 2, 6, 3}, backend);
    const auto fill = [](const StreamCache& cache, float first) {
        for (int i = 0; i < 3; ++i) {
            std::vector<float> values(static_cast<size_t>(ggml_nelements(cache[i])));
            std::iota(values.begin(), values.end(), first + 100.0F * static_cast<float>(i));
            ggml_backend_tensor_set(cache[i], values.data(), 0, values.size() * sizeof(float));
        }
    };
    const auto row = [](const StreamCache& cache, int tensor, int64_t index) {
        float value = -1;
        ggml_backend_tensor_get(cache[tensor], &value, static_cast<size_t>(index) * 2 * sizeof(float),
                                sizeof(value));
        return value;
    };
    CHECK(row(a, 2, 5) == 0.0F);
    fill(a, 0.0F);
    StreamCache b = a;
    CHECK(b.generation() != a.generation());
    a.move_rows(2, 1, 4);  // overlapping
    CHECK(row(a, 2, 1) == 204.0F);
    CHECK(row(a, 0, 4) == 10.0F);
    CHECK(row(b, 2, 1) == 202.0F);
    const int64_t generation = a.generation();
    a = b;
    CHECK(a.generation() == generation);  // graphs built for it stay valid
    CHECK(row(a, 2, 1) == 202.0F);
    a.set_n_row(9);
    CHECK(a.generation() != generation);
    CHECK(row(a, 1, 5) == 110.0F);
    CHECK(row(a, 1, 8) == 0.0F);
    b = a;
    CHECK(b.shape() == a.shape());
    CHECK(row(b, 1, 5) == 110.0F);
    StreamCache small({GGML_TYPE_F32, 2, 4, 3}, backend);
    fill(small, 1000.0F);
    const int64_t roomy = b.generation();
    b = small;  // fits, so nothing moves
    CHECK(b.generation() == roomy);
    CHECK(b.shape().n_row == 9);
    CHECK(row(b, 2, 3) == 1206.0F);
    CHECK(row(b, 2, 5) == 210.0F);
    a = StreamCache();
    CHECK(a.shape().n_tensor == 0);
}

TEST_CASE("the encoder remembers the prompt and the newest rows, in order") {
    const Backend backend({"cpu", 1});
    ConformerState state;
    state.keys_values = StreamCache({GGML_TYPE_F32, 1, 12, 1}, backend);
    const std::vector<float> labels = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    ggml_backend_tensor_set(state.keys_values[0], labels.data(), 0, labels.size() * sizeof(float));
    state.n_cached = 10;
    state.keep(5, 5);
    CHECK(state.n_cached == 10);
    state.keep(3, 4);
    REQUIRE(state.n_cached == 7);
    std::vector<float> kept(7);
    ggml_backend_tensor_get(state.keys_values[0], kept.data(), 0, kept.size() * sizeof(float));
    CHECK(kept == std::vector<float>{0, 1, 2, 6, 7, 8, 9});
}

TEST_CASE("a constant velocity carries the noise as far as it says, in any number of steps") {
    Fixture f({.velocity = 0.75F});
    for (const int n_step : {1, 2, 7}) {
        const Array<float> mel =
            f.flow->generate(random_codes(4, 1), make_prompt(5), f.noise, n_step, *f.workspace);
        REQUIRE(mel.shape == std::vector<int64_t>{kTinyFlowMel, 8});
        for (size_t i = 0; i < mel.data.size(); ++i)
            CHECK(mel.data[i] == doctest::Approx(f.noise[10 * kTinyFlowMel + i] + 0.75F).epsilon(1e-5));
    }
}

TEST_CASE("chunks have the frames they promise, and their noise starts where their history ends") {
    Fixture f;
    FlowState state = f.start(10);
    CHECK(state.noise_offset() == 20);
    CHECK(f.next(state, 28, 1).dim(1) == 50);
    CHECK(state.noise_offset() == 70);
    CHECK(f.next(state, 4, 2).dim(1) == 2);
    CHECK(f.next(state, 28, 3).dim(1) == 50);
    CHECK(state.noise_offset() == 120);          // as long as the prompt and 2 s
    CHECK(state.encoder.layers.n_cached == 60);  // the prompt and 2 s
    CHECK(state.encoder.up_layers.n_cached == 120);
    CHECK(f.next(state, 2, 4, true).dim(1) == 4);
    CHECK(f.next(state, 0, 5, true).dim(1) == 0);
}

TEST_CASE("a stream that goes back to a copy of its state repeats itself") {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_Q8_0}) {
        Fixture f({.type = type});
        FlowState state = f.start(30);
        const FlowState turn = state;
        std::vector<Array<float>> first;
        for (uint64_t i = 0; i < 5; ++i) first.push_back(f.next(state, i == 3 ? 9 : 28, i));
        state = turn;
        for (uint64_t i = 0; i < 5; ++i) CHECK(f.next(state, i == 3 ? 9 : 28, i).data == first[i].data);
    }
}

TEST_CASE("streams that take turns do not disturb each other, whatever the threads") {
    Fixture f({}, 1);
    Fixture other({}, 3);
    FlowState alone = other.start(12);
    FlowState a = f.start(12);
    FlowState b = f.start(20);
    for (uint64_t i = 0; i < 4; ++i) {
        const Array<float> expected = other.next(alone, 28, i);
        CHECK(largest_difference(f.next(a, 28, i), expected) < 1e-5);
        f.next(b, 28, 100 + i);
    }
}

TEST_CASE("what is generated depends on the prompt, the speaker, the codes and the noise") {
    Fixture f;
    const FlowPrompt prompt = make_prompt(6);
    const std::vector<int32_t> codes = random_codes(5, 1);
    const Array<float> mel = f.flow->generate(codes, prompt, f.noise, 3, *f.workspace);
    CHECK(f.flow->generate(codes, prompt, f.noise, 3, *f.workspace).data == mel.data);
    const auto differs = [&](const FlowPrompt& p, const std::vector<int32_t>& c,
                             const std::vector<float>& x) {
        return largest_difference(f.flow->generate(c, p, x, 3, *f.workspace), mel) > 1e-4;
    };
    FlowPrompt changed = prompt;
    changed.mel.data[3] += 1.0F;
    CHECK(differs(changed, codes, f.noise));
    changed = prompt;
    changed.speaker[0] += 1.0F;
    CHECK(differs(changed, codes, f.noise));
    changed = prompt;
    changed.codes[0] = (changed.codes[0] + 1) % kTinyFlowCodes;
    CHECK(differs(changed, codes, f.noise));
    for (float& value : changed.speaker = prompt.speaker) value *= 4.0F;  // only its direction counts
    changed.codes = prompt.codes;
    CHECK_FALSE(differs(changed, codes, f.noise));
    std::vector<float> noise = f.noise;
    noise[12 * kTinyFlowMel] += 1.0F;  // the first frame behind the prompt
    CHECK(differs(prompt, codes, noise));
    noise = f.noise;
    noise[22 * kTinyFlowMel] += 1.0F;  // beyond the last
    CHECK_FALSE(differs(prompt, codes, noise));
}

TEST_CASE("what the reference could not take is refused, with both lengths in seconds") {
    Fixture f;
    CHECK(f.flow->max_prompt_codes() == 422);
    try {
        f.start(423);
        FAIL("expected a refusal");
    } catch (const ArgumentError& error) {
        const std::string message = error.what();
        CHECK(message.find("at most 16.88 s") != std::string::npos);
        CHECK(message.find("got 16.92 s") != std::string::npos);
    }
    CHECK_THROWS_AS(f.start(0), ArgumentError);
    CHECK_THROWS_AS(f.start(5, 0), ArgumentError);
    CHECK_THROWS_AS(f.start(5, Flow::kMaxSteps + 1), ArgumentError);
    const FlowPrompt prompt = make_prompt(5);
    const std::vector<int32_t> two = {1, 2};
    CHECK_THROWS_AS(f.flow->start(prompt, two, f.noise, 2, *f.workspace), ArgumentError);
    CHECK_THROWS_AS(f.flow->start(prompt, kLookahead, std::span(f.noise).first(8), 2, *f.workspace),
                    ArgumentError);
    FlowPrompt changed = prompt;
    changed.mel.data.pop_back();
    CHECK_THROWS_AS(f.flow->generate(two, changed, f.noise, 2, *f.workspace), ArgumentError);
    changed = prompt;
    changed.speaker.pop_back();
    CHECK_THROWS_AS(f.flow->generate(two, changed, f.noise, 2, *f.workspace), ArgumentError);
    CHECK_THROWS_AS(f.flow->generate(random_codes(600, 1), prompt, f.noise, 2, *f.workspace), ArgumentError);
}

TEST_CASE("wrong codes are refused and leave the stream as it was") {
    Fixture f;
    FlowState state = f.start(9);
    FlowState other = state;
    CHECK_THROWS_AS(f.next(state, 3, 1), ArgumentError);
    CHECK_THROWS_AS(f.next(state, 600, 1), ArgumentError);
    for (const int32_t code : {-1, kTinyFlowCodes}) {
        const std::vector<int32_t> codes = {1, 2, 3, 4, code};
        CHECK_THROWS_AS(f.flow->next(codes, false, f.noise, state, *f.workspace), ArgumentError);
    }
    const auto few = std::span(f.noise).first(size_t{20} * kTinyFlowMel);
    CHECK_THROWS_AS(f.flow->next(random_codes(28, 1), false, few, state, *f.workspace), ArgumentError);
    CHECK(f.next(state, 28, 2).data == f.next(other, 28, 2).data);
}

TEST_CASE("a voice is recalled as it was remembered") {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16}) {
        Fixture f({.type = type});
        FlowState heard = f.start(9);
        const VoiceCache cache = remember_voice(*f.flow, heard);
        CHECK(cache.n_step == 2);
        CHECK(cache.encoder_keys_values.dim(1) == 18);
        const std::vector<float> speaker = make_prompt(9).speaker;
        FlowState recalled = recall_voice(*f.flow, cache, speaker, *f.workspace);
        CHECK(recalled.noise_offset() == heard.noise_offset());
        for (const uint64_t seed : {1, 2, 3})
            CHECK(f.next(recalled, 28, seed).data == f.next(heard, 28, seed).data);
    }
}

TEST_CASE("caches of other flows are refused") {
    Fixture f;
    const VoiceCache sound = remember_voice(*f.flow, f.start(9));
    const std::vector<float> speaker = make_prompt(9).speaker;
    const auto refuses = [&](auto change) {
        VoiceCache cache = sound;
        change(cache);
        CHECK_THROWS_AS(recall_voice(*f.flow, cache, speaker, *f.workspace), ArgumentError);
    };
    refuses([](VoiceCache& c) { c.n_step = 3; });
    refuses([](VoiceCache& c) { c.n_step = 0; });
    refuses([](VoiceCache& c) { c.encoder_contexts.shape[1] -= 1; });
    refuses([](VoiceCache& c) { c.encoder_keys_values.shape[2] += 1; });
    refuses([](VoiceCache& c) { c.estimator_contexts.shape[0] *= 2; });
    refuses([](VoiceCache& c) { c.estimator_keys_values.shape[1] = 1 << 20; });
    refuses([](VoiceCache& c) { c.estimator_keys_values.data[5] = NAN; });
    CHECK_THROWS_AS(recall_voice(*f.flow, sound, std::span(speaker).first(3), *f.workspace), ArgumentError);
}
