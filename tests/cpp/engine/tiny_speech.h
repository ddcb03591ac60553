#pragma once
// A tiny model that speaks, what its LLM could have said, and laws of what it says.

#include <string>
#include <utility>
#include <vector>

#include "engine/speech_stream.h"
#include "engine/tiny_session.h"

namespace minicpmo {

// One model for all tests, which change nothing in it.
inline std::shared_ptr<const Model> tiny_speaker(bool has_causal_vocoder = false) {
    static const auto load = [](bool is_causal) {
        return load_tiny(
            {.has_vision = false, .has_audio = false, .has_speech = true, .has_causal_vocoder = is_causal});
    };
    static const std::shared_ptr<const Model> original = load(false);
    static const std::shared_ptr<const Model> causal = load(true);
    return has_causal_vocoder ? causal : original;
}

inline std::vector<int32_t> random_codes(int n, uint64_t seed = 4) {
    Rng rng{seed, 0};
    std::vector<int32_t> codes(static_cast<size_t>(n));
    for (int32_t& code : codes) code = static_cast<int32_t>(rng.next() % 27);
    return codes;
}

// Samples of a turn of so many codes: 40 ms each; more than one window, and the vocoder's delay is silence at
// the start.
inline size_t n_samples_of(int n_code, bool opens_with_silence) {
    constexpr int kSamplesPerCode = 960;
    constexpr int kLookahead = 3;
    constexpr int kWindow = 25 + kLookahead;
    const int n = n_code + (opens_with_silence ? kLookahead : 0);
    return static_cast<size_t>(n * kSamplesPerCode + (n >= kWindow ? 3840 : 0));
}

inline SpokenTokens random_tokens(int n, uint64_t seed, bool is_final = false) {
    Rng rng{seed, 0};
    SpokenTokens tokens;
    for (int i = 0; i < n; ++i) tokens.ids.push_back(static_cast<int32_t>(rng.next() % 256));
    tokens.hidden = Array<float>({kTinyEmbd, n});
    for (float& x : tokens.hidden.data) x = static_cast<float>(4 * rng.uniform() - 2);
    tokens.is_final = is_final;
    return tokens;
}

}  // namespace minicpmo
