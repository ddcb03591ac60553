// fuzz_gguf FILE|FOLDER|--builtin|--builtin-books N [NUMBER]: opens N damaged copies of a GGUF file, or of
// the files of a published folder in turn, loads those that open as models, and talks to those that load,
// aloud if they speak. Nothing but minicpmo::Error may come out; anything else ends the run with status 1 and
// keeps the damaged copy. --builtin damages a tiny model of its own, --builtin-books one that speaks in
// several code books.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/stopwatch.h"
#include "engine/audio_stream.h"
#include "engine/book_decoder.h"
#include "engine/session.h"
#include "engine/speech_decoder.h"
#include "engine/spoken_answer.h"
#include "fuzz/mutator.h"
#include "layouts/file_kind.h"
#include "layouts/file_search.h"
#include "models/tiny_model.h"

using namespace minicpmo;

namespace {

constexpr size_t kMaxHeaderBytes = size_t{1} << 20;

struct Counts {
    int n_opened = 0;
    int n_loaded = 0;
    int n_answered = 0;
    double slowest_s = 0;
    int slowest = 0;
};

template <class T>
void try_get(const GgufFile& file, const std::string& key) {
    try {
        static_cast<void>(file.get<T>(key));
    } catch (const ModelFileError&) {
        // Of another kind, or a number that T cannot hold.
    }
}

// Reads all that an open file offers, so that a sanitizer sees any byte outside the mapping.
void exercise(const GgufFile& file) {
    for (const auto& [key, value] : file.metadata()) {
        try_get<bool>(file, key);
        try_get<int64_t>(file, key);
        try_get<double>(file, key);
        try_get<std::string>(file, key);
        try_get<std::vector<bool>>(file, key);
        try_get<std::vector<int64_t>>(file, key);
        try_get<std::vector<double>>(file, key);
        try_get<std::vector<std::string>>(file, key);
    }
    volatile unsigned sink = 0;
    for (const TensorInfo& info : file.tensors()) {
        const auto mapping = file.regions()[info.region].bytes;
        check<std::logic_error>(file.find_tensor(info.name) == &info, "tensor {} is not found by its name",
                                info.name);
        check<std::logic_error>(info.data.data() >= mapping.data() &&
                                    info.data.data() + info.data.size() <= mapping.data() + mapping.size(),
                                "tensor {} lies outside its file", info.name);
        sink =
            sink + std::to_integer<unsigned>(info.data.front()) + std::to_integer<unsigned>(info.data.back());
    }
}

// A picture, a sound and a question, and the first tokens of the answer; before, the ids alone.
void talk(const std::shared_ptr<const Model>& model) {
    const std::string text = "Hello, w\xc3\xb6rld! <|im_end|> 123 \xff";
    const std::vector<int32_t> ids = model->tokenizer().encode(text, true);
    static_cast<void>(model->tokenizer().decode(ids));
    static_cast<void>(model->forward({.ids = ids, .embeds = {}}));
    Image image(90, 60);
    for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 31);
    Message message{Role::user, {{PartKind::text, text, {}, {}}}};
    if (model->config().vision)
        message.content.insert(message.content.begin(), {PartKind::image, "", image.view(), {}});
    std::vector<float> sound(9000);
    for (size_t i = 0; i < sound.size(); ++i) sound[i] = 0.001F * static_cast<float>(i * 31 % 199);
    if (model->config().audio) {
        message.content.push_back({PartKind::audio, "", {}, sound});
        AudioStream stream(model, AudioStreamMode::duplex);
        static_cast<void>(stream.push(sound));
        static_cast<void>(stream.finish());
    }
    Session session(model, {});
    session.prefill(std::span(&message, 1), {});
    GenerateOptions options;
    options.max_new_tokens = 3;
    session.begin(options);
    while (session.next()) {
    }
}

// The first tokens of an answer.
void say(const std::shared_ptr<const Model>& model, CodeDecoder& decoder, bool is_whole) {
    Session session(model, {});
    const Message message{Role::user, {{PartKind::text, "Hello", {}, {}}}};
    session.prefill(std::span(&message, 1), {});
    GenerateOptions options;
    options.max_new_tokens = 3;
    SpokenAnswer answer(model, session, decoder, options, {.is_whole = is_whole});
    for (int n_sample = 0; n_sample < 2 * model->sample_rate();) {
        const auto piece = answer.next();
        if (!piece) return;
        n_sample += static_cast<int>(piece->samples.size());
    }
}

// As the prompt sounds, decoded as a whole, and piece by piece.
void speak_in_books(const std::shared_ptr<const Model>& model) {
    BookDecoder decoder(model);
    for (const bool is_whole : {true, false}) say(model, decoder, is_whole);
}

// A voice of a recording, and an answer in that voice, or in one of the file: the one that its flow
// remembers, if there is such.
void speak_in_voices(const std::shared_ptr<const Model>& model) {
    std::vector<float> sound(9000);
    for (size_t i = 0; i < sound.size(); ++i) sound[i] = 0.002F * static_cast<float>(i * 37 % 211) - 0.2F;
    Workspace workspace(model->backend());
    const SpeechModel& speech = model->speech();
    Voice voice = speech.can_clone() ? speech.voice_encoder().encode(sound, "", workspace) : speech.voice("");
    for (const Voice& stored : speech.voices()) {
        if (stored.cache != nullptr) voice = stored;
    }
    SpeechDecoder decoder(model, voice, {.n_step = voice.cache != nullptr ? 0 : 2});
    say(model, decoder, false);
}

