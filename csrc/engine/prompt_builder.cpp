#include "engine/prompt_builder.h"

#include <algorithm>

#include "base/error.h"
#include "base/stopwatch.h"

namespace minicpmo {

namespace {

std::string repeat(const std::string& text, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += text;
    return out;
}

SliceConfig with_max_slices(SliceConfig slicing, std::optional<int> max_slices) {
    check<ArgumentError>(!max_slices || (*max_slices >= 1 && *max_slices <= 64),
                         "[image] expected max_slice_nums of 1 to 64, got {}", max_slices.value_or(0));
    if (max_slices) slicing.max_slices = *max_slices;
    return slicing;
}

// Where the n_query times <unk> of each slice begin in a placeholder.
std::vector<int> query_places(const std::vector<int32_t>& ids, const TokenRoles& tokens, int n_query) {
    std::vector<int> places;
    for (auto id = ids.begin(); id != ids.end(); ++id) {
        if (*id != tokens.image_start && *id != tokens.slice_start) continue;
        const auto end = std::find_if(id + 1, ids.end(), [&](int32_t other) { return other != tokens.unk; });
        if (end - id - 1 == n_query) places.push_back(static_cast<int>(id + 1 - ids.begin()));
    }
    return places;
}

}  // namespace

PreparedImage prepare_image(const VisionConfig& config, const ImageView& image,
                            std::optional<int> max_slices) {
    const SlicedImage sliced = slice_image(image, with_max_slices(config.slicing, max_slices));
    PreparedImage prepared;
    prepared.grid = sliced.grid;
    for (const Image& slice : sliced.slices)
        prepared.slices.push_back(make_patches(slice.view(), config.patches));
    return prepared;
}

Array<float> encode_slice(const Model& model, const PatchedImage& slice, Workspace& workspace) {
    const VisionEncoder& vision = model.vision();
    const std::vector<int32_t> ids = position_ids(slice.rows, slice.cols, vision.position_grid());
    return vision.encode({slice.pixels, ids, slice.rows, slice.cols}, workspace);
}

std::string image_placeholder(const VisionConfig& config, Grid grid, int index,
                              std::optional<bool> use_image_id) {
    const std::string queries = repeat("<unk>", config.resampler.n_query);
    std::string text;
    if (use_image_id.value_or(config.use_image_id))
        text += "<image_id>" + std::to_string(index) + "</image_id>";
    text += "<image>" + queries + "</image>";
    for (int row = 0; row < grid.rows; ++row) {
        if (row > 0) text += "\n";
        text += repeat("<slice>" + queries + "</slice>", grid.cols);
    }
    return text;
}

std::vector<ChatMessage> to_chat(std::span<const Message> messages, std::vector<ImageView>& views) {
    std::vector<ChatMessage> chat;
    for (const Message& message : messages) {
        ChatMessage& out = chat.emplace_back(ChatMessage{message.role, {}});
        for (const MessagePart& part : message.content) {
            ContentPart content{part.kind, part.text, -1};
            if (part.kind == PartKind::image) {
                content.media = static_cast<int>(views.size());
                views.push_back(part.image);
            }
            out.content.push_back(std::move(content));
        }
    }
    return chat;
}

TemplateOptions to_template_options(const PromptOptions& options) {
    TemplateOptions t;
    t.add_generation_prompt = options.add_generation_prompt;
    t.enable_thinking = options.enable_thinking;
    t.use_tts = options.use_tts;
    t.separator = options.omni ? "" : "\n";
    t.parse_special = options.parse_special;
    return t;
}

Prompt PromptBuilder::build(std::span<const Message> messages, const PromptOptions& options) {
    std::vector<ImageView> views;
    const std::vector<ChatMessage> chat = to_chat(messages, views);
    return build(render_chat(chat, to_template_options(options)), views, options, 0);
}

Prompt PromptBuilder::build(const std::vector<Segment>& segments, std::span<const ImageView> views,
                            const PromptOptions& options, int first_image) {
    // Every picture is cut before the first one is encoded: a bad one fails at once, and the progress has its
    // total.
    std::vector<PreparedImage> images;
    int n_slice = 0;
    for (const ImageView& view : views) {
        model_.vision();
        images.push_back(prepare_image(*model_.config().vision, view, options.max_slices));
        n_slice += static_cast<int>(images.back().slices.size());
    }
    if (progress_ != nullptr) {
        progress_->n_slice_done = 0;
        progress_->n_slice = n_slice;
    }
    Prompt prompt;
    prompt.text = rendered_text(segments);
    prompt.n_slice = n_slice;
    std::vector<TextSpan> pending;
    const auto flush = [&] {
        const std::vector<int32_t> ids = model_.tokenizer().encode(pending);
        prompt.ids.insert(prompt.ids.end(), ids.begin(), ids.end());
        pending.clear();
    };
    int index = first_image;
    for (const Segment& segment : segments) {
        check<UnsupportedModelError>(segment.kind != PartKind::audio,
                                     "[prompt] expected text and images, got audio: {} has no audio encoder",
                                     model_.config().name);
        if (segment.kind == PartKind::text) {
            pending.push_back(segment.span);
            continue;
        }
        flush();  // a placeholder begins and ends with special tokens, so nothing merges across it
        append_image(prompt, images.at(static_cast<size_t>(segment.media)), index++, options);
    }
    flush();
    return prompt;
}

void PromptBuilder::append_image(Prompt& prompt, const PreparedImage& image, int index,
                                 const PromptOptions& options) {
    const VisionConfig& config = *model_.config().vision;
    const TokenRoles& tokens = model_.config().tokens;
    check<ModelFileError>(
        tokens.unk >= 0 && tokens.image_start >= 0 && tokens.slice_start >= 0,
        "[prompt] expected tokens <unk>, <image> and <slice> in the vocabulary of {}, got none",
        model_.config().name);
    const std::string text = image_placeholder(config, image.grid, index, options.use_image_id);
    const std::vector<int32_t> ids = model_.tokenizer().encode(text, true);
    const std::vector<int> places = query_places(ids, tokens, config.resampler.n_query);
    check<ModelFileError>(places.size() == image.slices.size(),
                          "[prompt] expected <unk>, <image> and <slice> to be the tokens that "
                          "the metadata of {} names, got others",
                          model_.config().name);
    const int begin = static_cast<int>(prompt.ids.size());
    prompt.ids.insert(prompt.ids.end(), ids.begin(), ids.end());
    const Stopwatch watch;
    for (size_t i = 0; i < places.size(); ++i) {
        prompt.runs.push_back({begin + places[i], encode_slice(model_, image.slices[i], workspace_)});
        if (progress_ != nullptr) ++progress_->n_slice_done;
    }
    prompt.vision_s += watch.seconds();
}

Array<float> PromptBuilder::embed(const Prompt& prompt) {
    Array<float> rows = model_.embedding().lookup(prompt.ids, workspace_);
    const auto n_embd = static_cast<size_t>(rows.dim(0));
    for (const EmbeddingRun& run : prompt.runs) {
        std::copy(run.rows.data.begin(), run.rows.data.end(),
                  rows.data.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(run.begin) * n_embd));
    }
    return rows;
}

}  // namespace minicpmo
