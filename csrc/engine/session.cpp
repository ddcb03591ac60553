#include "engine/session.h"

#include <algorithm>

#include "base/error.h"
#include "base/stopwatch.h"

namespace minicpmo {

namespace {

KvShape kv_shape(const Model& model, const SessionOptions& options) {
    const int n_ctx_train = model.config().llm.n_ctx_train;
    check<ArgumentError>(options.n_ctx >= 0 && options.n_ctx <= n_ctx_train,
                         "[session] expected n_ctx of 0 to {}, got {}", n_ctx_train, options.n_ctx);
    const int n_ctx = options.n_ctx > 0 ? options.n_ctx : n_ctx_train;
    return model.decoder().kv_shape(n_ctx, options.kv_type.value_or(default_kv_type(model.config())));
}

}  // namespace

Session::Session(std::shared_ptr<const Model> model, const SessionOptions& options)
    : model_(std::move(model)),
      workspace_(model_->backend()),
      cache_(kv_shape(*model_, options), model_->backend()) {}

void Session::reset() {
    cache_.truncate(0);
    open_turn_.reset();
    answer_is_open_ = false;
    n_image_ = 0;
    has_sound_ = false;
    logits_.clear();
    unread_.reset();
    is_generating_ = false;
    timings_ = {};
    workspace_.clear_interrupt();
}

void Session::prefill_chat(std::span<const Message> messages, const PromptOptions& options) {
    check<ArgumentError>(n_past() == 0,
                         "[session] expected an empty session for a whole conversation, got one of {} tokens",
                         n_past());
    workspace_.clear_interrupt();
    timings_ = {};
    read(PromptBuilder(*model_).build(messages, options), &progress_);
    answer_is_open_ = options.add_generation_prompt;
    if (answer_is_open_) open_turn_ = Role::assistant;  // otherwise the template closed the last turn
}

void Session::prefill(std::span<const Message> messages, const PromptOptions& options) {
    workspace_.clear_interrupt();
    timings_ = {};
    is_generating_ = false;
    Media media;
    const std::vector<ChatMessage> chat = to_chat(messages, media);
    std::vector<Segment> segments;
    std::optional<Role> open = open_turn_;
    const auto add_text = [&](std::string text) {
        segments.push_back({PartKind::text, {std::move(text), true}, -1});
    };
    for (const ChatMessage& message : chat) {
        const bool continues = open == Role::user && message.role == Role::user;
        if (!continues) {
            if (open) add_text("<|im_end|>\n");
            add_text(std::string("<|im_start|>") + role_name(message.role) + "\n");
        }
        for (Segment& segment : render_content(message.content, to_template_options(options, false))) {
            segments.push_back(std::move(segment));
        }
        open = message.role;
    }
    read(PromptBuilder(*model_).build(segments, media, options, n_image_), &progress_);
    n_image_ += static_cast<int>(media.images.size());
    open_turn_ = open;
    answer_is_open_ = false;
}

void Session::read_text(const std::string& trusted) {
    Prompt prompt;
    prompt.ids = model_->tokenizer().encode(trusted, true);
    read(std::move(prompt), nullptr);
}

void Session::read(Prompt prompt, Progress* progress) {
    const Stopwatch watch;
    if (unread_) {  // the last token of an answer that ended without a stop token
        prompt.ids.insert(prompt.ids.begin(), *unread_);
        for (EmbeddingRun& run : prompt.runs) ++run.begin;
    }
    const int n = static_cast<int>(prompt.ids.size());
    check<ContextFullError>(n_past() + n <= n_ctx(),
                            "[session] expected at most {} tokens in the context, got {} + {}", n_ctx(),
                            n_past(), n);
    const int begin = n_past();
    PromptReader reader(*model_, prompt, workspace_, progress);
    try {
        while (reader.n_left() > 0) {
            const Array<float> rows = reader.read(std::min(kBatch, reader.n_left()));
            DecoderInput batch;
            batch.embeds = rows.data;
            const Head* head = reader.n_left() == 0 ? &model_->head() : nullptr;
            DecoderOutput out =
                model_->decoder().forward(batch, nullptr, head, Rows::none, cache_, workspace_);
            if (head != nullptr) logits_ = std::move(out.logits.data);
            if (progress != nullptr) progress->n_token_done = n - reader.n_left();
        }
    } catch (...) {
        cache_.truncate(begin);  // all or nothing: a turn that was cut can be given again
        throw;
    }
    unread_.reset();
    const MediaTimings& media = reader.timings();
    timings_.media.vision_s += media.vision_s;
    timings_.media.audio_s += media.audio_s;
    timings_.media.n_slice += media.n_slice;
    timings_.media.n_audio += media.n_audio;
    timings_.heard_s += prompt.heard_s;
    timings_.prefill_s += watch.seconds() - media.vision_s - media.audio_s;
    timings_.n_prompt += n;
    has_sound_ = has_sound_ || prompt.heard_s > 0;
}

void Session::begin(const GenerateOptions& options) {
    check_sampling(options.sampling);
    check<ArgumentError>(options.max_new_tokens >= 1, "[session] expected max_new_tokens >= 1, got {}",
                         options.max_new_tokens);
    check<ArgumentError>(n_past() > 0, "[session] expected a prefill before generate, got an empty session");
    workspace_.clear_interrupt();
    answer_watch_.restart();
    if (!answer_is_open_) {
        TemplateOptions t;
        t.enable_thinking = options.enable_thinking;
        t.use_tts = options.use_tts.value_or(has_sound_);
        read_text((open_turn_ ? "<|im_end|>\n" : "") + generation_prompt(t));
        open_turn_ = Role::assistant;
        answer_is_open_ = true;
    }
    options_ = options;
    generated_.clear();
    hidden_.shape = {model_->config().llm.decoder.n_embd, 0};
    hidden_.data.clear();
    rng_ = Rng{options.sampling.seed, 0};
    stream_ = {};
    is_generating_ = true;
    stop_reason_.clear();
    timings_.n_decoded = 0;
    timings_.decode_s = 0;
}

std::optional<Piece> Session::finish(const char* reason) {
    is_generating_ = false;
    answer_is_open_ = false;
    stop_reason_ = reason;
    std::string rest = stream_.finish();
    if (rest.empty()) return std::nullopt;
    return Piece{-1, std::move(rest)};
}

bool Session::decode(int32_t id) {
    const Stopwatch watch;
    DecoderInput input;
    input.ids = {&id, 1};
    const Rows hidden = options_.keep_hidden ? Rows::last : Rows::none;
    try {
        DecoderOutput out = model_->decoder().forward(input, &model_->embedding(), &model_->head(), hidden,
                                                      cache_, workspace_);
        logits_ = std::move(out.logits.data);
        hidden_.data.insert(hidden_.data.end(), out.hidden.data.begin(), out.hidden.data.end());
        if (options_.keep_hidden) ++hidden_.shape[1];
    } catch (const InterruptedError&) {
        return false;
    } catch (...) {
        is_generating_ = false;  // a full context ends the answer; what was said so far stays
        answer_is_open_ = false;
        stop_reason_ = "length";
        throw;
    }
    unread_.reset();
    timings_.decode_s += watch.seconds();
    ++timings_.n_decoded;
    return true;
}

std::optional<Piece> Session::next() {
    if (!is_generating_) return std::nullopt;
    if (workspace_.is_interrupted()) return finish("interrupted");
    if (static_cast<int>(generated_.size()) >= options_.max_new_tokens) return finish("length");
    if (unread_ && !decode(*unread_)) return finish("interrupted");
    // Rows of the head beyond the last token only round its size up.
    const auto n_vocab = static_cast<size_t>(model_->tokenizer().n_vocab());
    const int32_t id = sample(std::span(logits_).first(n_vocab), generated_, options_.sampling, rng_);
    if (generated_.empty()) timings_.first_token_s = answer_watch_.seconds();
    const auto& stop = model_->config().tokens.stop;
    if (!options_.ignore_stop && std::find(stop.begin(), stop.end(), id) != stop.end()) return finish("stop");
    if (options_.ends_with_speech && id == model_->config().tokens.tts_eos) return finish("stop");
    generated_.push_back(id);
    unread_ = id;
    return Piece{id, stream_.push(model_->tokenizer().bytes_of(id))};
}

}  // namespace minicpmo
