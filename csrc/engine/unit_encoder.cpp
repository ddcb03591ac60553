#include "engine/unit_encoder.h"

#include "base/error.h"
#include "base/stopwatch.h"

namespace minicpmo {

namespace {

// Rows that were computed already.
void append_rows(Prompt& prompt, PartKind kind, Array<float> rows, int32_t unk) {
    const auto n = static_cast<int>(rows.dim(1));
    prompt.runs.push_back({static_cast<int>(prompt.ids.size()), n, kind,
                           [rows = std::move(rows)](Workspace&) { return rows; }});
    prompt.ids.insert(prompt.ids.end(), static_cast<size_t>(n), unk);
}

}  // namespace

UnitEncoder::UnitEncoder(std::shared_ptr<const Model> model)
    : model_(std::move(model)), workspace_(model_->backend()), stream_(model_, AudioStreamMode::duplex) {}

EncodedUnit UnitEncoder::encode(const UnitInput& input) {
    const TokenRoles& tokens = model_->config().tokens;
    const bool has_audio = !input.audio.empty();
    check<ArgumentError>(has_audio || !input.frames.empty() || !input.text.empty(),
                         "[unit] expected sound, a frame or text, got nothing");
    check<ArgumentError>(!has_audio || static_cast<int64_t>(input.audio.size()) == unit_samples(),
                         "[unit] expected {} samples of sound, got {}", unit_samples(), input.audio.size());
    std::vector<PreparedImage> images;
    for (const UnitFrame& frame : input.frames) {
        model_->vision();
        images.push_back(prepare_image(*model_->config().vision, frame.image, frame.max_slices));
    }
    EncodedUnit unit;
    unit.prompt.ids.push_back(tokens.unit_start);
    const Stopwatch watch;
    for (const PreparedImage& image : images) append_frame(image, unit);
    unit.vision_s = watch.seconds();
    // NOTE: the reference takes the decision from before the text, which comes last there; here the text
    // comes before the sound, and the decision has read all of it.
    const std::vector<int32_t> text = model_->tokenizer().encode(input.text, false);
    unit.prompt.ids.insert(unit.prompt.ids.end(), text.begin(), text.end());
    if (has_audio) append_sound(input.audio, unit);
    unit.audio_s = watch.seconds() - unit.vision_s;
    return unit;
}

// No number and no line breaks, unlike in a message.
void UnitEncoder::append_frame(const PreparedImage& image, EncodedUnit& unit) {
    const TokenRoles& tokens = model_->config().tokens;
    for (size_t i = 0; i < image.slices.size(); ++i) {
        unit.prompt.ids.push_back(i == 0 ? tokens.image_start : tokens.slice_start);
        append_rows(unit.prompt, PartKind::image, encode_slice(*model_, image.slices[i], workspace_),
                    tokens.unk);
        unit.prompt.ids.push_back(i == 0 ? tokens.image_end : tokens.slice_end);
    }
    unit.n_slice += static_cast<int>(image.slices.size());
}

void UnitEncoder::append_sound(std::span<const float> samples, EncodedUnit& unit) {
    append_rows(unit.prompt, PartKind::audio, stream_.push(samples), model_->config().tokens.unk);
    unit.prompt.heard_s =
        static_cast<double>(samples.size()) / static_cast<double>(model_->config().audio->mel.sample_rate);
}

}  // namespace minicpmo
