#include "engine/book_config.h"

#include "core/quantize.h"
#include "engine/tts_config.h"

namespace minicpmo {

namespace {

constexpr int kLeastAudio = 64;  // positions, below which nothing can be said

ConditionalTtsConfig read_lm(const Keys& keys, int n_embd_llm) {
    ConditionalTtsConfig lm;
    lm.decoder = read_tts_decoder(keys);
    lm.n_embd_llm = read_llm_width(keys, n_embd_llm);
    lm.n_text = keys.integer("num_text_tokens", 1, kMaxTokens);
    lm.n_book = keys.integer("num_vq", 1, 64);
    lm.n_code = keys.integer("num_audio_tokens", 4, 1 << 16);
    keys.integer("audio_eos_code", lm.n_code - 1, lm.n_code - 1, lm.n_code - 1);
    lm.n_reserved = keys.integer("text_reserved_length", 2, 1 << 16);
    lm.n_ctx = keys.integer("context_length", lm.n_reserved + kLeastAudio, kMaxTokens);
    lm.text_chunk = keys.integer("text_chunk_length", 1, lm.n_reserved - 1);
    lm.audio_chunk = keys.integer("audio_chunk_length", 1, kMaxTokens);
    lm.text_bos = keys.integer("text_bos_token_id", 0, lm.n_text - 1);
    lm.speaker = keys.integer("speaker_token_id", 0, lm.n_text - 1);
    lm.text_eos = keys.integer("text_eos_token_id", 0, lm.n_text - 1);
    lm.audio_bos = keys.integer("audio_bos_token_id", 0, lm.n_text - 1);
    return lm;
}

std::vector<CodeSampling> read_samplings(const Keys& keys, int n_book) {
    const auto temperatures = keys.file().get<std::vector<double>>(keys.prefix() + "sampling.temperatures");
    check<ModelFileError>(temperatures.size() == static_cast<size_t>(n_book),
                          "[config] key {}sampling.temperatures: expected one for each of {} code books, got "
                          "{} ({})",
                          keys.prefix(), n_book, temperatures.size(), keys.file().path().string());
    std::vector<CodeSampling> samplings;
    for (const double temperature : temperatures) {
        CodeSampling& sampling = samplings.emplace_back(read_code_sampling(keys));
        sampling.temperature = static_cast<float>(temperature);
        try {
            check_code_sampling(sampling);
        } catch (const ArgumentError& error) {  // its numbers are the file's
            fail<ModelFileError>("{} ({})", error.what(), keys.file().path().string());
        }
    }
    return samplings;
}

nn::ConvNextConfig read_block(const Keys& keys) {
    nn::ConvNextConfig c;
    c.n_embd = keys.integer("embedding_length", 1, kMaxWidth);
    c.n_ff = keys.integer("feed_forward_length", 1, kMaxWidth);
    c.n_tap = keys.integer("conv_kernel", 1, 63);
    check<ModelFileError>(c.n_tap % 2 == 1, "[config] key {}conv_kernel: expected an odd number, got {}",
                          keys.prefix(), c.n_tap);
    c.dilation = keys.integer("conv_dilation", 1, 64);
    c.norm_eps = keys.number("layer_norm_epsilon", 0.0, 1.0);
    return c;
}

DvaeConfig read_dvae(const GgufFile& file, const ConditionalTtsConfig& lm) {
    const Keys keys(file, "minicpmo.dvae.");
    DvaeConfig c;
    c.n_group = keys.integer("group_count", 1, 64);
    c.n_level = keys.integer("level_count", 1, 64);
    c.n_code = keys.integer("code_count", 1, kMaxTokens);
    c.n_width = keys.integer("code_length", 1, kMaxWidth);
    c.n_stem = keys.integer("stem_length", 1, kMaxWidth);
    c.n_mel = keys.integer("n_mel", 1, 1024);
    c.n_block = keys.integer("block_count", 1, kMaxLayers);
    c.block = read_block(keys);
    check<ModelFileError>(c.n_book() == lm.n_book && c.n_code == lm.n_code - 1,
                          "[config] expected a decoder of {} code books of {}, got one of {} of {} ({})",
                          lm.n_book, lm.n_code - 1, c.n_book(), c.n_code, file.path().string());
    return c;
}

VocosConfig read_vocos(const GgufFile& file, const DvaeConfig& dvae) {
    const Keys keys(file, "minicpmo.vocos.");
    VocosConfig c;
    c.n_mel = keys.integer("n_mel", dvae.n_mel, dvae.n_mel);
    c.n_block = keys.integer("block_count", 1, kMaxLayers);
    c.block = read_block(keys);
    check<UnsupportedModelError>(c.block.dilation == 1, "[config] key {}conv_dilation: expected 1, got {}",
                                 keys.prefix(), c.block.dilation);
    c.n_fft = keys.integer("n_fft", 4, OverlapAdd::kMaxSize);
    c.hop_length = keys.integer("hop_length", 1, c.n_fft);
    c.sample_rate_hz = keys.integer("sample_rate", 1000, 1000000);
    try {
        OverlapAdd(c.n_fft, c.hop_length);
    } catch (const ArgumentError& error) {  // its numbers are the file's
        fail<ModelFileError>("{} ({})", error.what(), file.path().string());
    }
    return c;
}

}  // namespace

bool BookConfig::is_in(const GgufFile& file) {
    return file.find_tensor("tts.emb_code.weight") != nullptr &&
           file.get_or<std::string>("minicpmo.tts.condition_type", "") == "text_and_speaker";
}

BookConfig read_book_config(const GgufFile& file, int n_embd_llm) {
    const Keys keys(file, "minicpmo.tts.");
    BookConfig c;
    const auto attention = file.get<std::string>(keys.prefix() + "attention_type");
    check<UnsupportedModelError>(attention == "text_window",
                                 "[config] key {}attention_type: expected text_window, got {} ({})",
                                 keys.prefix(), attention, file.path().string());
    c.lm = read_lm(keys, n_embd_llm);
    c.sampling = read_samplings(keys, c.lm.n_book);
    c.min_codes = keys.integer("min_codes", 0, kMaxTokens);
    c.max_codes = keys.integer("max_codes", 1, c.lm.n_ctx - c.lm.n_reserved - 3 - 32);
    c.dvae = read_dvae(file, c.lm);
    c.vocos = read_vocos(file, c.dvae);
    const TensorInfo* ffn = file.find_tensor("tts.blk.0.ffn_gate.weight");
    c.file_type = ffn != nullptr ? type_name(ffn->type) : "unknown";
    return c;
}

WordPieces read_word_pieces(const GgufFile& file) {
    const Keys keys(file, "minicpmo.tts.");
    WordPieces pieces;
    pieces.tokens = file.get<std::vector<std::string>>(keys.prefix() + "tokenizer.tokens");
    const int n_text = keys.integer("num_text_tokens", 1, kMaxTokens);
    check<ModelFileError>(pieces.tokens.size() == static_cast<size_t>(n_text),
                          "[config] key {}tokenizer.tokens: expected {} tokens, got {} ({})", keys.prefix(),
                          n_text, pieces.tokens.size(), file.path().string());
    pieces.unk = keys.integer("unk_token_id", 0, n_text - 1);
    pieces.lowercase = file.get<bool>(keys.prefix() + "tokenizer.lowercase");
    pieces.strip_accents = file.get<bool>(keys.prefix() + "tokenizer.strip_accents");
    return pieces;
}

}  // namespace minicpmo
