#pragma once
// BookWriter: text of one spoken turn in, codes of several code books out. Used by one thread at a time;
// interrupt() from any. Reference: MiniCPM-o 2.6, modeling_minicpmo.py _generate_mel_spec_audio_streaming
// and ConditionalChatTTS.generate.

#include <memory>
#include <vector>

#include "base/rng.h"
#include "core/kv_cache.h"
#include "engine/book_config.h"
#include "engine/code_writer.h"
#include "engine/spoken_text.h"

namespace minicpmo {

class BookWriter : public CodeWriter {
public:
    // What it is given must outlive it.
    BookWriter(const ConditionalTts& lm, const WordPieceEncoder& encoder, const BookConfig& config,
               std::shared_ptr<const Backend> backend, ggml_type kv_type, uint64_t seed);

    void feed(const SpokenTokens& tokens) override;
    std::optional<CodeBatch> next_batch() override;
    void interrupt() noexcept override { workspace_.interrupt(); }

    static constexpr int kBatchSteps = 25;  // of one call; reference: output_chunk_size
    static constexpr int kSeedSteps = 50;   // that a part takes over from the one before; reference: aid_len

private:
    CodeBatch write();                       // the next steps
    void read_text(int end, bool with_end);  // of the part, from what was read
    void open();
    void next_part();

    const ConditionalTts& lm_;
    BookConfig config_;
    Workspace workspace_;
    std::shared_ptr<const Backend> backend_;
    ggml_type kv_type_;
    std::unique_ptr<KvCache> cache_;
    SpokenText text_;
    std::vector<float> speaker_;
    std::vector<int32_t> steps_;  // codes of this part, with those it goes on from
    Rng rng_;
    int n_chunk_ = 0;  // of text that the part has read
    bool is_first_part_ = true;
    bool has_piece_ = false;    // a piece of text that was not looked at yet
    bool is_final_ = false;     // no text follows
    bool is_ending_ = false;    // of the part all text was read
    bool has_ended_ = false;    // the part has
    bool is_finished_ = false;  // the last batch was given
};

}  // namespace minicpmo
