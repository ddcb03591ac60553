#include "engine/memory_plan.h"

#include <doctest/doctest.h>

#include <map>

#include "base/error.h"
#include "base/log.h"
#include "engine/book_decoder.h"
#include "engine/book_writer.h"
#include "engine/memory_bounds.h"
#include "engine/prompt_reader.h"
#include "engine/tiny_speech.h"
#include "models/tiny_voice.h"

using namespace minicpmo;

namespace {

constexpr uint64_t kPlenty = uint64_t{1} << 40;

LoadOptions with(uint64_t available, int n_ctx = 0) {
    LoadOptions options{.backend = {.device = "cpu", .n_threads = 1}};
    options.available = MachineMemory{available, 0};
    options.n_ctx = n_ctx;
    return options;
}

const TinyModelFile& speaking_file() {
    static const TinyModelFile file({.has_speech = true, .n_ctx_speech = 512});
    return file;
}

MemoryPlan plan_of(const TinyModelFile& file, uint64_t available, int n_ctx = 0) {
    return Model::plan_memory(file.path(), with(available, n_ctx));
}

const MemoryNeed& need(const MemoryPlan& plan, const std::string& name) {
    for (const MemoryNeed& found : plan.needs) {
        if (found.name == name) return found;
    }
    FAIL("no " << name);
    return plan.needs[0];
}

uint64_t to_allocate(const MemoryPlan& plan) { return plan.total().host; }
uint64_t to_have(const MemoryPlan& plan) { return plan.total().host + plan.total().mapped; }

std::vector<std::string> warnings_of(const std::function<void()>& act) {
    std::vector<std::string> lines;
    set_log_sink([&](LogLevel level, std::string_view line) {
        if (level >= LogLevel::warn) lines.emplace_back(line);
    });
    act();
    set_log_sink({});
    return lines;
}

// Above what was taken, and not by far. A bound counts every value of a layer that could be there at the same
// time, as if nothing were computed in place; what a tiny model's graphs take beside that is below the two
// smallest bounds there are. `without_kernels`: what processors take more that lack our kernels.
void check_bound(const std::string& what, uint64_t bound, uint64_t taken, uint64_t without_kernels = 0) {
    CAPTURE(what);
    CAPTURE(bound);
    CAPTURE(taken);
    CHECK(taken > 0);
    CHECK(taken <= bound);
    CHECK(bound <= 8 * taken + (1 << 17) + without_kernels);
}

}  // namespace

TEST_CASE("weights are the bytes of the tensors, module by module") {
    const MemoryPlan plan = plan_of(speaking_file(), kPlenty);
    std::map<std::string, uint64_t> bytes;
    const GgufFile file = GgufFile::open(speaking_file().path());
    for (const TensorInfo& tensor : file.tensors()) {
        const std::string name = tensor.name.substr(0, tensor.name.find('.') + 1);
        const std::map<std::string, std::string> modules = {
            {"v.", "vision"}, {"resampler.", "vision"}, {"a.", "audio"},
            {"mm.", "audio"}, {"tts.", "tts"},          {"t2w.", "t2w"},
            {"s3.", "s3"},    {"spk.", "spk"},          {"voice.", "voices"}};
        bytes[modules.contains(name) ? modules.at(name) : "llm"] += tensor.data.size();
    }
    CHECK(bytes.size() == 8);
    for (const auto& [module, n] : bytes) {
        CAPTURE(module);
        CHECK(need(plan, module).mapped + need(plan, module).host == n);
        CHECK(need(plan, module).device == 0);
    }
    CHECK(need(plan, "llm").host == 0);  // aligned tensors stay where they are
}

