// soak_duplex SECONDS [SESSIONS] [SEED]: conversations in full duplex side by side on one tiny model, sound
// in pieces of random length, frames, interruptions at random moments from threads of their own, streams that
// end and begin anew. For a thread sanitizer; without one too it fails when a unit is missing or out of
// order.

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "engine/duplex_stream.h"
#include "models/tiny_model.h"

using namespace minicpmo;

namespace {

using Clock = std::chrono::steady_clock;

struct Totals {
    std::atomic<int64_t> n_unit = 0, n_cut = 0, n_interrupt = 0, n_stream = 0;
};

std::vector<float> noise(size_t n, Rng& rng) {
    std::vector<float> samples(n);
    for (float& x : samples) x = 0.4F * (static_cast<float>(rng.uniform()) - 0.5F);
    return samples;
}

void interrupt_now_and_then(DuplexSession& session, std::atomic<bool>& is_over, uint64_t seed,
                            Totals& totals) {
    Rng rng{seed, 0};
    while (!is_over) {
        std::this_thread::sleep_for(std::chrono::milliseconds(rng.next() % 200));
        session.interrupt();
        ++totals.n_interrupt;
    }
}

// One stream of some units, begun and ended; every unit comes, in order.
void stream(DuplexSession& session, Rng& rng, Totals& totals) {
    const auto n_unit = static_cast<int64_t>(3 + rng.next() % 12);
    const int64_t first = session.n_unit();
    DuplexStream live(session);
    std::exception_ptr error;
    Rng own{rng.next(), 0};
    std::jthread pusher([&] {
        try {
            for (int64_t n_left = n_unit * session.unit_samples(); n_left > 0;) {
                const int64_t n = std::min<int64_t>(n_left, 1 + static_cast<int64_t>(own.next() % 40000));
                if (own.uniform() < 0.3) {
                    OwnedFrame frame{Image(40, 30)};
                    for (uint8_t& value : frame.image.pixels) value = static_cast<uint8_t>(own.next());
                    live.push_frame(std::move(frame));
                }
                live.push_audio(noise(static_cast<size_t>(n), own), Clock::now() + std::chrono::hours(1));
                n_left -= n;
            }
            live.finish();
        } catch (...) {
            error = std::current_exception();
        }
    });
    int64_t n = 0;
    while (const std::optional<StreamedChunk> streamed = live.next()) {
        check<Error>(streamed->chunk.unit == first + n, "[soak] expected unit {}, got {}", first + n,
                     streamed->chunk.unit);
        totals.n_cut += streamed->chunk.is_cut ? 1 : 0;
        ++n;
    }
    pusher.join();
    if (error) std::rethrow_exception(error);
    check<Error>(n == n_unit, "[soak] expected {} units, got {}", n_unit, n);
    totals.n_unit += n;
    ++totals.n_stream;
}

void converse(const std::shared_ptr<const Model>& model, Clock::time_point end, uint64_t seed,
              Totals& totals) {
    Rng rng{seed, 0};
    DuplexOptions options;
    options.window = {.mode = rng.uniform() < 0.5 ? WindowMode::basic : WindowMode::context,
                      .high = 600,
                      .low = 400,
                      .max_units = 6,
                      .max_previous = 40};
    options.sampling.seed = seed;
    DuplexSession session(model, options);
    const Voice& voice = model->speech().voice("");
    session.prepare({.reference = {}, .voice = &voice});
    std::atomic<bool> is_over = false;
    const uint64_t other_seed = rng.next();
    std::jthread interrupter([&] { interrupt_now_and_then(session, is_over, other_seed, totals); });
    try {
        while (Clock::now() < end) stream(session, rng, totals);
    } catch (...) {
        is_over = true;
        throw;
    }
    is_over = true;
}

}  // namespace

int main(int argc, char** argv) {
    const int seconds = argc > 1 ? std::atoi(argv[1]) : 10;
    const int n_session = argc > 2 ? std::atoi(argv[2]) : 4;
    const auto seed = static_cast<uint64_t>(argc > 3 ? std::atoi(argv[3]) : 1);
    const TinyModelFile file({.has_speech = true, .has_duplex = true});
    LoadOptions options{.backend = {.device = "cpu", .n_threads = 1}};
    options.max_sessions = n_session;
    options.batches_sessions = true;
    const std::shared_ptr<const Model> model = Model::load(file.path(), options);
    const Clock::time_point end = Clock::now() + std::chrono::seconds(seconds);
    Totals totals;
    std::mutex mutex;
    std::string failure;
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < n_session; ++i) {
            threads.emplace_back([&, i] {
                try {
                    converse(model, end, seed + static_cast<uint64_t>(i), totals);
                } catch (const std::exception& error) {
                    const std::lock_guard lock(mutex);
                    failure = error.what();
                }
            });
        }
    }
    std::cout << totals.n_unit << " units in " << totals.n_stream << " streams of " << n_session
              << " conversations, " << totals.n_interrupt << " interruptions, " << totals.n_cut << " cut\n";
    if (!failure.empty()) std::cout << "failed: " << failure << "\n";
    return failure.empty() && totals.n_unit > 0 ? 0 : 1;
}
