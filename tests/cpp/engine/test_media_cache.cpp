#include "engine/media_cache.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <thread>

#include "engine/tiny_session.h"

using namespace minicpmo;

namespace {

MediumRows content(int number, int32_t row = 0) {
    MediumRows rows;
    rows.medium.fill(static_cast<uint8_t>(number));
    rows.row = row;
    return rows;
}

MediaCache::Rows some_rows(int64_t n, int value) {
    auto rows = std::make_shared<Array<float>>(std::vector<int64_t>{4, n});
    std::fill(rows->data.begin(), rows->data.end(), static_cast<float>(value));
    return rows;
}

// Of a cache that holds so many entries of 64 rows and no more.
constexpr size_t entry_bytes(size_t n) { return n * (4 * 64 * sizeof(float) + 512) + 100; }

std::shared_ptr<const Model> load_with(size_t max_bytes) {
    const TinyModelFile file;
    return Model::load(file.path(),
                       {.backend = {.device = "cpu", .n_threads = 1}, .media_cache_bytes = max_bytes});
}

struct Answered {
    std::vector<int32_t> ids;
    std::vector<float> hidden;
    Timings timings;
};

Answered ask(const std::shared_ptr<const Model>& model, const Message& message, bool is_chat = true) {
    Session session(model, {});
    if (is_chat) {
        session.prefill_chat(std::span(&message, 1), {});
    } else {
        session.prefill(std::span(&message, 1), {});
    }
    GenerateOptions options = greedy();
    options.keep_hidden = true;
    Answered answered;
    answered.ids = answer(session, options);
    answered.hidden = session.answer_hidden().data;
    answered.timings = session.timings();
    return answered;
}

}  // namespace

TEST_CASE("a cache finds what it was given, and nothing that only looks like it") {
    MediaCache cache(1 << 20);
    cache.add(content(1), some_rows(64, 1));
    cache.add(content(1), some_rows(10, 2));
    cache.add(content(1, 10), some_rows(64, 3));
    CHECK(cache.find(content(1), 64)->data.front() == 1);
    CHECK(cache.find(content(1), 10)->data.front() == 2);
    CHECK(cache.find(content(1, 10), 64)->data.front() == 3);
    CHECK(cache.find(content(2), 64) == nullptr);
    CHECK(cache.find(content(1), 63) == nullptr);
    CHECK(cache.find(content(1, 11), 64) == nullptr);
    MediumRows other = content(1);
    other.medium.back() ^= 1;
    CHECK(cache.find(other, 64) == nullptr);
}

TEST_CASE("beyond its limit a cache forgets what nobody asked for longest") {
    MediaCache cache(entry_bytes(3));
    for (const int i : {1, 2, 3}) cache.add(content(i), some_rows(64, i));
    CHECK(cache.find(content(1), 64) != nullptr);
    cache.add(content(4), some_rows(64, 4));
    CHECK(cache.find(content(2), 64) == nullptr);
    for (const int i : {1, 3, 4}) CHECK(cache.find(content(i), 64) != nullptr);
    CHECK(cache.n_bytes() <= cache.max_bytes());
    cache.add(content(5), some_rows(64 * 100, 5));  // larger than all of it
    CHECK(cache.find(content(5), 64 * 100) == nullptr);
    for (const int i : {1, 3, 4}) CHECK(cache.find(content(i), 64) != nullptr);
    const MediaCache::Rows held = cache.find(content(1), 64);
    for (int i = 10; i < 20; ++i) cache.add(content(i), some_rows(64, i));
    CHECK(held->data.front() == 1);  // whoever has it keeps it
    MediaCache off(0);
    off.add(content(1), some_rows(64, 1));
    CHECK(off.find(content(1), 64) == nullptr);
    CHECK(off.n_bytes() == 0);
}

TEST_CASE("what comes from the cache is what the encoder gives, to the bit") {
    const auto model = load_with(1 << 20);
    const auto without = load_with(0);
    const Image image = random_image(140, 60);
    Image other = image;
    other.pixels[0] ^= 0xff;
    const std::vector<float> sound = random_sound(16000 * 2);
    for (const bool is_chat : {true, false}) {
        CAPTURE(is_chat);
        const Message shown{Role::user, {text_part("what?"), image_part(image), audio_part(sound)}};
        const Answered plain = ask(without, shown, is_chat);
        CHECK(plain.timings.media.n_slice > 2);
        CHECK(plain.timings.media.n_slice_found == 0);
        for (int i = 0; i < 3; ++i) {
            const Answered got = ask(model, shown, is_chat);
            CHECK(got.ids == plain.ids);
            CHECK(got.hidden == plain.hidden);
            const MediaTimings& media = got.timings.media;
            CHECK(media.n_slice == plain.timings.media.n_slice);
            CHECK(media.n_audio == plain.timings.media.n_audio);
            CHECK(media.n_slice_found == (i > 0 || !is_chat ? media.n_slice : 0));
            CHECK(media.n_audio_found == (i > 0 || !is_chat ? media.n_audio : 0));
        }
        CHECK(ask(without, shown, is_chat).timings.media.n_slice_found == 0);
    }
    const Message changed{Role::user, {image_part(other)}};
    CHECK(ask(model, changed).hidden == ask(without, changed).hidden);
    CHECK(model->media_cache().n_bytes() > 0);
    CHECK(without->media_cache().n_bytes() == 0);
}

TEST_CASE("a second of sound and all of it are other rows of one medium") {
    const auto model = load_with(1 << 20);
    const auto without = load_with(0);
    const std::vector<float> sound = random_sound(16000 * 3);
    const Message heard{Role::user, {audio_part(sound)}};
    PromptOptions seconds;
    seconds.stream_input = true;
    std::vector<std::vector<int32_t>> said;
    for (const auto& each : {model, without}) {
        for (const PromptOptions& options : {PromptOptions{}, seconds, PromptOptions{}, seconds}) {
            Session session(each, {});
            session.prefill_chat(std::span(&heard, 1), options);
            said.push_back(answer(session));
        }
    }
    CHECK(std::equal(said.begin(), said.begin() + 4, said.begin() + 4));
}

TEST_CASE("threads that show a model the same pictures get the same answers") {
    // Room for some of the pictures, so that entries come and go under the threads.
    const auto model = load_with(4 * (kTinyEmbd * kTinyQueries * sizeof(float) + 512));
    const auto without = load_with(0);
    std::vector<Image> images;
    std::vector<std::vector<float>> expected;
    for (uint64_t i = 0; i < 6; ++i) images.push_back(random_image(60, 60, i));
    for (const Image& image : images) {
        expected.push_back(ask(without, {Role::user, {image_part(image)}}).hidden);
    }
    std::atomic<int> n_wrong = 0;
    {
        std::vector<std::jthread> threads;
        for (size_t t = 0; t < 4; ++t) {
            threads.emplace_back([&, t] {
                for (size_t i = 0; i < 24; ++i) {
                    const size_t which = (i * (t + 1) + t) % images.size();
                    const Answered got = ask(model, {Role::user, {image_part(images[which])}});
                    if (got.hidden != expected[which]) ++n_wrong;
                }
            });
        }
    }
    CHECK(n_wrong == 0);
    CHECK(model->media_cache().n_bytes() <= model->media_cache().max_bytes());
}
