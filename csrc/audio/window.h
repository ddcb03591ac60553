#pragma once
// Windows that frames of samples are weighted with. Reference: torch.hann_window.

#include <vector>

namespace minicpmo {

// [n]: Hann's window with the period n, rounded as torch rounds it, whose angles are float32. Beside loud
// bands the difference shows: 2e-5 in the logarithm of quiet ones.
std::vector<float> hann_window(int n);

}  // namespace minicpmo
