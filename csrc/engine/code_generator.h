#pragma once
// CodeGenerator: conditions of one spoken turn in, speech codes out, 25 a second of sound. Used by one thread
// at a time; interrupt() from any. Reference: MiniCPMO45/modeling_minicpmo.py MiniCPMTTS.generate and
// generate_chunk, utils.py TTSStreamingGenerator.

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/archive.h"
#include "core/kv_cache.h"
#include "engine/code_writer.h"
#include "engine/tts_config.h"

namespace minicpmo {

struct CodeRules {  // what the ways to speak differ in
    CodeSampling sampling = {};
    int min_codes = 0;  // of a chunk, before it may end
    int max_codes = 500;
    std::optional<int> max_final_codes = {};  // of the final chunk of a turn; max_codes if absent
    bool edges_are_free = false;              // min_codes holds for no first and no final chunk of a turn
    bool looks_past_chunk = true;             // the penalty's history is the turn's, not the chunk's
    bool marks_end_of_text = true;            // text_eos follows a final condition
    bool recomputes = false;                  // a chunk sees the one before it alone
};
CodeRules chat_rules(const TtsConfig& config);       // one chunk: the whole answer
CodeRules streaming_rules(const TtsConfig& config);  // a chunk for every few tokens of a growing answer
CodeRules duplex_rules(const TtsConfig& config);     // a chunk a second

// Where a turn is. A value: a copy taken earlier takes the generator, or another of the same model, back
// there.
struct CodeState {
    struct Chunk {
        Array<float> condition;  // [n_embd, n], the audio_bos row last
        std::vector<int32_t> codes;
        void archive(Archive& archive);
    };
    std::vector<Chunk> window;     // what the model sees, oldest first; the last is in progress or done
    std::vector<uint64_t> cells;   // names of the cache cells that hold its first rows
    std::vector<int32_t> history;  // the last codes that the penalty looks at
    std::vector<int32_t> batch;    // codes on their way into a batch
    int n_chunk = 0;               // fed in this turn
    int n_code = 0;                // of the chunk in progress
    int min_codes = 0;             // of the chunk in progress
    int max_codes = 0;             // of the chunk in progress
    bool is_open = false;          // the chunk in progress has not ended
    bool is_final = false;         // no chunk follows in this turn
    bool is_finished = false;      // the last batch was given
    Rng rng;

    void archive(Archive& archive);
};

class CodeGenerator : public CodeWriter {
public:
    // `lm` must outlive the generator.
    CodeGenerator(const TtsLm& lm, std::shared_ptr<const Backend> backend, ggml_type kv_type,
                  const CodeRules& rules, uint64_t seed = 0);

    // The next chunk of the turn: spoken tokens and their states [n_embd_llm, n], maybe none. The chunk
    // before is over by this, whether it had ended or not. Throws ArgumentError after a final one.
    void feed(std::span<const int32_t> ids, const Array<float>& hidden, bool is_final);
    void feed(const SpokenTokens& tokens) override { feed(tokens.ids, tokens.hidden, tokens.is_final); }
    // The next code of the chunk, or nothing: it has ended. Throws InterruptedError, and can be called again.
    std::optional<int32_t> next();
    // The next n codes. When the chunk ends before: nothing, and the rest waits for the next chunk; of a
    // final one the rest, once, as the last batch.
    std::optional<CodeBatch> next_batch(int n);
    std::optional<CodeBatch> next_batch() override { return next_batch(kBatchCodes); }
    CodeBatch flush();              // what waits, as the last batch: no more text will come
    void reset(uint64_t seed = 0);  // a new turn

    const CodeState& state() const { return state_; }
    // The same with what the model has read of the turn, which going back then repeats to the bit.
    struct Mark {
        CodeState state;
        std::shared_ptr<KvCache> cache;
    };
    Mark mark() const { return {state_, cache_}; }
    void rewind(const Mark& mark);
    void restore(CodeState state);   // throws ArgumentError if it is not of this model
    void archive(Archive& archive);  // the state, and what the cache holds of it
    int n_past() const { return static_cast<int>(state_.cells.size()); }  // positions in the cache
    void interrupt() noexcept override { workspace_.interrupt(); }
    void clear_interrupt() noexcept { workspace_.clear_interrupt(); }

    int max_tokens() const;  // of a chunk

    static constexpr int kBatchCodes = 25;

private:
    int64_t n_row() const;                                // of the window
    std::vector<float> rows(int64_t begin, int64_t end);  // of the window, [n_embd, end - begin]
    std::shared_ptr<KvCache> start() const;
    bool is_ours(const CodeState& state) const;
    int64_t n_known_cells() const;  // of the cache, that hold rows of the turn
    void forget(size_t n_chunk);    // the oldest ones; the rest is to be read again
    void shrink_window();           // so that it leaves the cache room
    Array<float> read();            // what the cache lacks; logits of the last row

    const TtsLm& lm_;
    CodeRules rules_;
    Workspace workspace_;
    std::shared_ptr<const Backend> backend_;
    ggml_type kv_type_;
    std::shared_ptr<KvCache> cache_;  // shared with marks
    CodeState state_;
};

}  // namespace minicpmo
