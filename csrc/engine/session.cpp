#include "engine/session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "engine/session_file.h"
#include "engine/speaker_reader.h"

namespace minicpmo {

namespace {

// What a voice stumbles over; reference: ChunkPrefillChunkGenerate.forbidden_tokens. Of the list there, the
// vocabulary has these.
constexpr std::array kUnspeakable = {":", "#", "@", "*", "(", ")", "[", "]", "&", "/", "$"};

std::vector<int32_t> unspeakable_ids(const Model& model) {
    std::vector<int32_t> ids = model.config().tokens.unspoken;
    for (const char* text : kUnspeakable) {
        if (const std::optional<int32_t> id = model.tokenizer().find(text)) ids.push_back(*id);
    }
    if (model.config().tokens.unk >= 0) ids.push_back(model.config().tokens.unk);
    return ids;
}

void check_window(const RoundWindow& window, int n_ctx) {
    check<ArgumentError>(window.low >= 0 && window.low <= window.high && window.high <= n_ctx,
                         "[session] expected a window of 0 <= low <= high <= {} tokens, got {} and {}", n_ctx,
                         window.low, window.high);
}

void append(Prompt& prompt, Prompt more) {
    const auto n = static_cast<int>(prompt.ids.size());
    prompt.ids.insert(prompt.ids.end(), more.ids.begin(), more.ids.end());
    for (EmbeddingRun& run : more.runs) {
        run.begin += n;
        prompt.runs.push_back(std::move(run));
    }
    prompt.heard_s += more.heard_s;
}

}  // namespace

Session::Session(std::shared_ptr<const Model> model, const SessionOptions& options)
    : model_(std::move(model)), window_(options.window), context_(model_, {options.n_ctx, options.kv_type}) {
    if (window_) check_window(*window_, context_.n_ctx());
}

void Session::reset() {
    context_.reset();
    state_ = {};
    if (stream_) stream_->reset();
    is_generating_ = false;
    timings_ = {};
}

AudioStream& Session::stream() {
    if (!stream_) stream_.emplace(model_, AudioStreamMode::half_duplex);
    return *stream_;
}

void Session::prefill_chat(std::span<const Message> messages, const PromptOptions& options) {
    context_.workspace().clear_interrupt();
    const Prompt prompt = PromptBuilder(*model_).build(messages, options);
    const auto n_token = static_cast<int>(prompt.ids.size());
    check<ContextFullError>(n_token <= n_ctx(), "[session] expected at most {} tokens in the context, got {}",
                            n_ctx(), n_token);
    timings_ = {};
    state_ = {};
    if (stream_) stream_->reset();
    is_generating_ = false;
    const Stopwatch watch;
    try {
        const Context::Kept kept = SpeakerReader(context_).hold(prompt, &progress_, state_.speaker);
        count(prompt, kept, watch.seconds());
    } catch (...) {
        reset();
        throw;
    }
    state_.answer_is_open = options.add_generation_prompt;
    // Without it the template closed the last turn.
    if (state_.answer_is_open) state_.open_turn = Role::assistant;
}

void Session::prefill(std::span<const Message> messages, const PromptOptions& options) {
    read_messages(messages, options, nullptr);
}

void Session::prefill_stream(std::span<const Message> messages, const PromptOptions& options, bool is_last) {
    size_t n_left = 0;
    for (const Message& message : messages) {
        for (const MessagePart& part : message.content) n_left += part.kind == PartKind::audio ? 1 : 0;
    }
    check<ArgumentError>(!is_last || n_left > 0, "[session] expected sound that is the last, got none");
    const AudioStream::Mark before = stream().mark();
    try {
        read_messages(messages, options, [&](Media& media) {
            for (const std::span<const float> sound : media.sounds) {
                const auto n_first = static_cast<size_t>(stream_->first_samples());
                if (stream_->n_sample() == 0) stream_->reset(sound.size() < n_first);
                Array<float> rows = stream_->push(sound);
                if (--n_left == 0 && is_last) {
                    const Array<float> rest = stream_->end_piece();
                    rows.data.insert(rows.data.end(), rest.data.begin(), rest.data.end());
                    rows.shape[1] += rest.dim(1);
                }
                media.heard.push_back(std::make_shared<const Array<float>>(std::move(rows)));
            }
        });
    } catch (...) {
        stream_->rewind(before);
        throw;
    }
}

std::string Session::closing() const {
    if (!state_.open_turn) return "";
    const bool is_said = state_.open_turn == Role::assistant && state_.answer_is_spoken;
    return (is_said ? "<|tts_eos|>" : "") + model_->config().chat.turn_end;
}

void Session::read_messages(std::span<const Message> messages, const PromptOptions& options,
                            const Hear& hear) {
    context_.workspace().clear_interrupt();
    timings_ = {};
    is_generating_ = false;
    enforce_window();
    const State before = state_;
    const ChatFormat& format = model_->config().chat;
    const PromptBuilder builder(*model_);
    Prompt prompt;
    for (const Message& message : messages) {
        Media media;
        const std::vector<ChatMessage> chat = to_chat({&message, 1}, media);
        const bool is_first = n_past() == 0 && !state_.unread && prompt.ids.empty();
        const bool is_streamed = hear && message.role == Role::user && !media.sounds.empty();
        const bool instructs =
            format.user_instructs && is_first && message.role == Role::user && !is_streamed;
        const bool continues = state_.open_turn == Role::user && message.role == Role::user;
        if (!continues) {
            const TemplateOptions t = to_template_options(options, format, format.user_instructs);
            const std::string before_turn = is_first ? opening(message.role, t) : closing();
            const std::vector<int32_t> ids = model_->tokenizer().encode(before_turn, true);
            prompt.ids.insert(prompt.ids.end(), ids.begin(), ids.end());
            const bool is_round = message.role == Role::user && !instructs;
            const auto n_unread = static_cast<int32_t>(state_.unread.has_value());
            if (is_round)
                state_.rounds.push_back(n_past() + n_unread + static_cast<int32_t>(prompt.ids.size()));
            if (!is_round && stream_ && hear) stream_->reset();
        }
        std::vector<Segment> segments;
        if (!continues) {
            segments.push_back({PartKind::text, {format.open_turn(role_name(message.role)), true}, -1});
        }
        for (Segment& segment :
             render_content(chat[0].content, to_template_options(options, format, false))) {
            segments.push_back(std::move(segment));
        }
        PromptOptions own = options;
        if (hear && message.role == Role::user) hear(media);
        // Recordings in other messages are whole, and in the reference not heard in blocks, unlike in chat().
        own.hears_whole = own.hears_whole || instructs || (hear && message.role != Role::user);
        append(prompt, builder.build(segments, media, own, state_.n_image));
        for (const Media::Picture& picture : media.images)
            state_.n_image += static_cast<int32_t>(picture.later_frames.size()) + 1;
        state_.open_turn = message.role;
        state_.answer_is_spoken = false;
        if (instructs) {
            const std::vector<int32_t> ids = model_->tokenizer().encode(format.turn_end, true);
            prompt.ids.insert(prompt.ids.end(), ids.begin(), ids.end());
            state_.open_turn.reset();
        }
    }
    state_.answer_is_open = false;
    try {
        read(std::move(prompt), &progress_);
    } catch (...) {
        state_ = before;
        throw;
    }
    enforce_window();
}

void Session::read(Prompt prompt, Progress* progress) {
    const Stopwatch watch;
    if (state_.unread) {  // the last token of an answer that ended without a stop token
        Prompt whole;
        whole.ids = {*state_.unread};
        append(whole, std::move(prompt));
        prompt = std::move(whole);
    }
    if (prompt.ids.empty()) return;  // sound that does not fill a second yet
    const MediaTimings media = SpeakerReader(context_).read(prompt, progress, state_.speaker);
    state_.unread.reset();
    count(prompt, {0, media}, watch.seconds());
}

void Session::count(const Prompt& prompt, const Context::Kept& kept, double seconds) {
    const MediaTimings& media = kept.media;
    timings_.media.add(media);
    timings_.heard_s += prompt.heard_s;
    timings_.prefill_s += seconds - media.vision_s - media.audio_s;
    timings_.n_prompt += static_cast<int>(prompt.ids.size()) - kept.n;
    timings_.n_reused += kept.n;
    state_.has_sound = state_.has_sound || prompt.heard_s > 0;
}

// NOTE: the reference counts the first user's turn and its answer to the prompt, and then removes them in
// place of the round after them. Here rounds begin with the first user, and what leaves is what was counted.
void Session::enforce_window() {
    if (!window_ || n_past() <= window_->high) return;
    std::vector<int32_t>& rounds = state_.rounds;
    while (rounds.size() > 1 && n_past() > window_->low) {
        const int32_t n = rounds[1] - rounds[0];
        context_.forget(rounds[0], rounds[1]);
        rounds.erase(rounds.begin());
        for (int32_t& begin : rounds) begin -= n;
    }
}

void Session::begin(const GenerateOptions& options) {
    check_sampling(options.sampling);
    check<ArgumentError>(options.max_new_tokens >= 1, "[session] expected max_new_tokens >= 1, got {}",
                         options.max_new_tokens);
    check<ArgumentError>(options.n_draft >= 0 && options.n_draft <= kMostDrafted,
                         "[session] expected drafts of 0 to {} tokens, got {}", kMostDrafted,
                         options.n_draft);
    check<ArgumentError>(n_past() > 0, "[session] expected a prefill before generate, got an empty session");
    context_.workspace().clear_interrupt();
    answer_watch_.restart();
    // The reference shows the tag that opens the thoughts, too, although the prompt has it.
    const ChatFormat& format = model_->config().chat;
    unsaid_ = options.enable_thinking && format.thinks ? format.thought_begin : "";
    if (!state_.answer_is_open) {
        TemplateOptions t;
        t.format = model_->config().chat;
        t.enable_thinking = options.enable_thinking;
        t.use_tts = options.use_tts.value_or(state_.has_sound);
        Prompt prompt;
        prompt.ids = model_->tokenizer().encode(closing() + generation_prompt(t), true);
        read(std::move(prompt), nullptr);
        state_.open_turn = Role::assistant;
        state_.answer_is_open = true;
        state_.answer_is_spoken = t.use_tts;
    }
    if (stream_) stream_->reset();  // the next turn's sound is heard anew
    options_ = options;
    const TokenRoles& tokens = model_->config().tokens;
    ends_ = options.ignore_stop ? std::vector<int32_t>{} : tokens.stop;
    if (options.ends_with_speech && tokens.tts_eos >= 0) ends_.push_back(tokens.tts_eos);
    drafter_ = Drafter(options.n_draft);
    forbidden_ = options.is_speakable ? unspeakable_ids(*model_) : std::vector<int32_t>{};
    generated_.clear();
    hidden_.shape = {model_->config().llm.decoder.n_embd, 0};
    hidden_.data.clear();
    rng_ = Rng{options.sampling.seed, 0};
    utf8_ = {};
    is_generating_ = true;
    stop_reason_.clear();
    timings_.n_decoded = timings_.n_drafted = timings_.n_confirmed = 0;
    timings_.decode_s = 0;
}

std::optional<Piece> Session::finish(const char* reason) {
    is_generating_ = false;
    state_.answer_is_open = false;
    stop_reason_ = reason;
    std::string rest = utf8_.finish();
    if (rest.empty()) return std::nullopt;
    return Piece{-1, std::move(rest)};
}

// What to compute beside a token. Never more than the answer and the context have room for.
std::vector<int32_t> Session::draft(int32_t id) {
    if (context_.has_guessed(id)) {
        drafter_.confirm();
        ++timings_.n_confirmed;
        return {};
    }
    const int n_left = options_.max_new_tokens - static_cast<int>(generated_.size());
    const int limit = std::min(n_left - 1, context_.n_free() - 1);
    if (options_.n_draft == 0 || limit < 1) return {};
    std::vector<int32_t> guesses = drafter_.draft(context_.rows(), id, limit, ends_);
    timings_.n_drafted += static_cast<int>(guesses.size());
    return guesses;
}

bool Session::decode(int32_t id) {
    const Stopwatch watch;
    try {
        const std::vector<float> state = context_.read_token(id, options_.keep_hidden, draft(id));
        hidden_.data.insert(hidden_.data.end(), state.begin(), state.end());
        if (options_.keep_hidden) ++hidden_.shape[1];
    } catch (const InterruptedError&) {
        return false;
    } catch (...) {
        is_generating_ = false;  // a full context ends the answer; what was said so far stays
        state_.answer_is_open = false;
        stop_reason_ = "length";
        throw;
    }
    state_.unread.reset();
    timings_.decode_s += watch.seconds();
    ++timings_.n_decoded;
    return true;
}

std::optional<Piece> Session::next() {
    if (!is_generating_) return std::nullopt;
    if (!unsaid_.empty()) return Piece{-1, std::exchange(unsaid_, {})};
    if (context_.workspace().is_interrupted()) return finish("interrupted");
    if (static_cast<int>(generated_.size()) >= options_.max_new_tokens) return finish("length");
    if (state_.unread && !decode(*state_.unread)) return finish("interrupted");
    const int32_t id = sample(context_.logits(), generated_, options_.sampling, rng_, {forbidden_, ends_});
    if (generated_.empty()) timings_.first_token_s = answer_watch_.seconds();
    if (std::find(ends_.begin(), ends_.end(), id) != ends_.end()) return finish("stop");
    if (id == model_->config().tokens.tts_eos) state_.answer_is_spoken = false;  // it said so itself
    generated_.push_back(id);
    state_.unread = id;
    return Piece{id, utf8_.push(model_->tokenizer().bytes_of(id))};
}

std::shared_ptr<const Session::Snapshot> Session::snapshot() const {
    Snapshot snapshot{context_.mark(), {}, state_};
    if (stream_) snapshot.stream = stream_->mark();
    return std::make_shared<const Snapshot>(std::move(snapshot));
}

void Session::restore(const Snapshot& snapshot) {
    context_.rewind(snapshot.context);
    if (snapshot.stream) {
        stream().rewind(*snapshot.stream);
    } else if (stream_) {
        stream_->reset();
    }
    state_ = snapshot.state;
    is_generating_ = false;
}

void Session::State::archive(Archive& archive) {
    std::optional<int32_t> role;
    if (open_turn) role = static_cast<int32_t>(*open_turn);
    archive(role);
    check<ModelFileError>(!role || (*role >= 0 && *role <= static_cast<int32_t>(Role::assistant)),
                          "[session] expected a role of 0 to 2, got {}", role.value_or(0));
    open_turn = role ? std::optional<Role>(static_cast<Role>(*role)) : std::nullopt;
    archive(answer_is_open);
    archive(answer_is_spoken);
    archive(n_image);
    archive(has_sound);
    archive(unread);
    archive(rounds);
    archive(speaker);
}

void Session::archive(Archive& archive) {
    archive(context_);
    archive(state_);
    bool has_stream = stream_.has_value();
    archive(has_stream);
    check<ModelFileError>(
        !has_stream || model_->config().audio.has_value(),
        "[session] expected no sound that is streamed, got some for a model that hears nothing");
    if (has_stream) archive(stream());
    const auto& rounds = state_.rounds;
    const bool is_sound =
        std::is_sorted(rounds.begin(), rounds.end()) && state_.n_image >= 0 &&
        (rounds.empty() || (rounds.front() >= 0 && rounds.back() <= n_past())) &&
        state_.unread.value_or(0) >= 0 && state_.unread.value_or(0) < model_->tokenizer().n_vocab() &&
        (state_.speaker.empty() || std::ssize(state_.speaker) == model_->config().llm.decoder.n_embd);
    check<ModelFileError>(is_sound,
                          "[session] expected the state of a conversation, got numbers that disagree");
}

void Session::save(const std::filesystem::path& path) {
    check<ArgumentError>(!is_generating_, "[session] expected no answer that goes on, got one");
    save_session(path, SessionKind::turns, *model_, [this](Archive& a) { archive(a); });
}

void Session::load(const std::filesystem::path& path) {
    reset();
    try {
        load_session(path, SessionKind::turns, *model_, [this](Archive& a) { archive(a); });
    } catch (...) {
        reset();
        throw;
    }
}

}  // namespace minicpmo