TEST_CASE("modules that are left out have no bytes, and nothing to work with") {
    LoadOptions options = with(kPlenty);
    options.modules = {.vision = false, .audio = false, .speech = false};
    const MemoryPlan plan = Model::plan_memory(speaking_file().path(), options);
    std::vector<std::string> names;
    for (const MemoryNeed& found : plan.needs) names.push_back(found.name);
    CHECK(names == std::vector<std::string>{"llm", "context", "context, while it grows", "work: llm"});
    const auto model = Model::load(speaking_file().path(), options);
    CHECK(model->config().modules == std::vector<std::string>{"llm"});
    CHECK_FALSE(model->has_speech());
    CHECK_THROWS_WITH_AS(model->vision(), doctest::Contains("got one loaded without vision"),
                         UnsupportedModelError);
    CHECK_THROWS_WITH_AS(model->audio(), doctest::Contains("got one loaded without audio"),
                         UnsupportedModelError);
    CHECK_THROWS_WITH_AS(model->speech(), doctest::Contains("got one loaded without speech"),
                         UnsupportedModelError);
    Session session(model, {});
    session.prefill(std::vector<Message>{say(Role::user, "hi")}, {});
    CHECK(answer(session).size() == 12);
}

TEST_CASE("more tokens never take less, and memory to spare changes nothing") {
    const GgufFile file = GgufFile::open(speaking_file().path());
    const MemoryPlanner planner(file, read_model_config(file), true, WeightMemory::mapped, {kPlenty, 0}, 1);
    MemoryPlan before = planner.plan(1, GGML_TYPE_F16);
    for (int n = 2; n <= 4096; ++n) {
        const MemoryPlan plan = planner.plan(n, GGML_TYPE_F16);
        REQUIRE(to_allocate(plan) >= to_allocate(before));
        REQUIRE(plan.kv_bytes_per_token == before.kv_bytes_per_token);
        before = plan;
    }
    const MemoryPlan whole = plan_of(speaking_file(), kPlenty);
    CHECK(whole.n_ctx == 4096);
    CHECK(whole.fits());
    const MemoryPlan exact = plan_of(speaking_file(), to_have(whole));
    CHECK(exact.n_ctx == 4096);
    CHECK(exact.fits());
}

TEST_CASE("the context shrinks to exactly what fits") {
    const TinyModelFile file({.has_vision = false, .has_audio = false, .n_ctx = 32768});
    for (const uint64_t share : {30, 50, 77, 99}) {
        CAPTURE(share);
        const uint64_t available = to_have(plan_of(file, kPlenty)) * share / 100;
        const MemoryPlan plan = plan_of(file, available);
        CHECK(plan.n_ctx >= 4096);
        CHECK(plan.n_ctx < 32768);
        CHECK(plan.fits());
        CHECK(to_have(plan_of(file, kPlenty, plan.n_ctx)) <= available);
        CHECK(to_have(plan_of(file, kPlenty, plan.n_ctx + 1)) > available);
        const auto model = Model::load(file.path(), with(available));
        CHECK(Session(model, {}).n_ctx() == plan.n_ctx);
        CHECK_THROWS_AS(Session(model, {.n_ctx = 32768, .kv_type = {}}), OutOfMemoryError);
        CHECK(Session(model, {.n_ctx = 512, .kv_type = {}}).n_ctx() == 512);
        // A smaller type of cache does not make the model's own number larger, a larger type makes it
        // smaller.
        CHECK(Session(model, {.kv_type = GGML_TYPE_F16}).n_ctx() == plan.n_ctx);
    }
    LoadOptions half = with(to_have(plan_of(file, kPlenty)) / 2);
    half.kv_type = GGML_TYPE_F16;
    const auto model = Model::load(file.path(), half);
    CHECK(Session(model, {.kv_type = GGML_TYPE_F32}).n_ctx() < model->memory_plan().n_ctx);
}

TEST_CASE("where weights fill the machine, a useful context is planned beside them, and a warning says so") {
    const TinyModelFile file({.has_vision = false, .has_audio = false, .n_ctx = 32768});
    const MemoryPlan plan = plan_of(file, to_allocate(plan_of(file, kPlenty, 4096)));
    CHECK(plan.n_ctx == 4096);
    CHECK(plan.can_allocate());
    CHECK_FALSE(plan.fits());
    const auto lines = warnings_of([&] { Model::load(file.path(), with(to_allocate(plan))); });
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find("read from the disk again and again") != std::string::npos);
    // Down to the least that a conversation can begin with, and then no further.
    const uint64_t least = to_allocate(plan_of(file, kPlenty, 512));
    CHECK(plan_of(file, least).n_ctx == 512);
    CHECK(plan_of(file, least).can_allocate());
    CHECK_FALSE(plan_of(file, least - 1).can_allocate());
    CHECK_THROWS_AS(Model::load(file.path(), with(least - 1)), OutOfMemoryError);
}

