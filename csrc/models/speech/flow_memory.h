#pragma once
// FlowMemory: a flow's state after a voice, to a VoiceCache and back.

#include <span>

#include "models/speech/flow.h"
#include "models/speech/voice_cache.h"

namespace minicpmo {

// As Flow::start gives it; nothing else may have been heard.
VoiceCache remember_voice(const Flow& flow, const FlowState& state);
// Throws ArgumentError unless the cache is one of such a flow.
FlowState recall_voice(const Flow& flow, const VoiceCache& cache, std::span<const float> speaker,
                       Workspace& workspace);

}  // namespace minicpmo
