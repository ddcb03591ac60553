#include "engine/unit_speaker.h"

#include <algorithm>

#include "base/error.h"
#include "base/stopwatch.h"

namespace minicpmo {

namespace {

constexpr int kMaxFinalCodes = 100;  // of a turn that is finished

CodeRules rules_of(const Model& model, const UnitSpeechRules& speech) {
    CodeRules rules = duplex_rules(model.speech().tts_config());
    rules.sampling.temperature = speech.temperature;
    if (speech.finishes_turns) rules.max_final_codes = kMaxFinalCodes;
    return rules;
}

}  // namespace

UnitSpeaker::UnitSpeaker(std::shared_ptr<const Model> model, const UnitSpeechRules& rules)
    : model_(std::move(model)),
      rules_(rules),
      generator_(model_->speech().tts(), model_->backend(), default_kv_type(model_->config()),
                 rules_of(*model_, rules), rules.seed) {
    check<ArgumentError>(rules.n_step >= 0 && rules.n_step <= Flow::kMaxSteps,
                         "[speech] expected 1 to {} steps of the flow, or 0 for the model's own, got {}",
                         Flow::kMaxSteps, rules.n_step);
}

void UnitSpeaker::prepare(const Voice& voice) {
    const auto is_same = [](const Voice& a, const Voice& b) {
        return a.codes == b.codes && a.mel.data == b.mel.data && a.speaker.data == b.speaker.data;
    };
    std::unique_ptr<SpeechDecoder> heard;
    if (!decoder_ || !voice_ || !is_same(*voice_, voice)) {
        heard =
            std::make_unique<SpeechDecoder>(model_, voice, SpeechDecoderOptions{rules_.n_step, rules_.seed});
    }
    const std::lock_guard lock(mutex_);
    if (heard) decoder_ = std::move(heard);
    voice_ = voice;
    n_turn_ = 0;
    cut_end_ = 0;
    generator_.clear_interrupt();
    generator_.reset(rules_.seed);
    decoder_->clear_interrupt();
    decoder_->begin(true);
}

void UnitSpeaker::cut(int64_t end) noexcept {
    const std::lock_guard lock(mutex_);
    cut_end_ = std::max(cut_end_, end);
    generator_.interrupt();
    if (decoder_) decoder_->interrupt();
}

bool UnitSpeaker::starts(int64_t unit, bool is_codes) {
    const std::lock_guard lock(mutex_);
    if (is_codes) {
        generator_.clear_interrupt();
    } else {
        decoder_->clear_interrupt();
    }
    return unit >= cut_end_;
}

UnitCodes UnitSpeaker::codes(int64_t unit, const UnitWords& words) {
    check<ArgumentError>(decoder_ != nullptr, "[speech] expected prepare() before the first unit, got none");
    UnitCodes out;
    out.unit = unit;
    out.ends_turn = words.ends_turn;
    // NOTE: words of a unit that ends in listening are lost in the reference; here they are said.
    out.is_silent = words.is_listen && words.spoken.empty();
    const Stopwatch watch;
    try {
        const bool is_allowed = starts(unit, true);
        out.is_cut = words.is_cut || (!is_allowed && !out.is_silent);
        out.is_first = generator_.state().n_chunk == 0;
        if (!out.is_cut && !out.is_silent) {
            generator_.feed(words.spoken, words.hidden, words.ends_turn);
            while (const std::optional<int32_t> code = generator_.next()) out.codes.push_back(*code);
        }
    } catch (const InterruptedError&) {
        out.is_cut = true;
        out.codes.clear();
    }
    if (out.is_cut || out.ends_turn) {
        n_turn_ += generator_.state().n_chunk > 0 ? 1 : 0;
        generator_.reset(rules_.seed + static_cast<uint64_t>(n_turn_));
    }
    out.codes_s = watch.seconds();
    return out;
}

UnitSound UnitSpeaker::samples(const UnitCodes& codes) {
    UnitSound out;
    try {
        const bool is_allowed = starts(codes.unit, false);
        out.is_cut = codes.is_cut || (!is_allowed && !codes.is_silent);
        const double flow_s = decoder_->spectrum_s();
        const double vocoder_s = decoder_->vocoder_s();
        if (!out.is_cut && !codes.is_silent) {
            out.samples = decoder_->push(codes.codes, codes.ends_turn);
            if (!codes.ends_turn && (codes.is_first || rules_.hurries_always)) {
                const std::vector<float> more = decoder_->hurry();
                out.samples.insert(out.samples.end(), more.begin(), more.end());
            }
        }
        out.flow_s = decoder_->spectrum_s() - flow_s;
        out.vocoder_s = decoder_->vocoder_s() - vocoder_s;
    } catch (const InterruptedError&) {
        out.is_cut = true;
        out.samples.clear();
    }
    if (out.is_cut || codes.ends_turn) {
        decoder_->begin(true);
    } else if (rules_.fills_units && !out.samples.empty()) {
        const auto n_unit = static_cast<size_t>(sample_rate());
        const size_t n_missing = n_unit - std::min(n_unit, out.samples.size());
        out.samples.insert(out.samples.begin(), n_missing, 0.0F);
    }
    return out;
}

UnitSpeaker::Mark UnitSpeaker::mark() const {
    Mark mark;
    mark.codes = generator_.mark();
    mark.n_turn = n_turn_;
    if (decoder_ && decoder_->state().has_codes) mark.samples = decoder_->state();
    return mark;
}

void UnitSpeaker::rewind(const Mark& mark) {
    {
        const std::lock_guard lock(mutex_);
        cut_end_ = 0;
    }
    generator_.rewind(mark.codes);
    n_turn_ = mark.n_turn;
    if (mark.samples) {
        decoder_->restore(*mark.samples);
    } else if (decoder_) {
        decoder_->begin(true);
    }
}

void UnitSpeaker::archive(Archive& archive) {
    Voice voice;
    if (!archive.is_reading()) {
        check<ArgumentError>(voice_.has_value(), "[speech] expected prepare() before save(), got none");
        voice = *voice_;
    }
    archive(voice.name);
    archive(voice.codes);
    archive(voice.mel);
    archive(voice.speaker);
    archive(voice.pcm);
    uint64_t seed = rules_.seed;
    archive(seed);
    if (archive.is_reading()) {
        if (seed != rules_.seed) decoder_.reset();  // the noise it knows is another
        rules_.seed = seed;
        try {
            prepare(voice);
        } catch (const ArgumentError& error) {  // its numbers are the file's
            fail<ModelFileError>("{}", error.what());
        }
    }
    archive(n_turn_);
    archive(generator_);
    archive(*decoder_);
}

}  // namespace minicpmo
