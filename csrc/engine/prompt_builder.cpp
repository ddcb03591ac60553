#include "engine/prompt_builder.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "engine/recording.h"

namespace minicpmo {

namespace {

constexpr size_t kMaxFrames = 16;      // of one picture; the reference packs up to 6
constexpr int32_t kMaxTime = 1 << 20;  // tenths of a second, 29 hours: a float32 still tells them apart

std::string repeat(const std::string& text, int64_t n) {
    std::string out;
    for (int64_t i = 0; i < n; ++i) out += text;
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

Digest digest_of(const ImageView& slice) {
    DigestMaker maker("slice");
    maker.add(slice.width);
    maker.add(slice.height);
    const size_t n_byte =
        static_cast<size_t>(slice.width) * static_cast<size_t>(slice.height) * kImageChannels;
    maker.add(std::span(slice.pixels, n_byte));
    return maker.finish();
}

// Of a slice of several frames, which their times tell from the same frames at others.
Digest digest_of(const Digest& first, std::span<const Digest> later, std::span<const int32_t> times) {
    DigestMaker maker("frames");
    maker.add(std::span<const uint8_t>(first));
    for (const Digest& digest : later) maker.add(std::span<const uint8_t>(digest));
    maker.add(times);
    return maker.finish();
}

}  // namespace

PreparedImage prepare_image(const VisionConfig& config, const ImageView& image,
                            std::optional<int> max_slices) {
    const SlicedImage sliced = slice_image(image, with_max_slices(config.slicing, max_slices));
    PreparedImage prepared;
    prepared.grid = sliced.grid;
    for (const Image& slice : sliced.slices) {
        prepared.slices.push_back(make_patches(slice.view(), config.patches));
        prepared.digests.push_back(digest_of(slice.view()));
    }
    return prepared;
}

std::vector<int32_t> slice_position_ids(const VisionConfig& config, const PatchedImage& slice) {
    if (config.rows_are_joined) return position_ids(1, slice.rows * slice.cols, config.tower.position_grid);
    return position_ids(slice.rows, slice.cols, config.tower.position_grid);
}

Array<float> encode_slice(const Model& model, const PatchedImage& slice, Workspace& workspace) {
    const std::vector<int32_t> ids = slice_position_ids(*model.config().vision, slice);
    return model.vision().encode({slice.pixels, ids, slice.rows, slice.cols}, workspace);
}

Array<float> encode_slices(const Model& model, std::span<const PatchedImage> frames,
                           std::span<const int32_t> times, Workspace& workspace) {
    std::vector<std::vector<int32_t>> ids;
    std::vector<VisionInput> inputs;
    for (const PatchedImage& frame : frames) ids.push_back(slice_position_ids(*model.config().vision, frame));
    for (size_t i = 0; i < frames.size(); ++i)
        inputs.push_back({frames[i].pixels, ids[i], frames[i].rows, frames[i].cols});
    return model.vision().encode_frames(inputs, times, workspace);
}

std::string image_placeholder(const VisionConfig& config, Grid grid, int index,
                              std::optional<bool> use_image_id) {
    const std::string queries = repeat("<unk>", config.resampler.n_query);
    std::string text;
    if (use_image_id.value_or(config.use_image_id))
        text += "<image_id>" + std::to_string(index) + "</image_id>";
    const std::string whole = "<image>" + queries + "</image>";
    text += whole;
    const std::string slice = config.slices_are_images ? whole : "<slice>" + queries + "</slice>";
    const bool has_frame = config.slices_are_images && grid.rows > 0;
    if (has_frame) text += "<slice>";
    for (int row = 0; row < grid.rows; ++row) {
        if (row > 0) text += "\n";
        text += repeat(slice, grid.cols);
    }
    return has_frame ? text + "</slice>" : text;
}

std::vector<ChatMessage> to_chat(std::span<const Message> messages, Media& media) {
    std::vector<ChatMessage> chat;
    for (const Message& message : messages) {
        ChatMessage& out = chat.emplace_back(ChatMessage{message.role, {}});
        for (const MessagePart& part : message.content) {
            ContentPart content{part.kind, part.text, -1};
            if (part.kind == PartKind::image) {
                content.media = static_cast<int>(media.images.size());
                media.images.push_back({part.image, part.later_frames, part.times});
            }
            if (part.kind == PartKind::audio) {
                content.media = static_cast<int>(media.sounds.size());
                media.sounds.push_back(part.audio);
                media.message_of_sound.push_back(static_cast<int>(chat.size()) - 1);
            }
            out.content.push_back(std::move(content));
        }
    }
    return chat;
}

TemplateOptions to_template_options(const PromptOptions& options, const ChatFormat& format, bool has_sound) {
    TemplateOptions t;
    t.format = format;
    t.add_generation_prompt = options.add_generation_prompt;
    t.enable_thinking = options.enable_thinking;
    t.use_tts = options.use_tts.value_or(has_sound);
    t.separator = options.omni || options.stream_input ? "" : "\n";
    t.parse_special = options.parse_special;
    return t;
}

// One sound of a message, and where its embeddings are in the recording of all sounds of that message. Of a
// stream the embeddings themselves.
struct PromptBuilder::Sound {
    std::shared_ptr<Recording> recording;
    std::shared_ptr<const Array<float>> rows;
    int64_t begin = 0;
    int64_t n = 0;
    size_t n_sample = 0;
};

Prompt PromptBuilder::build(std::span<const Message> messages, const PromptOptions& options) const {
    Media media;
    const std::vector<ChatMessage> chat = to_chat(messages, media);
    const TemplateOptions t = to_template_options(options, model_.config().chat, !media.sounds.empty());
    return build(render_chat(chat, t), media, options, 0);
}

Prompt PromptBuilder::build(const std::vector<Segment>& segments, const Media& media,
                            const PromptOptions& options, int first_image) const {
    // Every picture is cut and every sound measured before the first one is encoded: a bad one fails at once.
    std::vector<PreparedImage> images = prepare_images(media, options);
    const std::vector<Sound> sounds = prepare_sounds(media, options);
    Prompt prompt;
    prompt.text = rendered_text(segments);
    std::vector<TextSpan> pending;
    const auto flush = [&] {
        const std::vector<int32_t> ids = model_.tokenizer().encode(pending);
        prompt.ids.insert(prompt.ids.end(), ids.begin(), ids.end());
        pending.clear();
    };
    int index = first_image;
    for (const Segment& segment : segments) {
        if (segment.kind == PartKind::text) {
            pending.push_back(segment.span);
            continue;
        }
        flush();  // a placeholder begins and ends with special tokens, so nothing merges across it
        const auto slot = static_cast<size_t>(segment.media);
        if (segment.kind == PartKind::image) {
            const auto n_frame = static_cast<int>(images.at(slot).later_frames.size()) + 1;
            append_image(prompt, std::move(images.at(slot)), index, options);
            index += n_frame;
        } else {
            append_sound(prompt, sounds.at(slot), options);
        }
    }
    flush();
    return prompt;
}

std::vector<PreparedImage> PromptBuilder::prepare_images(const Media& media,
                                                         const PromptOptions& options) const {
    std::vector<PreparedImage> images;
    for (const Media::Picture& picture : media.images) images.push_back(prepare_picture(picture, options));
    return images;
}

PreparedImage PromptBuilder::prepare_picture(const Media::Picture& picture,
                                             const PromptOptions& options) const {
    model_.vision();
    const VisionConfig& config = *model_.config().vision;
    PreparedImage prepared = prepare_image(config, picture.view, options.max_slices);
    if (picture.times.empty() && picture.later_frames.empty()) return prepared;
    const size_t n_frame = picture.later_frames.size() + 1;
    check<UnsupportedModelError>(config.resampler.has_times,
                                 "[prompt] expected pictures one by one, got {} frames with times as one "
                                 "picture: the resampler of {} has no positions in time",
                                 n_frame, model_.config().name);
    check<ArgumentError>(n_frame <= kMaxFrames && picture.times.size() == n_frame,
                         "[prompt] expected 1 to {} frames and a time for each, got {} and {}", kMaxFrames,
                         n_frame, picture.times.size());
    for (const int32_t time : picture.times) {
        check<ArgumentError>(time >= -1 && time <= kMaxTime,
                             "[prompt] expected times of -1 to {} tenths of a second, got {}", kMaxTime,
                             time);
    }
    prepared.times = picture.times;
    std::vector<std::vector<Digest>> later_digests(prepared.slices.size());
    for (const ImageView& frame : picture.later_frames) {
        PreparedImage later = prepare_image(config, frame, options.max_slices);
        check<ArgumentError>(later.slices.size() == prepared.slices.size(),
                             "[prompt] expected frames of one size to make one picture, got {} and {} slices",
                             prepared.slices.size(), later.slices.size());
        prepared.later_frames.push_back(std::move(later.slices));
        for (size_t i = 0; i < later_digests.size(); ++i) later_digests[i].push_back(later.digests[i]);
    }
    for (size_t i = 0; i < later_digests.size(); ++i)
        prepared.digests[i] = digest_of(prepared.digests[i], later_digests[i], prepared.times);
    return prepared;
}

std::vector<PromptBuilder::Sound> PromptBuilder::prepare_sounds(const Media& media,
                                                                const PromptOptions& options) const {
    std::vector<Sound> sounds;
    for (size_t i = 0; i < media.heard.size(); ++i) {
        sounds.push_back({nullptr, media.heard[i], 0, media.heard[i]->dim(1), media.sounds[i].size()});
    }
    if (!sounds.empty()) return sounds;
    for (size_t first = 0; first < media.sounds.size(); first = sounds.size()) {
        // The sounds of one message are heard as one, so that the encoder knows what came before; each keeps
        // as many embeddings as it would have alone.
        // NOTE: the reference counts through all messages, so that a surplus embedding of one message's sound
        // opens the next one's; here each message has its own.
        std::vector<std::span<const float>> parts;
        int64_t n_token = 0;
        for (size_t i = first;
             i < media.sounds.size() && media.message_of_sound[i] == media.message_of_sound[first]; ++i) {
            parts.push_back(media.sounds[i]);
            const int64_t n = audio_token_count(model_, static_cast<int64_t>(media.sounds[i].size()));
            sounds.push_back({nullptr, nullptr, n_token, n, media.sounds[i].size()});
            n_token += n;
        }
        const AudioConfig& config = *model_.config().audio;
        const int block = options.hears_whole ? 0 : attention_block(config, config.chunk_s);
        const auto recording = std::make_shared<Recording>(model_, std::move(parts), block, n_token);
        check<ArgumentError>(n_token > 0,
                             "[audio] expected sound of at least one embedding ({} ms), got {} "
                             "samples",
                             1000 * config.encoder.pool_step / 50, sounds.back().n_sample);
        for (size_t i = first; i < sounds.size(); ++i) sounds[i].recording = recording;
    }
    return sounds;
}

void PromptBuilder::append_image(Prompt& prompt, PreparedImage image, int index,
                                 const PromptOptions& options) const {
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
    for (size_t i = 0; i < places.size(); ++i) {
        std::vector<PatchedImage> frames = {std::move(image.slices[i])};
        for (std::vector<PatchedImage>& later : image.later_frames) frames.push_back(std::move(later[i]));
        const auto encode = [&model = model_, frames = std::move(frames),
                             times = image.times](Workspace& workspace) {
            return times.empty() ? encode_slice(model, frames.front(), workspace)
                                 : encode_slices(model, frames, times, workspace);
        };
        prompt.runs.push_back({begin + places[i], config.resampler.n_query, PartKind::image, encode,
                               MediumRows{image.digests[i], 0}});
    }
}

void PromptBuilder::append_sound(Prompt& prompt, const Sound& sound, const PromptOptions& options) const {
    const AudioConfig& config = *model_.config().audio;
    const TokenRoles& tokens = model_.config().tokens;
    check<ModelFileError>(
        tokens.unk >= 0 && tokens.audio_start >= 0 && tokens.audio_end >= 0,
        "[prompt] expected tokens <unk>, <|audio_start|> and <|audio_end|> in the vocabulary of {}, got none",
        model_.config().name);
    const int64_t per_second =
        audio_token_count(model_, std::lround(config.chunk_s * static_cast<float>(config.mel.sample_rate)));
    const bool is_cut = options.stream_input || config.tags_chunks || sound.rows != nullptr;
    const int64_t per_group = std::max<int64_t>(is_cut ? per_second : sound.n, 1);
    const int64_t per_piece = sound.rows != nullptr ? per_group : sound.recording->tokens_per_piece();
    const auto add_run = [&](int64_t row, int64_t n) {
        std::function<Array<float>(Workspace&)> encode;
        std::optional<MediumRows> content;
        if (sound.rows != nullptr) {
            encode = [rows = sound.rows, row, n](Workspace&) {
                const int64_t n_embd = rows->dim(0);
                Array<float> part({n_embd, n});
                std::copy_n(rows->data.begin() + row * n_embd, n * n_embd, part.data.begin());
                return part;
            };
        } else {
            encode = [recording = sound.recording, row, n](Workspace& workspace) {
                return recording->rows(row, n, workspace);
            };
            content = MediumRows{sound.recording->digest(row), static_cast<int32_t>(row % per_piece)};
        }
        prompt.runs.push_back({static_cast<int>(prompt.ids.size()), static_cast<int>(n), PartKind::audio,
                               std::move(encode), content});
        prompt.ids.insert(prompt.ids.end(), static_cast<size_t>(n), tokens.unk);
    };
    // Sound that filled no second of a stream yet leaves no trace.
    const int64_t n_least = sound.rows != nullptr ? 0 : 1;
    for (int64_t group = 0; group < std::max(sound.n, n_least); group += per_group) {
        const int64_t group_end = std::min(group + per_group, sound.n);
        prompt.ids.push_back(tokens.audio_start);
        for (int64_t at = group; at < group_end;) {
            const int64_t row = sound.begin + at;
            const int64_t n = std::min(group_end - at, per_piece - row % per_piece);
            add_run(row, n);
            at += n;
        }
        prompt.ids.push_back(tokens.audio_end);
    }
    prompt.heard_s += static_cast<double>(sound.n_sample) / config.mel.sample_rate;
}

}  // namespace minicpmo
