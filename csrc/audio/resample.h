#pragma once
// Samples at another rate, by a sinc filter under Hann's window that keeps what is below half the lower rate.
// Reference: torchaudio.functional.resample with its defaults.

#include <span>
#include <vector>

namespace minicpmo {

// n samples at `from` Hz -> ceil(n * to / from) samples at `to` Hz; beyond both ends is silence. Throws
// ArgumentError for rates beyond 1 to 384000.
std::vector<float> resample(std::span<const float> samples, int from, int to);

}  // namespace minicpmo
