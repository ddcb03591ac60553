#pragma once
// How much memory computing can take, in bytes: bounds derived from the sizes of a model, before any graph is
// built. Those of scratch memory count the values that a layer keeps at the same time, and a quarter more for
// the gaps that an allocator leaves. Reference: the graphs in csrc/models.

#include <cstdint>

#include "engine/book_config.h"
#include "engine/flow_config.h"
#include "engine/model_config.h"
#include "engine/vocoder_config.h"
#include "engine/voice_config.h"

namespace minicpmo {

// n_row rows read at once, n_kv cells seen; n_logit values leave, and every row's state.
uint64_t decoder_scratch(const DecoderConfig& decoder, int64_t n_row, int64_t n_kv, int64_t n_logit);
// Of a slice; pictures a hundred times as wide as high make larger ones.
uint64_t vision_scratch(const VisionConfig& vision);
uint64_t audio_scratch(const AudioConfig& audio);  // of a piece as long as the positions allow
// Of a recording as long as a voice may be, which is heard once; the memory is given back then.
uint64_t voice_scratch(const VoiceConfig& voice);
// Of a voice of so many codes, which is read at once.
uint64_t flow_scratch(const FlowConfig& flow, int n_code);
// Of so many steps of several code books, which are decoded at once, and of the frames that they become; the
// second with the spectra and sums that samples are made of.
uint64_t dvae_scratch(const DvaeConfig& dvae, int n_step);
uint64_t vocos_scratch(const VocosConfig& vocos, int n_frame);
uint64_t vocoder_scratch(const VocoderConfig& vocoder, int n_frame);
// What a stream of speech keeps: the flow's state after a voice of so many codes, twice, and its growing
// once; value_bytes: of a cached number. And the tables of noise.
uint64_t flow_state(const FlowConfig& flow, int n_step, int n_code, int value_bytes);
uint64_t noise_tables(const FlowConfig& flow, const VocoderConfig& vocoder);

}  // namespace minicpmo
