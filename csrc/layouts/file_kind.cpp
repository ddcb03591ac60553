#include "layouts/file_kind.h"

namespace minicpmo {

namespace {

struct Mark {
    const char* tensor;
    FileKind kind;
};

// The first tensor that a file has decides.
constexpr Mark kMarks[] = {
    {"head_code.0.weight", FileKind::tts},
    {"emb_code.0.weight", FileKind::tts},
    {"token_embd.weight", FileKind::llm},
    {"resampler.query", FileKind::vision},
    {"encoder.conv1.weight", FileKind::audio},
    {"estimator.in_proj.weight", FileKind::flow_matching},
    {"pre_lookahead_layer.conv1.weight", FileKind::flow_encoder},
    {"spk_embed_affine_layer.weight", FileKind::flow_extra},
    {"f0_predictor.condnet.0.weight", FileKind::vocoder},
    {"prompt_cache.spk_cb", FileKind::prompt_cache},
    {"linear2.weight", FileKind::projector},
};

}  // namespace

FileKind classify(const GgufFile& file) {
    if (file.has("minicpmo.version")) {
        return file.find_tensor("token_embd.weight") != nullptr ? FileKind::model : FileKind::supplement;
    }
    for (const Mark& mark : kMarks) {
        if (file.find_tensor(mark.tensor) != nullptr) return mark.kind;
    }
    return FileKind::other;
}

std::string title(FileKind kind) {
    switch (kind) {
        case FileKind::model:
            return "a whole model";
        case FileKind::supplement:
            return "a supplement";
        case FileKind::llm:
            return "a language model";
        case FileKind::vision:
            return "a vision tower";
        case FileKind::audio:
            return "an audio encoder";
        case FileKind::tts:
            return "a model of speech codes";
        case FileKind::projector:
            return "a projector";
        case FileKind::flow_encoder:
            return "a flow encoder";
        case FileKind::flow_matching:
            return "a flow estimator";
        case FileKind::flow_extra:
            return "tables of a flow";
        case FileKind::vocoder:
            return "a vocoder";
        case FileKind::prompt_cache:
            return "a voice's cache";
        case FileKind::other:
            break;
    }
    return "a file of no known layout";
}

}  // namespace minicpmo
