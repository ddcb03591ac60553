#include "engine/memory_plan.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "base/error.h"
#include "base/log.h"
#include "engine/book_writer.h"
#include "engine/memory_bounds.h"
#include "engine/model.h"
#include "layouts/module_choice.h"

namespace minicpmo {

namespace {

constexpr int kStep = 256;     // tokens: caches and masks grow in such steps
constexpr int kLeast = 512;    // tokens that a conversation can begin with
constexpr int kUseful = 4096;  // tokens that are worth reading weights from the disk again

std::string amount(uint64_t n_bytes) {
    constexpr double kMebi = 1024.0 * 1024.0;
    std::ostringstream text;
    text << std::fixed << std::setprecision(1) << static_cast<double>(n_bytes) / kMebi << " MiB";
    return text.str();
}

std::string in_words(uint64_t available) {
    return available == MachineMemory::kUnknown ? "unknown" : amount(available);
}

// a + b without wrapping around.
uint64_t plus(uint64_t a, uint64_t b) { return a + std::min(b, MachineMemory::kUnknown - a); }

}  // namespace

MemoryNeed MemoryPlan::total() const {
    MemoryNeed sum;
    sum.name = "sum";
    for (const MemoryNeed& need : needs) {
        sum.mapped = plus(sum.mapped, need.mapped);
        sum.host = plus(sum.host, need.host);
        sum.device = plus(sum.device, need.device);
    }
    return sum;
}

bool MemoryPlan::can_allocate() const {
    const MemoryNeed sum = total();
    return sum.host <= available.host && sum.device <= available.device;
}

bool MemoryPlan::fits() const {
    const MemoryNeed sum = total();
    return can_allocate() && plus(sum.host, sum.mapped) <= available.host;
}

std::string MemoryPlan::table() const {
    constexpr int kName = 34;
    constexpr int kColumn = 14;
    const MemoryNeed sum = total();
    const bool has_device = sum.device > 0;
    std::ostringstream text;
    const auto row = [&](const std::string& name, const std::string& mapped, const std::string& host,
                         const std::string& device) {
        text << std::left << std::setw(kName) << name << std::right << std::setw(kColumn) << mapped
             << std::setw(kColumn) << host;
        if (has_device) text << std::setw(kColumn) << device;
        text << '\n';
    };
    const auto cell = [](uint64_t n_bytes) { return n_bytes > 0 ? amount(n_bytes) : std::string("-"); };
    row("", "file's pages", "allocated", "on the device");
    for (const MemoryNeed& need : needs)
        row(need.name, cell(need.mapped), cell(need.host), cell(need.device));
    row("sum", cell(sum.mapped), cell(sum.host), cell(sum.device));
    row("available", "", in_words(available.host), in_words(available.device));
    text << n_ctx << " tokens of context";
    if (n_session > 1) text << " in each of " << n_session << " conversations";
    text << ", " << kv_bytes_per_token << " bytes each";
    return text.str();
}

MemoryPlanner::MemoryPlanner(const GgufFile& file, const ModelConfig& config, bool on_cpu,
                             WeightMemory memory, const MachineMemory& available, int n_session)
    : llm_(config.llm), on_cpu_(on_cpu), available_(available), n_session_(std::max(1, n_session)) {
    count_weights(file, memory);
    count_work(file, config);
}

MemoryNeed MemoryPlanner::allocated(std::string name, uint64_t n_bytes) const {
    return {std::move(name), 0, on_cpu_ ? n_bytes : 0, on_cpu_ ? 0 : n_bytes};
}

void MemoryPlanner::count_weights(const GgufFile& file, WeightMemory memory) {
    for (const TensorInfo& tensor : file.tensors()) {
        const std::string_view module = module_of(tensor.name);
        auto need = std::find_if(weights_.begin(), weights_.end(),
                                 [&](const MemoryNeed& known) { return known.name == module; });
        if (need == weights_.end()) need = weights_.insert(need, MemoryNeed{std::string(module)});
        const bool is_made = !file.regions()[tensor.region].is_file;
        const uint64_t n = tensor.data.size();
        if (on_cpu_) {
            const bool is_read_in_place = Weights::stays_in_place(file, tensor, memory);
            (is_read_in_place && !is_made ? need->mapped : need->host) += n;
            if (is_made && !is_read_in_place) need->host += n;
        } else {
            need->device += n;
            if (is_made) need->host += n;
        }
    }
}

void MemoryPlanner::count_work(const GgufFile& file, const ModelConfig& config) {
    const ggml_type type = default_kv_type(config);
    if (config.vision) work_.push_back(allocated("work: vision", vision_scratch(*config.vision)));
    if (config.audio) {
        const WhisperConfig& w = config.audio->encoder.whisper;
        const KvShape shape{w.n_layer, w.n_head, w.n_embd / w.n_head, w.n_position, type};
        work_.push_back(allocated("work: audio", audio_scratch(*config.audio)));
        work_.push_back(
            allocated("stream: audio", KvCache::full_bytes(shape) + KvCache::growing_bytes(shape)));
    }
    if (BookConfig::is_in(file)) {
        count_books(file, config);
    } else if (SpeechModel::is_in(file)) {
        count_speech(file, config);
    }
}

void MemoryPlanner::count_books(const GgufFile& file, const ModelConfig& config) {
    const BookConfig books = read_book_config(file, config.llm.decoder.n_embd);
    const ConditionalTtsConfig& tts = books.lm;
    const DecoderConfig& d = tts.decoder;
    const KvShape shape{d.n_layer, d.n_head_kv, d.d_head, tts.n_ctx, default_kv_type(config)};
    const int64_t n_row = std::max(tts.n_reserved + ConditionalTts::kTextBegin, BookWriter::kSeedSteps);
    const int64_t n_logit = int64_t{tts.n_book} * tts.n_code;
    work_.push_back(allocated("work: tts", decoder_scratch(d, n_row, tts.n_ctx, n_logit)));
    work_.push_back(allocated("stream: tts", KvCache::full_bytes(shape) + KvCache::growing_bytes(shape)));
    // What is not streamed is decoded part by part.
    const int n_step = std::min(books.max_codes + BookWriter::kBatchSteps, Dvae::kMaxSteps);
    const int n_frame = std::min(books.dvae.n_group * n_step, Vocos::kMaxFrames);
    work_.push_back(allocated("work: dvae", dvae_scratch(books.dvae, n_step)));
    work_.push_back(allocated("work: vocos", vocos_scratch(books.vocos, n_frame)));
}

void MemoryPlanner::count_speech(const GgufFile& file, const ModelConfig& config) {
    constexpr int kReadRows = 512;
    const ggml_type type = default_kv_type(config);
    const TtsLmConfig tts = read_tts_config(file, config.llm.decoder.n_embd).lm;
    const DecoderConfig& d = tts.decoder;
    const KvShape shape{d.n_layer, d.n_head_kv, d.d_head, tts.n_ctx, type};
    work_.push_back(allocated("work: tts", decoder_scratch(d, kReadRows, tts.n_ctx, tts.n_code)));
    work_.push_back(allocated("stream: tts", KvCache::full_bytes(shape) + KvCache::growing_bytes(shape)));

    const SpeechFlowConfig flow = read_flow_config(file);
    const int n_code = read_voice_shape(file).max_codes;
    uint64_t scratch = flow_scratch(flow.network, n_code);
    uint64_t tables = 0;
    for (const VocoderKind kind : {VocoderKind::original, VocoderKind::causal}) {
        const std::optional<VocoderConfig> vocoder = read_vocoder_config(file, kind);
        if (!vocoder) continue;
        const int n_window = flow.chunk_codes + flow.network.encoder.n_lookahead;
        const int n_frame = flow.network.encoder.up_rate * n_window + vocoder->n_delay;
        scratch += vocoder_scratch(*vocoder, n_frame);
        tables = std::max(tables, noise_tables(flow.network, *vocoder));
    }
    work_.push_back(allocated("work: t2w", scratch));
    work_.push_back(
        allocated("stream: t2w", flow_state(flow.network, flow.n_step, n_code, flow.cache_value_bytes)));
    uint64_t copies = tables;
    for (const TensorInfo& tensor : file.tensors()) {
        if (module_of(tensor.name) != "voices") continue;
        uint64_t n_value = 1;
        for (const int64_t n : tensor.ne) n_value *= static_cast<uint64_t>(n);
        copies = plus(copies, n_value * sizeof(float));
    }
    work_.push_back({"voices and noise", 0, copies, 0});
    if (SpeechModel::can_clone(file))
        work_.push_back(allocated("work: hearing a voice", voice_scratch(read_voice_config(file))));
}

MemoryPlan MemoryPlanner::plan(int n_ctx, ggml_type kv_type) const {
    const DecoderConfig& d = llm_.decoder;
    const KvShape shape{d.n_layer, d.n_head_kv, d.d_head, n_ctx, kv_type};
    KvCache::check_shape(shape);
    MemoryPlan plan;
    plan.n_ctx = n_ctx;
    plan.n_session = n_session_;
    plan.available = available_;
    plan.kv_bytes_per_token =
        KvCache::full_bytes(shape) / static_cast<uint64_t>((n_ctx + kStep - 1) / kStep * kStep);
    plan.needs = weights_;
    const auto n = static_cast<uint64_t>(n_session_);
    const auto add = [&](const MemoryNeed& need) {
        plan.needs.push_back({need.name, need.mapped, n * need.host, n * need.device});
    };
    add(allocated("context", KvCache::full_bytes(shape)));
    add(allocated("context, while it grows", KvCache::growing_bytes(shape)));
    const int64_t n_kv = (int64_t{n_ctx} + kStep - 1) / kStep * kStep;
    add(allocated("work: llm", decoder_scratch(d, std::min(kBatch, n_ctx), n_kv, llm_.n_vocab)));
    for (const MemoryNeed& need : work_) add(need);
    return plan;
}

template <class Holds>
int MemoryPlanner::most_tokens(ggml_type kv_type, Holds holds) const {
    const int most = llm_.n_ctx_train;
    if (holds(plan(most, kv_type))) return most;
    int low = 0;                    // steps that hold
    int high = (most - 1) / kStep;  // the most that is below all
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (holds(plan(middle * kStep, kv_type))) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low * kStep;
}

MemoryPlan MemoryPlanner::plan_most(ggml_type kv_type) const {
    const int most = llm_.n_ctx_train;
    MemoryPlan whole = plan(most, kv_type);
    if (whole.fits()) return whole;
    int n = most_tokens(kv_type, [](const MemoryPlan& p) { return p.fits(); });
    if (n < std::min(kUseful, most)) {
        const int n_allocated = most_tokens(kv_type, [](const MemoryPlan& p) { return p.can_allocate(); });
        n = std::min({kUseful, most, n_allocated});
    }
    return plan(std::max(n, std::min(kLeast, most)), kv_type);
}

void MemoryPlanner::check_fit(const MemoryPlan& plan) {
    const MemoryNeed sum = plan.total();
    if (!plan.can_allocate()) {
        const bool is_host = sum.host > plan.available.host;
        fail<OutOfMemoryError>(
            "[memory] expected {} of memory for {} tokens of context and what else is to be allocated, got "
            "{}: "
            "ask for fewer tokens, leave modules out or switch this check off\n{}",
            amount(is_host ? sum.host : sum.device), plan.n_ctx,
            in_words(is_host ? plan.available.host : plan.available.device), plan.table());
    }
    if (!plan.fits()) {
        log(LogLevel::warn,
            format(
                "[memory] expected {} beside what is allocated, for weights that are read from the file, got "
                "{}: they will be read from the disk again and again",
                amount(sum.mapped), amount(plan.available.host - sum.host)));
    }
}

}  // namespace minicpmo
