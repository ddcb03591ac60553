#include "models/speech/voice.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace minicpmo {

void check_voice(const Voice& voice, const VoiceShape& shape) {
    const auto check_array = [](const char* name, const Array<float>& array, int64_t n_row,
                                int64_t n_column) {
        check<ArgumentError>(array.dim(0) == n_row && array.dim(1) == n_column &&
                                 std::cmp_equal(array.data.size(), n_row * n_column),
                             "[voice] expected {} x {} numbers, got {} x {} ({})", n_row, n_column,
                             array.dim(0), array.dim(1), name);
        check<ArgumentError>(
            std::all_of(array.data.begin(), array.data.end(), [](float x) { return std::isfinite(x); }),
            "[voice] expected finite numbers, got others ({})", name);
    };
    check_array("speaker", voice.speaker, shape.n_speaker, 1);
    if (voice.cache != nullptr) return;  // the flow knows whether it is its own
    const auto n = static_cast<int64_t>(voice.codes.size());
    check<ArgumentError>(n > 0 && n <= shape.max_codes, "[voice] expected 1 to {} codes, got {}",
                         shape.max_codes, n);
    const auto bad = std::find_if(voice.codes.begin(), voice.codes.end(),
                                  [&](int32_t code) { return code < 0 || code >= shape.n_code; });
    check<ArgumentError>(bad == voice.codes.end(), "[voice] expected codes of 0 to {}, got {}",
                         shape.n_code - 1, bad == voice.codes.end() ? 0 : *bad);
    check_array("mel", voice.mel, shape.n_mel, shape.frames_per_code * n);
}

}  // namespace minicpmo
