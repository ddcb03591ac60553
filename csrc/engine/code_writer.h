#pragma once
// CodeWriter: what the LLM says in, speech codes out: the first half of a voice. CodeDecoder, the second one,
// makes samples of them. Each kind of voice is a pair of these; see decision 014.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/array.h"

namespace minicpmo {

// What a writer needs of a few tokens: each kind takes its own.
struct SpokenTokens {
    std::vector<int32_t> ids;
    Array<float> hidden;  // [n_embd_llm, n]
    std::string text;     // what they say
    std::vector<float> speaker =
        {};  // [n_embd_llm], the LLM's state that holds the voice; of a turn the same
    bool is_final = false;
};

struct CodeBatch {
    std::vector<int32_t> codes;  // those of one step together
    bool is_last = false;        // of the turn; such a batch may be empty
    bool ends_part = false;      // sound does not go on smoothly behind it; as the last one's does not
};

class CodeWriter {
public:
    virtual ~CodeWriter() = default;
    // The next tokens of the turn. Throws ArgumentError after final ones.
    virtual void feed(const SpokenTokens& tokens) = 0;
    // Codes that these tokens allow; nothing: more tokens are needed, or the last batch was given.
    virtual std::optional<CodeBatch> next_batch() = 0;
    virtual void interrupt() noexcept = 0;  // next_batch() throws InterruptedError; from any thread
};

class CodeDecoder {
public:
    virtual ~CodeDecoder() = default;
    // A new turn. One that streams wants sound of the first codes on, another one of all codes together.
    virtual void begin(bool streams) = 0;
    virtual std::vector<float> decode(const CodeBatch& batch) = 0;
    virtual void interrupt() noexcept = 0;  // decode() throws InterruptedError; from any thread
    virtual void clear_interrupt() noexcept = 0;
    virtual double spectrum_s() const = 0;  // seconds spent since begin()
    virtual double vocoder_s() const = 0;
};

}  // namespace minicpmo
