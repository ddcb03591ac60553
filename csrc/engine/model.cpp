#include "engine/model.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "core/quantize.h"
#include "layouts/model_files.h"

namespace minicpmo {

namespace {

Head bind_head(const LlmConfig& llm, const TokenEmbedding& embedding, const WeightScope& root) {
    Head head;
    head.scale = 1.0F / llm.logit_scale;
    head.linear.weight = (root / "output").try_get("weight", {llm.decoder.n_embd, llm.n_vocab});
    if (head.linear.weight == nullptr) head.linear.weight = embedding.weight;  // tied
    return head;
}

MemoryPlanner make_planner(const GgufFile& file, const ModelConfig& config, const Backend& backend,
                           const LoadOptions& options) {
    const MachineMemory available = options.available ? *options.available : available_memory(backend);
    return {file, config, backend.is_cpu(), options.weight_memory, available, options.max_sessions};
}

MemoryPlan make_plan(const MemoryPlanner& planner, const LlmConfig& llm, const LoadOptions& options,
                     ggml_type kv_type) {
    check<ArgumentError>(options.n_ctx >= 0 && options.n_ctx <= llm.n_ctx_train,
                         "[model] expected n_ctx of 0 to {}, got {}", llm.n_ctx_train, options.n_ctx);
    if (options.n_ctx > 0) return planner.plan(options.n_ctx, kv_type);
    return options.checks_memory ? planner.plan_most(kv_type) : planner.plan(llm.n_ctx_train, kv_type);
}

MemoryPlan checked(MemoryPlan plan, bool checks_memory) {
    if (checks_memory) MemoryPlanner::check_fit(plan);
    return plan;
}

}  // namespace

std::shared_ptr<const Model> Model::load(const std::filesystem::path& path, const LoadOptions& options) {
    const auto file = open_model(path, options.parts, options.looks_around, options.modules);
    return std::shared_ptr<const Model>(new Model(file, options));
}

MemoryPlan Model::plan_memory(const std::filesystem::path& path, const LoadOptions& options) {
    const auto file = open_model(path, options.parts, options.looks_around, options.modules);
    const ModelConfig config = read_model_config(*file);
    const MemoryPlanner planner = make_planner(*file, config, Backend(options.backend), options);
    return make_plan(planner, config.llm, options, options.kv_type.value_or(default_kv_type(config)));
}

Model::Model(std::shared_ptr<const GgufFile> file, const LoadOptions& options)
    : backend_(std::make_shared<const Backend>(options.backend)),
      config_(read_model_config(*file)),
      modules_(options.modules),
      checks_memory_(options.checks_memory),
      kv_type_(options.kv_type.value_or(default_kv_type(config_))),
      planner_(make_planner(*file, config_, *backend_, options)),
      plan_(checked(make_plan(planner_, config_.llm, options, kv_type_), checks_memory_)),
      tokenizer_(read_vocabulary(*file)),
      weights_(std::make_unique<Weights>(file, *backend_, options.weight_memory)),
      decoder_(config_.llm.decoder, weights_->root()),
      embedding_{
          (weights_->root() / "token_embd").get("weight", {config_.llm.decoder.n_embd, config_.llm.n_vocab}),
          config_.llm.embedding_scale},
      head_(bind_head(config_.llm, embedding_, weights_->root())),
      media_cache_(std::make_unique<MediaCache>(options.media_cache_bytes)),
      n_session_(std::make_shared<std::atomic<int>>(0)),
      max_sessions_(options.max_sessions) {
    check<ModelFileError>(tokenizer_.n_vocab() <= config_.llm.n_vocab,
                          "[model] expected at most {} tokens (rows of token_embd.weight), got {} ({})",
                          config_.llm.n_vocab, tokenizer_.n_vocab(), file->path().string());
    check<ArgumentError>(options.max_sessions >= 0, "[model] expected max_sessions >= 0, got {}",
                         options.max_sessions);
    if (config_.vision) {
        vision_.emplace(config_.vision->tower, config_.vision->resampler, weights_->root());
    }
    if (config_.audio) {
        audio_.emplace(config_.audio->encoder, weights_->root());
        try {
            log_mel_ = std::make_shared<const LogMel>(config_.audio->mel);
        } catch (const ArgumentError& error) {  // its numbers are the file's
            fail<ModelFileError>("{} ({})", error.what(), file->path().string());
        }
    }
    if (BookConfig::is_in(*file)) {
        book_speech_.emplace(*file, config_.llm.decoder.n_embd, weights_->root());
        config_.modules.emplace_back("speech");
    } else if (SpeechModel::is_in(*file)) {
        speech_.emplace(*file, config_.llm.decoder.n_embd, weights_->root());
        config_.modules.emplace_back("speech");
    }
    if (options.batches_sessions) {
        batcher_ = std::make_unique<DecodeBatcher>(decoder_, embedding_, head_, backend_);
    }
    for (const std::string& name : weights_->unused()) log(LogLevel::debug, "unused tensor " + name);
}

int Model::n_ctx(int wanted, ggml_type kv_type) const {
    const int most = config_.llm.n_ctx_train;
    check<ArgumentError>(wanted >= 0 && wanted <= most, "[session] expected n_ctx of 0 to {}, got {}", most,
                         wanted);
    if (wanted > 0) {
        if (checks_memory_) MemoryPlanner::check_fit(planner_.plan(wanted, kv_type));
        return wanted;
    }
    if (kv_type == kv_type_ || !checks_memory_) return plan_.n_ctx;
    const MemoryPlan plan = planner_.plan_most(kv_type);
    MemoryPlanner::check_fit(plan);
    return std::min(plan.n_ctx, plan_.n_ctx);
}

std::shared_ptr<const void> Model::admit() const {
    const int n_before = n_session_->fetch_add(1);
    std::shared_ptr<const void> place(nullptr, [count = n_session_](const void*) { --*count; });
    check<SessionLimitError>(max_sessions_ == 0 || n_before < max_sessions_,
                             "[model] expected at most {} conversations at a time, got one more",
                             max_sessions_);
    return place;
}

const VisionEncoder& Model::vision() const {
    check<UnsupportedModelError>(vision_.has_value(), "[model] expected a model that sees, got one {} ({})",
                                 modules_.vision ? "with a language model only" : "loaded without vision",
                                 config_.name);
    return *vision_;
}

const AudioEncoder& Model::audio() const {
    check<UnsupportedModelError>(audio_.has_value(), "[model] expected a model that hears, got one {} ({})",
                                 modules_.audio ? "without an audio encoder" : "loaded without audio",
                                 config_.name);
    return *audio_;
}

const SpeechModel& Model::speech() const {
    const std::string_view absent = modules_.speech ? "without a voice" : "loaded without speech";
    check<UnsupportedModelError>(
        speech_.has_value(), "[model] expected a model that speaks{}, got one {} ({})",
        has_speech() ? " in voices of recordings" : "",
        has_speech() ? "that speaks answers, as its prompt sounds" : absent, config_.name);
    return *speech_;
}

const BookSpeech& Model::book_speech() const {
    const std::string_view absent = modules_.speech ? "without a voice" : "loaded without speech";
    check<UnsupportedModelError>(book_speech_.has_value(),
                                 "[model] expected a model that speaks{}, got one {} ({})",
                                 has_speech() ? " as its prompt sounds" : "",
                                 has_speech() ? "that speaks in voices of recordings" : absent, config_.name);
    return *book_speech_;
}

int Model::sample_rate() const {
    return book_speech_ ? book_speech_->config().vocos.sample_rate_hz : speech().sample_rate();
}

Model::Forward Model::forward(const DecoderInput& input) const {
    const auto n_embd = static_cast<size_t>(config_.llm.decoder.n_embd);
    const size_t n = input.ids.empty() ? input.embeds.size() / n_embd : input.ids.size();
    check<ArgumentError>(n > 0 && n <= static_cast<size_t>(config_.llm.n_ctx_train),
                         "[forward] expected 1 to {} rows, got {}", config_.llm.n_ctx_train, n);
    for (const int32_t id : input.ids) {
        check<ArgumentError>(id >= 0 && id < config_.llm.n_vocab, "[forward] expected ids of 0 to {}, got {}",
                             config_.llm.n_vocab - 1, id);
    }
    Workspace workspace(backend_);
    KvCache cache(decoder_.kv_shape(config_.llm.n_ctx_train, default_kv_type(config_)), backend_);
    Forward result;
    result.hidden = Array<float>({config_.llm.decoder.n_embd, static_cast<int64_t>(n)});
    for (size_t begin = 0; begin < n; begin += kBatch) {
        const size_t count = std::min<size_t>(kBatch, n - begin);
        DecoderInput batch;
        if (input.ids.empty()) {
            batch.embeds = input.embeds.subspan(begin * n_embd, count * n_embd);
        } else {
            batch.ids = input.ids.subspan(begin, count);
        }
        const Head* head = begin + count == n ? &head_ : nullptr;
        DecoderOutput out = decoder_.forward(batch, &embedding_, head, Rows::all, cache, workspace);
        std::copy(out.hidden.data.begin(), out.hidden.data.end(),
                  result.hidden.data.begin() + static_cast<std::ptrdiff_t>(begin * n_embd));
        if (head != nullptr) result.logits = std::move(out.logits);
    }
    return result;
}

ggml_type default_kv_type(const ModelConfig& config) {
    return config.llm.file_type == type_name(GGML_TYPE_F32) ? GGML_TYPE_F32 : GGML_TYPE_F16;
}

}  // namespace minicpmo
