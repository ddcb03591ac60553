#pragma once
// PromptBuilder: messages to a Prompt: the ids in order, and what computes the embeddings that replace runs
// of them. Reference: modeling_minicpmo.py MiniCPMO.chat and processing_minicpmo.py MiniCPMOProcessor
// (placeholders, scatter).

#include <functional>
#include <memory>
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
    std::optional<bool> use_tts;    // opens the answer as one that is said; absent: if there is sound
    bool omni = false;              // joins the parts of a message without newlines
    bool stream_input = false;      // omni, with the placeholders of sound a second each
    bool hears_whole = false;       // sound is no blocks: each moment of it sees all of it
    bool parse_special = false;     // special tokens in the caller's text count as such
    std::optional<int> max_slices;  // of one picture; the model's own default if absent
    std::optional<bool> use_image_id;
};

// Embeddings that replace ids, computed when they are read: a slice, or sound that is encoded at once.
struct EmbeddingRun {
    int begin = 0;  // index of the first id that it replaces
    int n = 0;
    PartKind kind = PartKind::image;
    std::function<Array<float>(Workspace&)> encode;  // -> [n_embd, n]
    std::optional<MediumRows> content = {};          // absent: they depend on what came before
};

struct Prompt {
    std::string text;                // rendered, slots as the official code prints them
    std::vector<int32_t> ids;        // [n]; <unk> where embeddings go
    std::vector<EmbeddingRun> runs;  // in order; they borrow the media of the messages
    double heard_s = 0;              // length of the sound
};

// One picture ready for the tower. Throws ArgumentError for impossible sizes.
struct PreparedImage {
    Grid grid;
    std::vector<PatchedImage> slices;  // overview first
    std::vector<Digest> digests;       // of their pixels, and of those of later frames and the times
    // Of frames of a video: the same of each after the first, and the times of all.
    std::vector<std::vector<PatchedImage>> later_frames = {};
    std::vector<int32_t> times = {};
};
PreparedImage prepare_image(const VisionConfig& config, const ImageView& image,
                            std::optional<int> max_slices);
// Rows of the tower's table of positions for each patch, [rows * cols].
std::vector<int32_t> slice_position_ids(const VisionConfig& config, const PatchedImage& slice);
Array<float> encode_slice(const Model& model, const PatchedImage& slice,
                          Workspace& workspace);  // -> [n_embd, n_query]
// The same of a slice of several frames at their times.
Array<float> encode_slices(const Model& model, std::span<const PatchedImage> frames,
                           std::span<const int32_t> times, Workspace& workspace);
// The text that stands for a picture of this grid: "<image_id>0</image_id><image><unk>...</image><slice>...".
std::string image_placeholder(const VisionConfig& config, Grid grid, int index,
                              std::optional<bool> use_image_id);
// Pictures and sounds of messages in order; a slot of the template refers to them by index.
struct Media {
    struct Picture {
        ImageView view;
        std::vector<ImageView> later_frames = {};
        std::vector<int32_t> times = {};
    };
    std::vector<Picture> images;
    std::vector<std::span<const float>> sounds;
    std::vector<int> message_of_sound;
    // What a stream made of each sound, [n_embd, n]; empty: the sounds are whole, and encoded when they are
    // read.
    std::vector<std::shared_ptr<const Array<float>>> heard;
};

class PromptBuilder {
public:
    explicit PromptBuilder(const Model& model) : model_(model) {}

    // A whole conversation by the chat template; pictures are numbered from 0.
    Prompt build(std::span<const Message> messages, const PromptOptions& options) const;
    // Segments rendered elsewhere; pictures are numbered from first_image.
    Prompt build(const std::vector<Segment>& segments, const Media& media, const PromptOptions& options,
                 int first_image) const;

private:
    struct Sound;
    PreparedImage prepare_picture(const Media::Picture& picture, const PromptOptions& options) const;
    std::vector<PreparedImage> prepare_images(const Media& media, const PromptOptions& options) const;
    std::vector<Sound> prepare_sounds(const Media& media, const PromptOptions& options) const;
    void append_image(Prompt& prompt, PreparedImage image, int index, const PromptOptions& options) const;
    void append_sound(Prompt& prompt, const Sound& sound, const PromptOptions& options) const;

    const Model& model_;
};

// Splits messages into what the template renders and the media it refers to.
std::vector<ChatMessage> to_chat(std::span<const Message> messages, Media& media);
TemplateOptions to_template_options(const PromptOptions& options, const ChatFormat& format, bool has_sound);

}  // namespace minicpmo
