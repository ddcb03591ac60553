#include "engine/model_config.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/error.h"
#include "core/metadata_keys.h"
#include "core/quantize.h"

namespace minicpmo {

namespace {

// The facts behind an architecture's name that its metadata does not state.
struct ArchFacts {
    nn::RopePairs pairs;
    bool is_scaled = false;  // the scales that a file leaves out are those of the first MiniCPM, not 1
};
const std::map<std::string, ArchFacts, std::less<>> kArchs = {
    {"qwen3", {nn::RopePairs::halves}},
    {"qwen2", {nn::RopePairs::halves}},
    {"llama", {nn::RopePairs::neighbours}},
    {"minicpm", {nn::RopePairs::neighbours, true}},
};

// What stands in tokenizer.ggml.pre, and what it says of words.
struct PreFacts {
    const char* name;
    size_t max_digits;
    bool normalises, keeps_words;
};
constexpr PreFacts kPres[] = {
    {"qwen2", 1, true, false},
    {"llama-bpe", 3, false, true},
    {"llama-v3", 3, false, true},
    {"llama3", 3, false, true},
};

std::string llm_arch(const GgufFile& file) {
    const auto arch = file.get<std::string>("general.architecture");
    if (arch != "minicpmo") return arch;
    const auto version = file.get<int64_t>("minicpmo.version");
    check<UnsupportedModelError>(version == 1,
                                 "[config] expected minicpmo.version 1, got {} ({}); use a newer build",
                                 version, file.path().string());
    return file.get<std::string>("minicpmo.llm.arch");
}

nn::RopeConfig read_rope(const Keys& keys, const std::string& arch, int d_head) {
    nn::RopeConfig rope;
    rope.n_dims = keys.integer("rope.dimension_count", 2, d_head, d_head);
    check<ModelFileError>(rope.n_dims % 2 == 0,
                          "[config] key {}rope.dimension_count: expected an even number, got {}",
                          keys.prefix(), rope.n_dims);
    rope.base = keys.number("rope.freq_base", 1.0, 1e12, 10000.0);
    rope.pairs = kArchs.find(arch)->second.pairs;
    const auto scaling = keys.file().get_or<std::string>(keys.prefix() + "rope.scaling.type", "none");
    if (scaling == "linear") {
        rope.scale = 1.0F / keys.number("rope.scaling.factor", 1e-3, 1e6, 1.0);
    } else if (scaling == "longrope") {  // factors are tensors; without them nothing is scaled
        const int n_ctx = keys.integer("context_length", 1, kMaxTokens);
        rope.n_ctx_short = keys.integer("rope.scaling.original_context_length", 1, kMaxTokens, n_ctx);
        rope.attn_factor = keys.number("rope.scaling.attn_factor", 1e-3, 1e3, 1.0);
    } else {
        check<UnsupportedModelError>(scaling == "none",
                                     "[config] expected rope.scaling.type none, linear or longrope, got {}",
                                     scaling);
    }
    return rope;
}

LlmConfig read_llm(const GgufFile& file) {
    LlmConfig llm;
    llm.arch = llm_arch(file);
    check<UnsupportedModelError>(
        kArchs.contains(llm.arch),
        "[config] expected a language model of architecture qwen3, qwen2, llama or minicpm, got {} ({})",
        llm.arch, file.path().string());
    const Keys keys(file, llm.arch + ".");
    DecoderConfig& d = llm.decoder;
    d.n_layer = keys.integer("block_count", 1, kMaxLayers);
    d.n_embd = keys.integer("embedding_length", 1, kMaxWidth);
    d.n_ff = keys.integer("feed_forward_length", 1, kMaxWidth);
    d.n_head = keys.integer("attention.head_count", 1, kMaxLayers);
    d.n_head_kv = keys.integer("attention.head_count_kv", 1, d.n_head, d.n_head);
    check<ModelFileError>(d.n_head % d.n_head_kv == 0,
                          "[config] expected {}.attention.head_count_kv to divide {} heads, got {}", llm.arch,
                          d.n_head, d.n_head_kv);
    d.d_head = keys.integer("attention.key_length", 2, 1024, std::max(2, d.n_embd / d.n_head));
    const int d_value = keys.integer("attention.value_length", 2, 1024, d.d_head);
    check<UnsupportedModelError>(d_value == d.d_head && d.d_head % 2 == 0,
                                 "[config] expected keys and values of one even width, got {} and {}",
                                 d.d_head, d_value);
    d.norm_eps = keys.number("attention.layer_norm_rms_epsilon", 0.0, 1.0);
    d.rope = read_rope(keys, llm.arch, d.d_head);
    const bool is_scaled = kArchs.find(llm.arch)->second.is_scaled;
    d.residual_scale = keys.number("residual_scale", 1e-6, 1e6, is_scaled ? 1.4 / std::sqrt(d.n_layer) : 1.0);
    llm.embedding_scale = keys.number("embedding_scale", 1e-6, 1e6, is_scaled ? 12.0 : 1.0);
    llm.logit_scale = keys.number("logit_scale", 1e-6, 1e6, is_scaled ? d.n_embd / 256.0 : 1.0);
    d.qk_norm = file.find_tensor("blk.0.attn_q_norm.weight") != nullptr;
    llm.n_ctx_train = keys.integer("context_length", 1, kMaxTokens);
    const TensorInfo* embedding = file.find_tensor("token_embd.weight");
    check<ModelFileError>(embedding != nullptr, "[config] expected a tensor token_embd.weight, got none ({})",
                          file.path().string());
    check<ModelFileError>(embedding->ne[1] >= 1 && embedding->ne[1] <= kMaxTokens,
                          "[config] expected 1 to {} rows in token_embd.weight, got {}", kMaxTokens,
                          embedding->ne[1]);
    llm.n_vocab = static_cast<int>(embedding->ne[1]);
    const TensorInfo* ffn = file.find_tensor("blk.0.ffn_gate.weight");
    llm.file_type = ffn != nullptr ? type_name(ffn->type) : "unknown";
    return llm;
}

VisionConfig read_vision(const GgufFile& file, int n_embd_llm) {
    const Keys keys(file, "minicpmo.vision.");
    const Keys resampler_keys(file, "minicpmo.resampler.");
    VisionConfig v;
    v.tower.n_layer = keys.integer("block_count", 1, kMaxLayers);
    v.tower.n_embd = keys.integer("embedding_length", 1, kMaxWidth);
    v.tower.n_ff = keys.integer("feed_forward_length", 1, kMaxWidth);
    v.tower.n_head = keys.integer("attention.head_count", 1, kMaxLayers);
    v.tower.norm_eps = keys.number("attention.layer_norm_epsilon", 0.0, 1.0);
    v.tower.patch_size = keys.integer("patch_size", 1, 64);
    v.tower.position_grid = keys.integer("position_grid", 1, 1024);
    v.resampler.n_query = resampler_keys.integer("query_num", 1, 4096);
    v.resampler.n_embd = resampler_keys.integer("embedding_length", 4, kMaxWidth);
    v.resampler.n_head = resampler_keys.integer("attention.head_count", 1, kMaxLayers);
    v.resampler.n_embd_vision = v.tower.n_embd;
    v.resampler.has_times = file.get_or<bool>("minicpmo.resampler.temporal_ids", false);
    v.resampler.output_scale = resampler_keys.number("embedding_scale_folded", 1e-6, 1e6, 1.0);
    check<ModelFileError>(
        v.tower.n_embd % v.tower.n_head == 0 && v.resampler.n_embd % v.resampler.n_head == 0,
        "[config] expected heads that divide the width, got {} of {} (vision), {} of {} (resampler)",
        v.tower.n_head, v.tower.n_embd, v.resampler.n_head, v.resampler.n_embd);
    check<ModelFileError>(v.resampler.n_embd == n_embd_llm && n_embd_llm % 4 == 0,
                          "[config] expected a resampler as wide as the language model ({}), got {}",
                          n_embd_llm, v.resampler.n_embd);
    v.slicing.scale_resolution = keys.integer("scale_resolution", v.tower.patch_size, 4096);
    v.slicing.patch_size = v.tower.patch_size;
    v.slicing.max_slices = keys.integer("max_slice_nums", 1, 64, 9);
    v.patches.patch_size = v.tower.patch_size;
    const auto mean = file.get<std::vector<double>>("minicpmo.vision.image_mean");
    const auto std = file.get<std::vector<double>>("minicpmo.vision.image_std");
    check<ModelFileError>(mean.size() == 3 && std.size() == 3,
                          "[config] expected 3 image means and deviations, got {}, {}", mean.size(),
                          std.size());
    for (size_t i = 0; i < 3; ++i) {
        check<ModelFileError>(std::isfinite(mean[i]) && std[i] > 0.0 && std::isfinite(std[i]),
                              "[config] expected finite image means and positive deviations, got {}, {}",
                              mean[i], std[i]);
        v.patches.mean[i] = static_cast<float>(mean[i]);
        v.patches.std[i] = static_cast<float>(std[i]);
    }
    v.use_image_id = file.get_or<bool>("minicpmo.vision.use_image_id", true);
    const auto style = file.get_or<std::string>("minicpmo.vision.slice_style", "2.6");
    check<UnsupportedModelError>(style == "2.6" || style == "2.5",
                                 "[config] expected minicpmo.vision.slice_style 2.5 or 2.6, got {}", style);
    v.slices_are_images = style == "2.5";
    v.rows_are_joined = file.get_or<bool>("minicpmo.vision.rows_are_joined", false);
    return v;
}

AudioConfig read_audio(const GgufFile& file, int n_embd_llm) {
    const Keys keys(file, "minicpmo.audio.");
    AudioConfig a;
    a.mel.sample_rate = keys.integer("sample_rate", 1000, 192000, a.mel.sample_rate);
    a.mel.n_fft = keys.integer("n_fft", 16, 1 << 16, a.mel.n_fft);
    a.mel.hop = keys.integer("hop_length", 1, 4096, a.mel.hop);
    a.mel.n_mel = keys.integer("n_mel", 1, 1024);
    WhisperConfig& w = a.encoder.whisper;
    w.n_mel = a.mel.n_mel;
    w.n_layer = keys.integer("block_count", 1, kMaxLayers);
    w.n_embd = keys.integer("embedding_length", 1, kMaxWidth);
    w.n_ff = keys.integer("feed_forward_length", 1, kMaxWidth);
    w.n_head = keys.integer("attention.head_count", 1, kMaxLayers);
    w.n_position = keys.integer("max_positions", 2, 1 << 16);
    a.mel.max_samples = 2 * w.n_position * a.mel.hop;  // what the positions can hold
    w.norm_eps = keys.number("layer_norm_epsilon", 0.0, 1.0, 1e-5);
    a.encoder.n_embd = n_embd_llm;
    a.encoder.pool_step = keys.integer("pool_step", 1, 1024);
    a.chunk_s = keys.number("chunk_length_s", 0.02, 30.0, 1.0);
    a.tags_chunks = file.get_or<bool>("minicpmo.audio.tags_chunks", false);
    a.chunks_stand_alone = file.get_or<bool>("minicpmo.audio.chunks_stand_alone", false);
    check<ModelFileError>(w.n_embd % w.n_head == 0,
                          "[config] expected audio heads that divide the width, got {} of {}", w.n_head,
                          w.n_embd);
    return a;
}

TokenRoles read_token_roles(const GgufFile& file, int n_vocab) {
    const Keys keys(file, "minicpmo.tokens.");
    TokenRoles roles;
    const auto id = [&](const std::string& role) { return keys.integer(role, -1, n_vocab - 1, -1); };
    roles.unk = id("unk");
    roles.image_start = id("image_start");
    roles.image_end = id("image_end");
    roles.slice_start = id("slice_start");
    roles.slice_end = id("slice_end");
    roles.image_id_start = id("image_id_start");
    roles.image_id_end = id("image_id_end");
    roles.audio_start = id("audio_start");
    roles.audio_end = id("audio_end");
    roles.im_end = id("im_end");
    roles.tts_bos = id("tts_bos");
    roles.spk = id("spk");
    roles.tts_eos = id("tts_eos");
    roles.tts_pad = id("tts_pad");
    roles.unit_start = id("unit_start");
    roles.unit_end = id("unit_end");
    roles.listen = id("listen");
    roles.speak = id("speak");
    roles.turn_eos = id("turn_eos");
    roles.chunk_eos = id("chunk_eos");
    roles.chunk_tts_eos = id("chunk_tts_eos");
    const auto ids = [&](const char* key) {
        std::vector<int32_t> found;
        if (!file.has(key)) return found;
        for (const int64_t token : file.get<std::vector<int64_t>>(key)) {
            check<ModelFileError>(token >= 0 && token < n_vocab, "[config] key {}: expected 0 to {}, got {}",
                                  key, n_vocab - 1, token);
            found.push_back(static_cast<int32_t>(token));
        }
        return found;
    };
    roles.special = ids("minicpmo.tokens.special");
    roles.unspoken = ids("minicpmo.bad_token_ids");
    std::vector<int64_t> stop;
    if (file.has("minicpmo.tokens.stop")) {
        stop = file.get<std::vector<int64_t>>("minicpmo.tokens.stop");
    } else {
        for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
            if (file.has(key)) stop.push_back(file.get<int64_t>(key));
        }
    }
    for (const int64_t token : stop) {
        check<ModelFileError>(token >= 0 && token < n_vocab,
                              "[config] expected stop tokens of 0 to {}, got {}", n_vocab - 1, token);
        roles.stop.push_back(static_cast<int32_t>(token));
    }
    return roles;
}

ChatFormat read_chat(const GgufFile& file) {
    ChatFormat chat = read_chat_format(file.get_or<std::string>("tokenizer.chat_template", ""));
    chat.spoken_begin = file.get_or<std::string>("minicpmo.chat.spoken_begin", chat.spoken_begin);
    chat.user_instructs = file.get_or<bool>("minicpmo.chat.user_instructs", false);
    // Where sentence pieces do not say so, they begin a text with a token of their own.
    const bool is_pieces = file.get_or<std::string>("tokenizer.ggml.model", "") == "llama";
    const bool adds_begin = file.get_or<bool>("tokenizer.ggml.add_bos_token", is_pieces);
    if (chat.begin.empty() && adds_begin && file.has("tokenizer.ggml.bos_token_id")) {
        const auto tokens = file.get<std::vector<std::string>>("tokenizer.ggml.tokens");
        const auto id = file.get<int64_t>("tokenizer.ggml.bos_token_id");
        check<ModelFileError>(id >= 0 && std::cmp_less(id, tokens.size()),
                              "[config] key tokenizer.ggml.bos_token_id: expected 0 to {}, got {}",
                              static_cast<int64_t>(tokens.size()) - 1, id);
        chat.begin = tokens[static_cast<size_t>(id)];
    }
    return chat;
}

}  // namespace

