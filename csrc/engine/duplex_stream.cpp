#include "engine/duplex_stream.h"

#include <array>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr size_t kMaxBetween = 2;  // units that wait between two stages

double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

DuplexStream::DuplexStream(DuplexSession& session, const InboxOptions& inbox)
    : session_(session),
      inbox_(static_cast<size_t>(session.unit_samples()), inbox),
      encoded_(kMaxBetween),
      written_(kMaxBetween),
      coded_(kMaxBetween),
      chunks_(kMaxChunks) {
    constexpr std::array kStages = {&DuplexStream::run_encoder, &DuplexStream::run_writer,
                                    &DuplexStream::run_codes, &DuplexStream::run_samples};
    try {
        for (size_t i = 0; i < kStages.size(); ++i) {
            threads_.emplace_back([this, i, stage = kStages[i]] { run(i, stage); });
        }
    } catch (...) {  // the threads there are would wait for ever
        stop();
        throw;
    }
}

DuplexStream::~DuplexStream() {
    if (!chunks_.is_over()) {
        stop();
        session_.interrupt();
    }
    threads_.clear();  // joins
}

void DuplexStream::stop() {
    inbox_.close();
    for (BoundedQueue<Unit>* queue : {&encoded_, &written_, &coded_}) queue->cancel();
    chunks_.cancel();
}

bool DuplexStream::push_audio(std::span<const float> samples,
                              std::chrono::steady_clock::time_point deadline) {
    rethrow();
    const bool is_stuck = n_chunk_ >= kMaxChunks && inbox_.n_waiting() > 0;
    check<Error>(!is_stuck, "[duplex] expected units to be taken, got {} that wait", kMaxChunks);
    const bool is_taken = inbox_.push_audio(samples, deadline);
    if (!is_taken) rethrow();
    return is_taken;
}

std::optional<StreamedChunk> DuplexStream::next() { return taken(chunks_.pop()); }

std::optional<StreamedChunk> DuplexStream::poll() { return taken(chunks_.try_pop()); }

std::optional<StreamedChunk> DuplexStream::taken(std::optional<StreamedChunk> chunk) {
    if (chunk) {
        --n_chunk_;
    } else if (chunks_.is_over()) {
        rethrow();
    }
    return chunk;
}

void DuplexStream::run_encoder() {
    while (std::optional<WaitingUnit> waiting = inbox_.pop()) {
        Unit unit;
        unit.complete = waiting->complete;
        unit.out.n_dropped_frames = waiting->n_dropped_frames;
        UnitInput input;
        input.audio = waiting->audio;
        for (const OwnedFrame& frame : waiting->frames) {
            input.frames.push_back({frame.image.view(), frame.max_slices});
        }
        unit.encoded = session_.encode(input);
        unit.out.chunk.timings.vision_s = unit.encoded.vision_s;
        unit.out.chunk.timings.audio_s = unit.encoded.audio_s;
        if (!encoded_.push(std::move(unit))) return;
    }
    encoded_.close();
}

void DuplexStream::run_writer() {
    while (std::optional<Unit> unit = encoded_.pop()) {
        DuplexChunk& chunk = unit->out.chunk;
        chunk.unit = session_.n_unit();
        chunk.words = session_.write(unit->encoded, false);
        unit->encoded = {};
        chunk.timings.prefill_s = chunk.words.prefill_s;
        chunk.timings.decode_s = chunk.words.decode_s;
        if (!written_.push(std::move(*unit))) return;
    }
    written_.close();
}

void DuplexStream::run_codes() {
    while (std::optional<Unit> unit = written_.pop()) {
        unit->codes = session_.codes(unit->out.chunk.unit, unit->out.chunk.words);
        unit->out.chunk.timings.codes_s = unit->codes.codes_s;
        if (!coded_.push(std::move(*unit))) return;
    }
    coded_.close();
}

void DuplexStream::run_samples() {
    while (std::optional<Unit> unit = coded_.pop()) {
        UnitSound sound = session_.samples(unit->codes);
        StreamedChunk& out = unit->out;
        out.chunk.samples = std::move(sound.samples);
        out.chunk.is_cut = sound.is_cut;
        out.chunk.timings.flow_s = sound.flow_s;
        out.chunk.timings.vocoder_s = sound.vocoder_s;
        out.latency_s = out.chunk.timings.total_s = seconds_since(unit->complete);
        out.is_late = out.latency_s > session_.unit_s();
        out.n_queued = inbox_.n_waiting();
        ++n_chunk_;
        if (!chunks_.push(std::move(out))) return;
    }
    chunks_.close();
}

// A stage that fails ends the stream: those before it have nowhere to go, those behind it finish what they
// have.
void DuplexStream::run(size_t index, void (DuplexStream::*stage)()) {
    try {
        (this->*stage)();
    } catch (...) {
        {
            const std::lock_guard lock(mutex_);
            if (!error_) error_ = std::current_exception();
        }
        const std::array<BoundedQueue<Unit>*, 3> queues = {&encoded_, &written_, &coded_};
        inbox_.close();
        for (size_t i = 0; i < index; ++i) queues[i]->cancel();
        if (index < queues.size()) {
            queues[index]->close();
        } else {
            chunks_.close();
        }
    }
}

void DuplexStream::rethrow() {
    const std::lock_guard lock(mutex_);
    if (error_) std::rethrow_exception(error_);
}

}  // namespace minicpmo
