#include "core/metadata_keys.h"
#include "layouts/adapters.h"
#include "layouts/name_pairs.h"

namespace minicpmo {

namespace {

constexpr int64_t kUsualSteps = 5;

constexpr NamePair kNames[] = {
    {"spk_cb", "spk", Form::as_stored},
    {"conformer_cnn_cache", "cache.encoder_contexts", Form::as_stored},
    {"conformer_att_cache", "cache.encoder_keys_values", Form::as_stored},
    {"estimator_cnn_cache", "cache.estimator_contexts", Form::as_stored},
    {"estimator_att_cache", "cache.estimator_keys_values", Form::as_stored},
};

}  // namespace

void add_prompt_cache(Container& container, const GgufFile& file) {
    const Keys keys(file, "mtmd.prompt_cache.");
    const int64_t n_voice = container.count("minicpmo.voice.count");
    const std::string voice = "voice." + std::to_string(n_voice) + ".";
    container.set("minicpmo.voice.count", n_voice + 1);
    container.set("minicpmo." + voice + "name", std::string("default"));
    container.set("minicpmo." + voice + "cache_steps",
                  int64_t{keys.integer("n_timesteps", 1, 100, kUsualSteps)});
    add_tensors(container, file, kNames, {"prompt_cache.", voice});
}

}  // namespace minicpmo