ModelConfig read_model_config(const GgufFile& file) {
    ModelConfig config;
    config.name = file.get_or<std::string>("general.name", file.path().stem().string());
    config.llm = read_llm(file);
    config.modules = {"llm"};
    if (file.find_tensor("v.patch_embd.weight") != nullptr) {
        config.vision = read_vision(file, config.llm.decoder.n_embd);
        config.modules.emplace_back("vision");
    }
    if (file.find_tensor("a.conv1.weight") != nullptr) {
        config.audio = read_audio(file, config.llm.decoder.n_embd);
        config.modules.emplace_back("audio");
    }
    config.tokens = read_token_roles(file, config.llm.n_vocab);
    config.chat = read_chat(file);
    return config;
}

Vocabulary read_vocabulary(const GgufFile& file) {
    const auto model = file.get<std::string>("tokenizer.ggml.model");
    check<UnsupportedModelError>(model == "gpt2" || model == "llama",
                                 "[config] expected tokenizer.ggml.model gpt2 (byte-level BPE) or llama "
                                 "(SentencePiece), got {} ({})",
                                 model, file.path().string());
    Vocabulary vocabulary;
    vocabulary.tokens = file.get<std::vector<std::string>>("tokenizer.ggml.tokens");
    if (model == "llama") {
        vocabulary.kind = TokenizerKind::sentence_pieces;
        for (const double score : file.get<std::vector<double>>("tokenizer.ggml.scores"))
            vocabulary.scores.push_back(static_cast<float>(score));
        vocabulary.adds_space = file.get_or<bool>("tokenizer.ggml.add_space_prefix", true);
    } else {
        const auto pre = file.get_or<std::string>("tokenizer.ggml.pre", "qwen2");
        const auto* facts = std::find_if(std::begin(kPres), std::end(kPres),
                                         [&](const PreFacts& f) { return f.name == pre; });
        check<UnsupportedModelError>(facts != std::end(kPres),
                                     "[config] expected tokenizer.ggml.pre qwen2 or llama-bpe, got {} ({})",
                                     pre, file.path().string());
        vocabulary.max_digits = facts->max_digits;
        vocabulary.normalises = facts->normalises;
        vocabulary.keeps_words = facts->keeps_words;
        vocabulary.merges = file.get<std::vector<std::string>>("tokenizer.ggml.merges");
    }
    for (const int64_t type : file.get<std::vector<int64_t>>("tokenizer.ggml.token_type")) {
        check<ModelFileError>(type >= 1 && type <= 6, "[config] expected token types of 1 to 6, got {}",
                              type);
        vocabulary.types.push_back(static_cast<TokenType>(type));
    }
    return vocabulary;
}

}  // namespace minicpmo
