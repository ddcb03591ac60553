#include "audio/window.h"

#include <cmath>
#include <numbers>

namespace minicpmo {

std::vector<float> hann_window(int n) {
    const auto step = static_cast<float>(2.0 * std::numbers::pi / n);
    std::vector<float> window;
    for (int i = 0; i < n; ++i) {
        const float angle = static_cast<float>(i) * step;
        const auto cosine = static_cast<float>(std::cos(static_cast<double>(angle)));
        window.push_back(0.5F - 0.5F * cosine);
    }
    return window;
}

}  // namespace minicpmo
