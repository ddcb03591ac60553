#pragma once
// BookDecoder: codes of several code books to samples. Used by one thread at a time; interrupt() from any.
// Reference: MiniCPM-o 2.6, modeling_minicpmo.py decode_to_mel_specs, decode_mel_to_audio and
// _linear_overlap_add2_wav.

#include <memory>
#include <span>
#include <vector>

#include "engine/code_writer.h"
#include "engine/model.h"

namespace minicpmo {

class BookDecoder : public CodeDecoder {
public:
    explicit BookDecoder(std::shared_ptr<const Model> model);  // throws UnsupportedModelError

    // A turn that streams is decoded batch by batch: each with the last steps of the one before in front,
    // faded into it, and given out one batch later. Another one is decoded part by part.
    void begin(bool streams) override;
    std::vector<float> decode(const CodeBatch& batch) override;
    void interrupt() noexcept override { workspace_.interrupt(); }
    void clear_interrupt() noexcept override { workspace_.clear_interrupt(); }
    double spectrum_s() const override { return dvae_s_; }
    double vocoder_s() const override { return vocos_s_; }

    static constexpr int kOverlapSteps = 4;

    // `next` begins with the last `overlap` samples of `held` once more: what lies between them is weighed,
    // by triangles over both. Behind it, `next` without what is in `held` now.
    static void fade(std::vector<float>& held, std::vector<float>& next, size_t overlap);

private:
    std::vector<float> sound(std::span<const int32_t> codes);

    std::shared_ptr<const Model> model_;
    Workspace workspace_;
    bool streams_ = false;
    std::vector<int32_t> codes_;  // that wait for their part to end, or are seen once more
    std::vector<float> held_;     // samples that the next ones are faded into
    double dvae_s_ = 0;
    double vocos_s_ = 0;
};

}  // namespace minicpmo
