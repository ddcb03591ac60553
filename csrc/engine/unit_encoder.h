#pragma once
// UnitEncoder: one second of frames and sound to the prompt of its unit, embeddings computed. Reference:
// MiniCPMODuplex.streaming_prefill.

#include <span>
#include <string>
#include <vector>

#include "engine/audio_stream.h"
#include "engine/prompt_builder.h"

namespace minicpmo {

struct UnitFrame {
    ImageView image;
    int max_slices = 1;
};

struct UnitInput {                  // borrowed; any of the three may be absent, but not all
    std::span<const float> audio;   // unit_samples() mono samples at the rate the model hears
    std::vector<UnitFrame> frames;  // in the order in which they are seen
    std::string text;               // that the user writes
};

struct EncodedUnit {
    Prompt prompt;  // its runs hold their embeddings
    double vision_s = 0, audio_s = 0;
    int n_slice = 0;
};

class UnitEncoder {
public:
    explicit UnitEncoder(std::shared_ptr<const Model> model);

    int64_t unit_samples() const { return stream_.chunk_samples(); }
    // Throws ArgumentError before anything is heard; whatever else it throws, what it heard stays heard, see
    // mark().
    EncodedUnit encode(const UnitInput& input);
    void reset() { stream_.reset(); }
    AudioStream::Mark mark() const { return stream_.mark(); }
    void rewind(const AudioStream::Mark& mark) { stream_.rewind(mark); }
    void archive(Archive& archive) { stream_.archive(archive); }

private:
    void append_frame(const PreparedImage& image, EncodedUnit& unit);
    void append_sound(std::span<const float> samples, EncodedUnit& unit);

    std::shared_ptr<const Model> model_;
    Workspace workspace_;
    AudioStream stream_;
};

}  // namespace minicpmo
