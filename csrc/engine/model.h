#pragma once
// Model: the immutable bundle of one model's components, shared by all sessions on it.

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/book_speech.h"
#include "engine/decode_batcher.h"
#include "engine/media_cache.h"
#include "engine/memory_plan.h"
#include "engine/model_config.h"
#include "engine/speech_model.h"
#include "layouts/module_choice.h"
#include "models/audio_encoder.h"
#include "models/vision_encoder.h"

namespace minicpmo {

constexpr size_t kMediaCacheBytes = size_t{128} << 20;  // 128 slices of a model with 4096 features

struct LoadOptions {
    BackendOptions backend;
    std::vector<std::filesystem::path> parts = {};  // the other files of the set
    bool looks_around = true;                       // without parts: takes those beside it
    int max_sessions = 0;                           // conversations at a time; 0: any number
    // Tokens of conversations that answer at the same time are computed together: faster than one by one, but
    // rounding then depends on who else answers.
    bool batches_sessions = false;
    size_t media_cache_bytes = kMediaCacheBytes;  // of embeddings that are kept; 0: none
    ModuleChoice modules = {};  // what else a run needs; the rest is as if the file did not have it
    WeightMemory weight_memory = WeightMemory::mapped;
    // What memory is planned for: most tokens of each conversation, which is also what sessions have that ask
    // for none. 0: what the model was trained for, or what fits.
    int n_ctx = 0;
    std::optional<ggml_type> kv_type = {};        // default_kv_type if absent
    bool checks_memory = true;                    // false: what does not fit is tried all the same
    std::optional<MachineMemory> available = {};  // the machine's if absent
};

class Model {
public:
    // `path`: a file or a folder, as open_model takes it. Throws OutOfMemoryError, before weights are read,
    // when what has to be allocated does not fit.
    static std::shared_ptr<const Model> load(const std::filesystem::path& path,
                                             const LoadOptions& options = {});
    // What load() with the same options would plan, whether it fits or not.
    static MemoryPlan plan_memory(const std::filesystem::path& path, const LoadOptions& options = {});

    const ModelConfig& config() const { return config_; }
    const Tokenizer& tokenizer() const { return tokenizer_; }
    const Decoder& decoder() const { return decoder_; }
    const TokenEmbedding& embedding() const { return embedding_; }
    const Head& head() const { return head_; }
    const VisionEncoder& vision() const;  // throws UnsupportedModelError if the file has none
    const AudioEncoder& audio() const;    // the same
    // Speech is of one of two kinds, in a voice of a recording or in that which the prompt describes. The
    // other one's is refused with UnsupportedModelError, which says what the model can do.
    const SpeechModel& speech() const;
    const BookSpeech& book_speech() const;
    bool has_speech() const { return speech_.has_value() || book_speech_.has_value(); }
    bool has_voices() const { return speech_.has_value(); }  // and speaks in one of them
    int sample_rate() const;  // of what it speaks; throws UnsupportedModelError
    std::shared_ptr<const LogMel> log_mel() const { return log_mel_; }  // of its ears; absent like them
    std::shared_ptr<const Backend> backend() const { return backend_; }
    DecodeBatcher* batcher() const { return batcher_.get(); }  // nullptr without batches_sessions
    MediaCache& media_cache() const { return *media_cache_; }
    // Counts a conversation for as long as it is held. Throws SessionLimitError beyond max_sessions.
    std::shared_ptr<const void> admit() const;
    const MemoryPlan& memory_plan() const { return plan_; }
    // Tokens of a conversation that asks for so many, 0 for no number. Throws ArgumentError beyond what the
    // model was trained for, OutOfMemoryError if they do not fit.
    int n_ctx(int wanted, ggml_type kv_type) const;
    size_t file_bytes() const { return weights_->file().n_bytes(); }
    std::span<const TensorInfo> tensors() const { return weights_->file().tensors(); }  // of the file

    // Ids and given rows through a fresh context, n_batch at a time.
    struct Forward {
        Array<float> logits;  // [n_vocab] of the last row
        Array<float> hidden;  // [n_embd, n] after the final norm
    };
    Forward forward(const DecoderInput& input) const;

private:
    Model(std::shared_ptr<const GgufFile> file, const LoadOptions& options);

    // Components hold tensors of weights_, so it comes before them.
    std::shared_ptr<const Backend> backend_;
    ModelConfig config_;
    ModuleChoice modules_;
    bool checks_memory_ = true;
    ggml_type kv_type_ = GGML_TYPE_F16;
    MemoryPlanner planner_;
    MemoryPlan plan_;
    Tokenizer tokenizer_;
    std::unique_ptr<Weights> weights_;
    Decoder decoder_;
    TokenEmbedding embedding_;
    Head head_;
    std::optional<VisionEncoder> vision_;
    std::optional<AudioEncoder> audio_;
    std::shared_ptr<const LogMel> log_mel_;
    std::optional<SpeechModel> speech_;
    std::optional<BookSpeech> book_speech_;
    std::unique_ptr<DecodeBatcher> batcher_;
    std::unique_ptr<MediaCache> media_cache_;
    std::shared_ptr<std::atomic<int>> n_session_;
    int max_sessions_ = 0;
};

// What "auto" means for the cache: as exact as the weights. F32 weights keep F32, everything else F16.
ggml_type default_kv_type(const ModelConfig& config);

constexpr int kBatch = 512;  // rows of a prompt that run in one graph

}  // namespace minicpmo
