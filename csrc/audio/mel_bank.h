#pragma once
// MelBank: bands of equal width on a mel scale, each a triangle over the bins of a spectrum.
// Reference: librosa.filters.mel for Slaney's scale; torchaudio.compliance.kaldi.get_mel_banks for Kaldi's.

#include <span>
#include <vector>

namespace minicpmo {

enum class MelScale {
    slaney,  // linear up to 1000 Hz; triangles over Hz, of equal area
    kaldi    // logarithmic throughout; triangles over mels, of height 1
};

struct MelBankConfig {
    MelScale scale = MelScale::slaney;
    int n_mel = 80;
    int n_fft = 400;  // the spectrum has n_fft / 2 + 1 bins, up to half the sample rate
    int sample_rate = 16000;
    double low_hz = 0;
    double high_hz = 8000;
};

// Immutable after construction: any number of threads may share one.
class MelBank {
public:
    // Throws ArgumentError unless 0 <= low_hz < high_hz <= sample_rate / 2, with 1 to n_bin bands.
    explicit MelBank(const MelBankConfig& config);

    // bins [n_fft / 2 + 1] -> bands [n_mel]
    void apply(std::span<const float> bins, std::span<float> bands) const;

private:
    struct Band {  // over `count` bins from `first`; weights_[offset ...]
        size_t first = 0;
        size_t count = 0;
        size_t offset = 0;
    };
    std::vector<Band> bands_;
    std::vector<float> weights_;
};

}  // namespace minicpmo
