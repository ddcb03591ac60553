#pragma once
// MemoryPlan: what a model and its conversations need, module by module, against what the machine has: made
// from the file's headers, before weights are read and anything large is allocated. Reference:
// docs/decisions/013.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/gguf_file.h"
#include "core/kv_cache.h"
#include "core/machine_memory.h"
#include "core/weights.h"
#include "engine/model_config.h"

namespace minicpmo {

struct MemoryNeed {  // all in bytes
    std::string name;
    uint64_t mapped = 0;  // read where it lies in the file: pages that the system drops and reads again
    uint64_t host = 0;    // allocated in the machine's memory
    uint64_t device = 0;  // allocated on the GPU
};

struct MemoryPlan {
    std::vector<MemoryNeed> needs;  // weights of each module, then the context, then what computing takes
    int n_ctx = 0;                  // tokens that each conversation may have
    int n_session = 1;              // conversations at a time that have been counted
    uint64_t kv_bytes_per_token = 0;
    MachineMemory available;

    MemoryNeed total() const;
    bool can_allocate() const;  // what must be allocated fits
    bool fits() const;          // and the file's pages that are read beside it do
    std::string table() const;  // for people, lines without a newline at the end
};

class MemoryPlanner {
public:
    // What the file has is what is needed: see open_model for leaving modules out. Throws what reading a
    // model's configuration throws.
    MemoryPlanner(const GgufFile& file, const ModelConfig& config, bool on_cpu, WeightMemory memory,
                  const MachineMemory& available, int n_session);

    // For so many tokens, whether they fit or not.
    MemoryPlan plan(int n_ctx, ggml_type kv_type) const;
    // The same for as many as the model was trained for, or as fit, but 512 at least: so many that the file's
    // pages fit too, or where that is less than 4096, that what must be allocated does.
    MemoryPlan plan_most(ggml_type kv_type) const;
    // Throws OutOfMemoryError with the table unless what the plan allocates is there; logs a warning where
    // pages of the file have no room.
    static void check_fit(const MemoryPlan& plan);

private:
    void count_weights(const GgufFile& file, WeightMemory memory);
    void count_work(const GgufFile& file, const ModelConfig& config);
    void count_books(const GgufFile& file, const ModelConfig& config);
    void count_speech(const GgufFile& file, const ModelConfig& config);
    MemoryNeed allocated(std::string name, uint64_t n_bytes) const;
    template <class Holds>
    int most_tokens(ggml_type kv_type, Holds holds) const;

    LlmConfig llm_;
    bool on_cpu_;
    MachineMemory available_;
    int n_session_;
    std::vector<MemoryNeed> weights_;
    std::vector<MemoryNeed> work_;  // of one conversation, the language model's aside
};

}  // namespace minicpmo