TEST_CASE("a context that cannot fit is refused with both numbers, unless nobody checks") {
    const uint64_t least = to_allocate(plan_of(speaking_file(), kPlenty, 1024));
    LoadOptions options = with(least - 1, 1024);
    std::string message;
    try {
        Model::load(speaking_file().path(), options);
    } catch (const OutOfMemoryError& error) {
        message = error.what();
    }
    CAPTURE(message);
    const auto mebi = [](uint64_t n) {
        const auto tenths = static_cast<uint64_t>(static_cast<double>(n) / 104857.6 + 0.5);
        return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MiB";
    };
    CHECK(message.starts_with("[memory] expected " + mebi(least) + " of memory for 1024 tokens"));
    CHECK(message.find("got " + mebi(least - 1) + ":") != std::string::npos);
    CHECK(message.find("\nvision") != std::string::npos);
    CHECK(message.find("\ncontext ") != std::string::npos);
    options.checks_memory = false;
    CHECK(Session(Model::load(speaking_file().path(), options), {}).n_ctx() == 1024);
    options.n_ctx = 0;
    CHECK(Session(Model::load(speaking_file().path(), options), {}).n_ctx() == 4096);
    options.n_ctx = 4097;
    CHECK_THROWS_WITH_AS(Model::load(speaking_file().path(), options),
                         doctest::Contains("expected n_ctx of 0 to 4096"), ArgumentError);
}

TEST_CASE("a damaged file's sizes do not wrap around") {
    const TinyModelFile file({.n_ctx = 1 << 24});
    const MemoryPlan plan = plan_of(file, 1 << 20);
    CHECK_FALSE(plan.can_allocate());
    CHECK(plan_of(file, MachineMemory::kUnknown).fits());
}

TEST_CASE("several conversations take several contexts") {
    LoadOptions options = with(kPlenty, 1024);
    const MemoryPlan one = Model::plan_memory(speaking_file().path(), options);
    options.max_sessions = 3;
    const MemoryPlan three = Model::plan_memory(speaking_file().path(), options);
    CHECK(need(three, "context").host == 3 * need(one, "context").host);
    CHECK(need(three, "work: llm").host == 3 * need(one, "work: llm").host);
    CHECK(need(three, "llm").mapped == need(one, "llm").mapped);
    CHECK(three.table().find("1024 tokens of context in each of 3 conversations") != std::string::npos);
}

TEST_CASE("a full context has the planned size") {
    for (const int n_ctx : {1, 256, 300, 512, 600, 1024, 1500, 4096}) {
        CAPTURE(n_ctx);
        const auto model = Model::load(speaking_file().path(), with(kPlenty, n_ctx));
        Session session(model, {});
        KvCache cache(model->decoder().kv_shape(n_ctx, GGML_TYPE_F32), model->backend());
        uint64_t grown_from = 0;
        for (int n = 0; n < n_ctx; n += 100) {
            const uint64_t before = cache.n_bytes();
            cache.reserve(std::min(100, n_ctx - n));
            cache.advance(std::min(100, n_ctx - n));
            if (cache.n_bytes() > before) grown_from = before;
        }
        CHECK(need(model->memory_plan(), "context").host == cache.n_bytes());
        CHECK(need(model->memory_plan(), "context, while it grows").host >= grown_from);
    }
}

