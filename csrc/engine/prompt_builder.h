#pragma once
// PromptBuilder: messages to a Prompt: the ids in order, and the rows of embeddings that replace runs of
// them. Reference: modeling_minicpmo.py MiniCPMO.chat and processing_minicpmo.py MiniCPMOProcessor
// (placeholders, scatter).

#include <atomic>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/message.h"
#include "engine/model.h"

namespace minicpmo {

struct PromptOptions {
    bool add_generation_prompt = true;
    bool enable_thinking = false;
    bool use_tts = false;           // opens the answer with <|tts_bos|>
    bool omni = false;              // joins the parts of a message without newlines
    bool parse_special = false;     // special tokens in the caller's text count as such
    std::optional<int> max_slices;  // of one picture; the model's own default if absent
    std::optional<bool> use_image_id;
};

struct EmbeddingRun {
    int begin = 0;      // index of the first id that it replaces
    Array<float> rows;  // [n_embd, n]
};

struct Prompt {
    std::string text;                // rendered, slots as the official code prints them
    std::vector<int32_t> ids;        // [n]; <unk> where embeddings go
    std::vector<EmbeddingRun> runs;  // in order
    int n_slice = 0;
    double vision_s = 0;  // seconds spent on pictures
};

// Done and total steps of what a session does now, readable from any thread.
struct Progress {
    std::atomic<int> n_slice_done = 0, n_slice = 0;
    std::atomic<int> n_token_done = 0, n_token = 0;
};

// One picture ready for the tower. Throws ArgumentError for impossible sizes.
struct PreparedImage {
    Grid grid;
    std::vector<PatchedImage> slices;  // overview first
};
PreparedImage prepare_image(const VisionConfig& config, const ImageView& image,
                            std::optional<int> max_slices);
Array<float> encode_slice(const Model& model, const PatchedImage& slice,
                          Workspace& workspace);  // -> [n_embd, n_query]
// The text that stands for a picture of this grid: "<image_id>0</image_id><image><unk>...</image><slice>...".
std::string image_placeholder(const VisionConfig& config, Grid grid, int index,
                              std::optional<bool> use_image_id);

class PromptBuilder {
public:
    PromptBuilder(const Model& model, Workspace& workspace, Progress* progress = nullptr)
        : model_(model), workspace_(workspace), progress_(progress) {}

    // A whole conversation by the chat template; pictures are numbered from 0.
    Prompt build(std::span<const Message> messages, const PromptOptions& options);
    // Segments rendered elsewhere; pictures are numbered from first_image. views[i] is the picture of media
    // index i.
    Prompt build(const std::vector<Segment>& segments, std::span<const ImageView> views,
                 const PromptOptions& options, int first_image);
    // All rows as the decoder reads them: [n_embd, n].
    Array<float> embed(const Prompt& prompt);

private:
    void append_image(Prompt& prompt, const PreparedImage& image, int index, const PromptOptions& options);

    const Model& model_;
    Workspace& workspace_;
    Progress* progress_;
};

// Splits messages into what the template renders and the pictures it refers to by index.
std::vector<ChatMessage> to_chat(std::span<const Message> messages, std::vector<ImageView>& views);
TemplateOptions to_template_options(const PromptOptions& options);

}  // namespace minicpmo
