#include "engine/unit_writer.h"

#include <algorithm>

#include "base/error.h"
#include "base/stopwatch.h"

namespace minicpmo {

namespace {

int64_t count_characters(const std::string& text) {  // UTF-8
    return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

void check_rules(const UnitRules& rules) {
    constexpr int kMaxTokens = 1000;
    check<ArgumentError>(rules.max_tokens >= 2 && rules.max_tokens <= kMaxTokens,
                         "[unit] expected max_tokens of 2 to {}, got {}", kMaxTokens, rules.max_tokens);
    check<ArgumentError>(rules.max_characters >= 0, "[unit] expected max_characters >= 0, got {}",
                         rules.max_characters);
    check<ArgumentError>(rules.force_listen >= 0, "[unit] expected force_listen >= 0, got {}",
                         rules.force_listen);
}

void check_tokens(const Model& model) {
    const TokenRoles& t = model.config().tokens;
    const bool has_all = std::min({t.unit_start, t.unit_end, t.listen, t.speak, t.turn_eos, t.chunk_eos,
                                   t.chunk_tts_eos, t.tts_bos, t.im_end, t.unk}) >= 0;
    check<UnsupportedModelError>(
        has_all,
        "[unit] expected a model with the tokens of full duplex (<unit>, <|listen|>, "
        "<|speak|>, ...), got one without ({})",
        model.config().name);
}

}  // namespace

UnitWriter::UnitWriter(std::shared_ptr<const Model> model, const ContextOptions& context,
                       const WindowOptions& window, const DuplexSampling& sampling, const UnitRules& rules)
    : model_((check_tokens(*model), check_rules(rules), std::move(model))),
      context_(model_, context),
      window_(window, *model_),
      sampler_(model_->config().tokens, model_->tokenizer().n_vocab(), sampling),
      rules_(rules) {
    check_window(window, context_.n_ctx());
}

void UnitWriter::set_rules(const UnitRules& rules) {
    check_rules(rules);
    rules_ = rules;
}

void UnitWriter::reset() {
    context_.reset();
    sampler_.reset();
    unread_.clear();
    text_ = {};
    is_prepared_ = false;
    is_in_turn_ = false;
    n_unit_ = 0;
    is_cut_ = false;
}

void UnitWriter::prepare(const std::string& prefix, const Array<float>& voice, const std::string& suffix) {
    reset();
    const Tokenizer& tokenizer = model_->tokenizer();
    Prompt prompt;
    prompt.ids = tokenizer.encode(prefix, true);
    if (!voice.empty()) {
        const auto n = static_cast<int>(voice.dim(1));
        prompt.runs.push_back(
            {static_cast<int>(prompt.ids.size()), n, PartKind::audio, [&](Workspace&) { return voice; }});
        prompt.ids.insert(prompt.ids.end(), static_cast<size_t>(n), model_->config().tokens.unk);
    }
    const std::vector<int32_t> end = tokenizer.encode(suffix, true);
    prompt.ids.insert(prompt.ids.end(), end.begin(), end.end());
    context_.read(prompt, nullptr, false);
    window_.begin(context_, end);
    is_prepared_ = true;
}

void UnitWriter::feed(int32_t id, UnitWords& words, bool is_spoken) {
    const std::vector<float> state = context_.read_token(id, is_spoken);
    words.ids.push_back(id);
    if (!is_spoken) return;
    words.spoken.push_back(id);
    words.hidden.data.insert(words.hidden.data.end(), state.begin(), state.end());
    ++words.hidden.shape[1];
}

bool UnitWriter::exceeds_characters(const UnitWords& words, int32_t id) const {
    if (rules_.max_characters == 0) return false;
    std::vector<int32_t> ids = words.spoken;
    ids.push_back(id);
    return count_characters(model_->tokenizer().decode(ids, true)) >= rules_.max_characters;
}

int32_t UnitWriter::write_words(UnitWords& words, bool forces_listen) {
    const TokenRoles& tokens = model_->config().tokens;
    for (int n = 0; n + 1 < rules_.max_tokens; ++n) {
        const bool is_cut = is_cut_;
        if (is_cut || forces_listen) {
            words.is_cut = is_cut || is_in_turn_;
            if (is_in_turn_) {
                feed(tokens.turn_eos, words, false);
                words.ends_turn = true;
                is_in_turn_ = false;
            }
            return n == 0 ? tokens.listen : tokens.chunk_eos;
        }
        int32_t id = sampler_.sample(context_.logits());
        if (id == tokens.listen && is_in_turn_) id = tokens.tts_bos;  // no silence inside a turn
        if (id == tokens.listen || id == tokens.chunk_eos || id == tokens.chunk_tts_eos) return id;
        // The first token is the decision and is not said.
        if (n > 0 && exceeds_characters(words, id)) {
            is_in_turn_ = true;
            return tokens.chunk_eos;
        }
        feed(id, words, n > 0);
        is_in_turn_ = id != tokens.turn_eos;
        words.ends_turn = id == tokens.turn_eos || (words.ends_turn && !rules_.last_token_decides);
    }
    return tokens.chunk_eos;
}

// NOTE: the reference decodes each unit by itself, which breaks characters at their edges.
std::string UnitWriter::text_of(const UnitWords& words) {
    const Tokenizer& tokenizer = model_->tokenizer();
    if (rules_.last_token_decides) return tokenizer.decode(words.spoken, true);
    std::string text;
    for (const int32_t id : words.spoken) {
        if (!tokenizer.is_special(id)) text += text_.push(tokenizer.bytes_of(id));
    }
    if (words.ends_turn || words.is_listen) text += text_.finish();
    return text;
}

UnitWords UnitWriter::write(const Prompt& unit, bool forces_listen) {
    constexpr int kClosing = 3;  // <|turn_eos|> of a turn that is cut, the end of the words, </unit>
    const TokenRoles& tokens = model_->config().tokens;
    const int begin = n_past();
    const auto n_needed =
        static_cast<int>(unit.ids.size()) + rules_.max_tokens + kClosing + window_.n_grown();
    check<ContextFullError>(
        n_needed <= context_.n_free(),
        "[unit] expected room for a unit of {} tokens in a context of {}, got {} in use; a "
        "window forgets the oldest units",
        n_needed, context_.n_ctx(), begin);
    check<ArgumentError>(is_prepared_, "[unit] expected prepare() before the first unit, got none");
    const Mark before = mark();
    UnitWords words;
    words.hidden.shape = {model_->config().llm.decoder.n_embd, 0};
    try {
        Stopwatch watch;
        Prompt prompt = unit;
        prompt.ids.insert(prompt.ids.begin(), unread_.begin(), unread_.end());
        for (EmbeddingRun& run : prompt.runs) run.begin += static_cast<int>(unread_.size());
        context_.read(prompt);
        words.prefill_s = watch.seconds();
        words.decision = decision(context_.logits(), tokens);
        if (keeps_logits_) words.logits.assign(context_.logits().begin(), context_.logits().end());
        watch.restart();
        const int32_t end = write_words(words, forces_listen || n_unit_ < rules_.force_listen);
        words.is_listen = end == tokens.listen;
        unread_ = {end, tokens.unit_end};
        words.ids.insert(words.ids.end(), unread_.begin(), unread_.end());
        if (window_.is_full(n_past())) {  // it is to have seen what is forgotten then
            context_.read(unread_, false);
            unread_.clear();
        }
        words.decode_s = watch.seconds();
    } catch (...) {
        go_back(before);
        throw;
    }
    if (words.is_cut) is_cut_ = false;
    if (words.is_listen && rules_.last_token_decides) {
        words.ends_turn = false;
        words.spoken.clear();
        words.hidden = Array<float>({words.hidden.dim(0), 0});
    }
    ++n_unit_;
    words.text = text_of(words);
    words.n_forgotten = window_.close_unit(context_, n_past() - begin, words.spoken);
    words.n_past = n_past();
    return words;
}

void UnitWriter::rewind(const Mark& mark) {
    go_back(mark);
    is_cut_ = false;
}

void UnitWriter::go_back(const Mark& mark) {
    context_.rewind(mark.context);
    window_ = mark.window;
    sampler_ = mark.sampler;
    unread_ = mark.unread;
    text_ = mark.text;
    is_prepared_ = mark.is_prepared;
    is_in_turn_ = mark.is_in_turn;
    n_unit_ = mark.n_unit;
}

void UnitWriter::archive(Archive& archive) {
    archive(context_);
    archive(window_);
    archive(sampler_);
    archive(unread_);
    archive(text_);
    archive(is_prepared_);
    archive(is_in_turn_);
    archive(n_unit_);
    const auto is_token = [&](int32_t id) { return id >= 0 && id < model_->tokenizer().n_vocab(); };
    check<ModelFileError>(
        n_unit_ >= 0 && unread_.size() <= 2 && std::all_of(unread_.begin(), unread_.end(), is_token),
        "[unit] expected at most the 2 tokens that close a unit, got {}", unread_.size());
    check<ModelFileError>(
        window_.n_kept() == n_past() && window_.n_newest() >= static_cast<int>(unread_.size()),
        "[unit] expected {} tokens in the context, got {}", window_.n_kept(), n_past());
}

}  // namespace minicpmo