TEST_CASE("reading, seeing and hearing take at most the scratch memory that is planned") {
    constexpr int kContext = 2048;
    const auto model = Model::load(speaking_file().path(), with(kPlenty, kContext));
    const MemoryPlan& plan = model->memory_plan();
    Workspace workspace(model->backend());
    KvCache cache(model->decoder().kv_shape(kContext, GGML_TYPE_F32), model->backend());
    const std::vector<float> rows(static_cast<size_t>(kTinyEmbd) * kBatch, 0.1F);
    for (int n = 0; n < kContext; n += kBatch) {
        DecoderInput input;
        input.embeds = rows;
        model->decoder().forward(input, nullptr, &model->head(), Rows::all, cache, workspace);
    }
    check_bound("llm", need(plan, "work: llm").host, workspace.scratch_bytes("decoder"));

    const VisionConfig& vision = *model->config().vision;
    const PreparedImage image = prepare_image(vision, random_image(448, 448).view(), 1);
    encode_slice(*model, image.slices[0], workspace);
    check_bound("vision", need(plan, "work: vision").host, workspace.scratch_bytes("vision"));
    for (const auto& [width, height] : {std::pair(2000, 100), {100, 2000}, {1500, 1000}, {37, 900}}) {
        CAPTURE(width);
        const PreparedImage wide = prepare_image(vision, random_image(width, height).view(), {});
        for (const PatchedImage& slice : wide.slices) encode_slice(*model, slice, workspace);
        CHECK(workspace.scratch_bytes("vision") <= need(plan, "work: vision").host);
    }

    const AudioConfig& audio = *model->config().audio;
    const Array<float> mel({audio.mel.n_mel, model->audio().max_mel_frames()});
    model->audio().encode(mel, 50, workspace);
    check_bound("audio", need(plan, "work: audio").host, workspace.scratch_bytes("audio"));
    AudioEncoderState state = model->audio().start(GGML_TYPE_F32, model->backend());
    const Array<float> second({audio.mel.n_mel, 100});
    for (int i = 0; i < 29; ++i) model->audio().encode_chunk(second, {}, state, workspace);
    CHECK(workspace.scratch_bytes("audio_stream") <= need(plan, "work: audio").host);
    CHECK(state.cache.n_bytes() <= need(plan, "stream: audio").host);
}

TEST_CASE("speaking and hearing a voice take at most the scratch memory that is planned") {
    const auto file = GgufFile::open(speaking_file().path());
    const auto model = Model::load(speaking_file().path(), with(kPlenty));
    const SpeechModel& speech = model->speech();
    const FlowConfig& flow = speech.flow_config().network;
    Workspace workspace(model->backend());

    const int n_code = speech.flow().max_prompt_codes();
    FlowPrompt prompt;
    prompt.codes = random_codes(n_code);
    prompt.mel = Array<float>({flow.n_mel, int64_t{flow.encoder.up_rate} * n_code});
    prompt.speaker.assign(static_cast<size_t>(flow.n_speaker), 0.1F);
    const std::vector<float> noise(static_cast<size_t>(flow.n_mel) * Flow::kMaxFrames, 0.2F);
    FlowState state =
        speech.flow().start(prompt, random_codes(flow.encoder.n_lookahead), noise, 5, workspace);
    const Array<float> spectrum = speech.flow().next(random_codes(28), false, noise, state, workspace);
    // ggml's operations write the score of each key and each distance, and shift them.
    const uint64_t n_frame_read = static_cast<uint64_t>(n_code + flow.encoder.n_lookahead) * 2;
    const uint64_t scores = 6 * n_frame_read * n_frame_read * static_cast<uint64_t>(flow.encoder.n_head) * 5;
    check_bound("flow", flow_scratch(flow, n_code),
                workspace.scratch_bytes("flow_encoder") + workspace.scratch_bytes("flow_matching.5"), scores);
    const auto cached = [](const StreamCache& cache) {
        const StreamCache::Shape& s = cache.shape();
        return static_cast<uint64_t>(s.n_feature * s.n_row * s.n_tensor) * sizeof(float);
    };
    const uint64_t kept = cached(state.matching.keys_values) + cached(state.matching.contexts) +
                          cached(state.matching.steps->modulation) +
                          cached(state.encoder.layers.keys_values) + cached(state.encoder.layers.distances) +
                          cached(state.encoder.up_layers.keys_values) +
                          cached(state.encoder.up_layers.distances);
    // Counted twice, and growing once more.
    check_bound("flow state", flow_state(flow, 5, n_code, sizeof(float)), 2 * kept);

    const Vocoder& vocoder = speech.vocoder();
    VocoderState wave = vocoder.start();
    for (int i = 0; i < 3; ++i) vocoder.next(spectrum, i == 2, noise, wave, workspace);
    const int n_frame = static_cast<int>(spectrum.dim(1)) + vocoder.config().n_delay;
    // And a convolution is unfolded: what each tap sees, twice, where ours reads it once.
    const uint64_t wave_taken = workspace.scratch_bytes("hift");
    check_bound("vocoder", vocoder_scratch(vocoder.config(), n_frame), wave_taken, 8 * wave_taken);

    const VoiceConfig config = read_voice_config(file);
    Weights weights(std::make_shared<const GgufFile>(file), *model->backend());
    const SpeechTokenizer tokenizer(config.tokenizer, weights.root() / "s3");
    const SpeakerEncoder speaker(config.speaker, weights.root() / "spk");
    const int n_mel = std::min(config.shape.max_codes, config.tokenizer.n_position) * 4;
    tokenizer.encode(Array<float>({config.tokenizer.n_mel, n_mel}), workspace);
    speaker.encode(Array<float>({config.speaker.n_mel, n_mel}), workspace);
    check_bound(
        "voice", voice_scratch(config),
        workspace.scratch_bytes(SpeechTokenizer::kRunner) + workspace.scratch_bytes(SpeakerEncoder::kRunner));
}