// A model: a file, and the other files of its set.
struct FileSet {
    std::filesystem::path model;
    std::vector<std::filesystem::path> parts;
};

void run_mutant(const FileSet& set, const std::filesystem::path& damaged, Counts& counts) {
    exercise(GgufFile::open(damaged));
    ++counts.n_opened;
    const auto model =
        Model::load(set.model, {.backend = {.device = "cpu", .n_threads = 1}, .parts = set.parts});
    ++counts.n_loaded;
    talk(model);
    if (model->has_voices()) {
        speak_in_voices(model);
    } else if (model->has_speech()) {
        speak_in_books(model);
    }
    ++counts.n_answered;
}

size_t header_bytes(const GgufFile& file) {
    size_t n = std::min(file.n_bytes(), kMaxHeaderBytes);
    const std::byte* start = file.regions()[0].bytes.data();
    for (const TensorInfo& info : file.tensors())
        n = std::min(n, static_cast<size_t>(info.data.data() - start));
    return n;
}

// A file that is damaged again and again, and is sound in between.
class Victim {
public:
    Victim(std::filesystem::path path, uint64_t seed)
        : path_(std::move(path)),
          sound_(read(path_)),
          mutator_(sound_, header_bytes(GgufFile::open(path_)), seed) {}
    const std::filesystem::path& path() const { return path_; }
    void damage() { write(mutator_.next()); }
    void repair() { write(sound_); }

private:
    static std::string read(const std::filesystem::path& path) {
        std::ifstream in(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    void write(const std::string& bytes) {
        std::ofstream(path_, std::ios::binary)
            .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }

    std::filesystem::path path_;
    std::string sound_;
    Mutator mutator_;
};

int run(const FileSet& set, int n_mutant, uint64_t seed) {
    Counts counts;
    run_mutant(set, set.model, counts);  // undamaged, it must answer
    counts = {};
    std::deque<Victim> victims;  // which stay where they are
    victims.emplace_back(set.model, seed);
    for (const auto& part : set.parts) victims.emplace_back(part, seed + victims.size());
    std::cout << "seed " << seed << ", damaged copies in " << set.model.parent_path().string()
              << std::endl;  // seen even after an abort
    for (int i = 0; i < n_mutant; ++i) {
        Victim& victim = victims[static_cast<size_t>(i) % victims.size()];
        victim.damage();
        const Stopwatch watch;
        try {
            run_mutant(set, victim.path(), counts);
        } catch (const Error&) {
            // Refused, as it should be.
        } catch (const std::exception& error) {
            std::cout << "mutant " << i << " of seed " << seed << " (" << victim.path().string()
                      << "): " << error.what() << "\n";
            return 1;
        }
        victim.repair();
        if (watch.seconds() > counts.slowest_s) {
            counts.slowest_s = watch.seconds();
            counts.slowest = i;
        }
    }
    std::cout << n_mutant << " mutated files: " << counts.n_opened << " opened, " << counts.n_loaded
              << " loaded, " << counts.n_answered << " answered; the slowest took " << counts.slowest_s
              << " s (number " << counts.slowest << ")\n";
    return 0;
}

// A copy of a file, or of all files of a published folder, to be damaged; kept if something goes wrong.
FileSet copy_set(const std::filesystem::path& source, const std::filesystem::path& target) {
    namespace fs = std::filesystem;
    fs::create_directory(target);
    if (!fs::is_directory(source)) {
        fs::copy_file(source, target / source.filename());
        return {target / source.filename(), {}};
    }
    FileSet set;
    for (const fs::path& path : find_gguf_files(source)) {
        const fs::path copy = target / (std::to_string(set.parts.size()) + ".gguf");
        fs::copy_file(path, copy);
        const FileKind kind = classify(GgufFile::open(copy));
        if (kind == FileKind::llm) {
            set.model = target / "llm.gguf";
            fs::rename(copy, set.model);
        } else {
            set.parts.push_back(copy);
        }
    }
    return set;
}

int run_copy(const std::filesystem::path& source, int n_mutant, uint64_t seed) {
    const auto folder =
        std::filesystem::temp_directory_path() / ("fuzz_gguf_" + std::to_string(std::random_device{}()));
    const int status = run(copy_set(source, folder), n_mutant, seed);
    if (status == 0) std::filesystem::remove_all(folder);
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3 && argc != 4) {
        std::cerr << "usage: fuzz_gguf FILE|FOLDER|--builtin|--builtin-books N [NUMBER]\n";
        return 2;
    }
    try {
        set_log_sink([](LogLevel, std::string_view) {});
        const int n_mutant = std::stoi(argv[2]);
        const uint64_t seed = argc == 4 ? std::stoull(argv[3]) : 1;
        const std::string source = argv[1];
        if (!source.starts_with("--builtin")) return run_copy(source, n_mutant, seed);
        const bool has_books = source == "--builtin-books";
        const TinyModelFile file(
            {.has_speech = !has_books, .has_books = has_books, .n_ctx_speech = 512, .n_ctx = 512});
        return run_copy(file.path(), n_mutant, seed);
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
}
