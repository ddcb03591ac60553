#include "base/error.h"
#include "core/mapped_file.h"
#include "core/metadata_keys.h"
#include "layouts/adapters.h"
#include "layouts/name_pairs.h"

namespace minicpmo {

namespace {

// Rows of the table of text, which published files do not name.
constexpr int64_t kAudioBos = 151687;
constexpr int64_t kTextEos = 151692;

constexpr NamePair kNames[] = {
    {"emb_text", "tts.emb_text", Form::weight},
    {"emb_code.0", "tts.emb_code", Form::weight},
    {"output_norm", "tts.output_norm", Form::weight},
};
constexpr NamePair kLayerNames[] = {
    {"attn_norm", "attn_norm", Form::weight},     {"attn_q", "attn_q", Form::weight},
    {"attn_k", "attn_k", Form::weight},           {"attn_v", "attn_v", Form::weight},
    {"attn_output", "attn_output", Form::weight}, {"ffn_norm", "ffn_norm", Form::weight},
    {"ffn_gate", "ffn_gate", Form::weight},       {"ffn_up", "ffn_up", Form::weight},
    {"ffn_down", "ffn_down", Form::weight},
};
constexpr NamePair kProjectorInside[] = {{"projector_semantic.linear1", "tts.projector.linear1"},
                                         {"projector_semantic.linear2", "tts.projector.linear2"}};
constexpr NamePair kProjectorAlone[] = {{"linear1", "tts.projector.linear1"},
                                        {"linear2", "tts.projector.linear2"}};

// The head of codes is stored the other way round in published files, not in all others.
void add_head(Container& container, const GgufFile& file, int64_t n_embd) {
    const TensorInfo& head = find_tensor(file, "head_code.0.weight", 2);
    if (head.ne[0] == n_embd) {
        container.link(file, head, "tts.head_code.weight");
    } else {
        container.add(transposed(head), "tts.head_code.weight");
    }
}

int64_t add_projector(Container& container, const GgufFile& file, const GgufFile* projector) {
    const std::string inside = "projector_semantic.linear1.weight";
    if (file.find_tensor(inside) != nullptr) {
        add_tensors(container, file, kProjectorInside);
        return find_tensor(file, inside, 2).ne[0];
    }
    check<ModelFileError>(projector != nullptr,
                          "[layout] expected a tensor {}, or a projector's file, got none ({})", inside,
                          utf8_path(file.path()));
    add_tensors(container, *projector, kProjectorAlone);
    return find_tensor(*projector, "linear1.weight", 2).ne[0];
}

}  // namespace

void add_tts(Container& container, const GgufFile& file, const GgufFile* projector) {
    const Keys keys(file, "llama.");
    const int n_layer = keys.integer("block_count", 1, kMaxLayers);
    const int n_embd = keys.integer("embedding_length", 1, kMaxWidth);
    const int n_head = keys.integer("attention.head_count", 1, kMaxLayers);
    const int64_t n_code = find_tensor(file, "emb_code.0.weight", 2).ne[1];
    const int n_turned = std::max(2, n_embd / n_head);
    const auto number = [&](const char* key, int64_t value) {
        container.set(std::string("minicpmo.tts.") + key, value);
    };
    number("block_count", n_layer);
    number("embedding_length", n_embd);
    number("feed_forward_length", keys.integer("feed_forward_length", 1, kMaxWidth));
    number("attention.head_count", n_head);
    number("attention.head_count_kv", keys.integer("attention.head_count_kv", 1, n_head, n_head));
    number("attention.key_length", keys.integer("rope.dimension_count", 2, 1024, n_turned));
    container.set("minicpmo.tts.attention.layer_norm_rms_epsilon",
                  double{keys.number("attention.layer_norm_rms_epsilon", 0.0, 1.0)});
    container.set("minicpmo.tts.rope.freq_base", double{keys.number("rope.freq_base", 1.0, 1e12, 10000.0)});
    container.set("minicpmo.tts.rope.pairs", std::string("neighbours"));  // rows lie as llama.cpp wants them
    number("context_length", keys.integer("context_length", 1, kMaxTokens));
    number("num_vq", 1);
    number("num_audio_tokens", n_code);
    number("num_text_tokens", find_tensor(file, "emb_text.weight", 2).ne[1]);
    number("audio_bos_token_id", kAudioBos);
    number("text_eos_token_id", kTextEos);
    number("audio_eos_code", n_code - 1);
    container.set("minicpmo.tts.normalize_projected_hidden", true);
    container.set("minicpmo.tts.condition_type", std::string("hidden_text_merge"));
    container.set("minicpmo.tts.attention_type", std::string("full_attention"));

    number("llm_embedding_length", add_projector(container, file, projector));
    add_head(container, file, n_embd);
    add_tensors(container, file, kNames);
    for (int layer = 0; layer < n_layer; ++layer)
        add_tensors(container, file, kLayerNames, layer_prefix("blk", "tts.blk", layer));
}

}  // namespace minicpmo