TEST_CASE("speech of several code books is planned module by module, and takes at most what is planned") {
    const TinyModelFile file({.has_vision = false, .has_audio = false, .has_books = true});
    const auto model = Model::load(file.path(), with(kPlenty));
    const MemoryPlan& plan = model->memory_plan();
    std::map<std::string, uint64_t> bytes;
    for (const TensorInfo& tensor : model->tensors()) {
        const std::string first = tensor.name.substr(0, tensor.name.find('.'));
        bytes[first == "tts" || first == "dvae" || first == "vocos" ? first : "llm"] += tensor.data.size();
    }
    CHECK(bytes.size() == 4);
    for (const auto& [module, n] : bytes) {
        CAPTURE(module);
        CHECK(need(plan, module).mapped + need(plan, module).host == n);
    }

    const BookSpeech& speech = model->book_speech();
    const ConditionalTts& tts = speech.tts();
    const ConditionalTtsConfig& lm = speech.config().lm;
    Workspace workspace(model->backend());
    KvCache cache(tts.kv_shape(GGML_TYPE_F32), model->backend());
    tts.open(cache);
    std::vector<int32_t> text(static_cast<size_t>(lm.n_reserved) + ConditionalTts::kTextBegin, 6);
    text[0] = lm.text_bos;
    text[1] = lm.speaker;
    tts.read_text(text, 0, std::vector<float>(kTinyEmbd, 0.3F), cache, workspace);
    const auto n_book = static_cast<size_t>(lm.n_book);
    std::vector<int32_t> codes(BookWriter::kSeedSteps * n_book, 3);
    tts.read_codes(codes, lm.n_reserved, cache, workspace);
    codes.resize(n_book);
    while (cache.length() < lm.n_ctx) tts.step(codes, lm.n_reserved, cache, workspace);
    check_bound("tts", need(plan, "work: tts").host, workspace.scratch_bytes("decoder"));
    CHECK(cache.n_bytes() <= need(plan, "stream: tts").host);

    const int n_step = speech.config().max_codes + BookWriter::kBatchSteps;
    codes.assign(static_cast<size_t>(n_step) * n_book, 2);
    const Array<float> mel = speech.dvae().decode(codes, workspace);
    check_bound("dvae", need(plan, "work: dvae").host, workspace.scratch_bytes("dvae"));
    speech.vocos().generate(mel, workspace);
    check_bound("vocos", need(plan, "work: vocos").host, workspace.scratch_bytes("vocos"));

    LoadOptions options = with(kPlenty);
    options.modules.speech = false;
    const auto silent = Model::load(file.path(), options);
    for (const MemoryNeed& found : silent->memory_plan().needs) {
        CHECK(found.name.find("tts") == std::string::npos);
        CHECK(found.name.find("dvae") == std::string::npos);
        CHECK(found.name.find("vocos") == std::string::npos);
    }
    for (const TensorInfo& tensor : silent->tensors()) CHECK(module_of(tensor.name) == "llm");
    CHECK_THROWS_WITH_AS(silent->book_speech(), doctest::Contains("got one loaded without speech"),
                         UnsupportedModelError);
}
