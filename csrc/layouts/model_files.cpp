#include "layouts/model_files.h"

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "core/mapped_file.h"
#include "layouts/adapters.h"
#include "layouts/file_kind.h"
#include "layouts/file_search.h"
#include "layouts/module_choice.h"

namespace minicpmo {

namespace {

namespace fs = std::filesystem;

using FilePtr = std::shared_ptr<const GgufFile>;

struct Part {
    FilePtr file;
    FileKind kind;
};

Part open_part(const fs::path& path) {
    auto file = std::make_shared<const GgufFile>(GgufFile::open(path));
    const FileKind kind = classify(*file);
    return {std::move(file), kind};
}

std::string names_of(const std::vector<Part>& parts) {
    std::string names;
    for (const Part& part : parts) names += (names.empty() ? "" : ", ") + utf8_path(part.file->path());
    return names;
}

std::vector<Part> of_kind(const std::vector<Part>& parts, FileKind kind) {
    std::vector<Part> found;
    for (const Part& part : parts) {
        if (part.kind == kind) found.push_back(part);
    }
    return found;
}

// What lies in a folder. A neighbour that cannot be read is none of ours to complain about loudly.
std::vector<Part> look_around(const fs::path& folder) {
    std::vector<Part> found;
    for (const fs::path& path : find_gguf_files(folder)) {
        try {
            found.push_back(open_part(path));
        } catch (const ModelFileError& error) {
            log(LogLevel::warn, std::string("[files] left out: ") + error.what());
        }
    }
    return found;
}

// A language model and the files it may be joined with.
struct Candidates {
    Part llm;
    std::vector<Part> others;
    ModuleChoice choice = {};
    bool is_exact = false;  // somebody named them: each must be of use
};

Part only_llm(const std::vector<Part>& parts, const std::string& where) {
    std::vector<Part> models = of_kind(parts, FileKind::model);
    if (models.empty()) models = of_kind(parts, FileKind::llm);
    check<ModelFileError>(!models.empty(), "[files] expected a language model, got none ({})", where);
    check<ModelFileError>(models.size() == 1,
                          "[files] expected one language model, got several: {}; name one", names_of(models));
    return models.front();
}

Candidates in_folder(const fs::path& folder, const ModuleChoice& choice) {
    const std::vector<Part> parts = look_around(folder);
    return {only_llm(parts, utf8_path(folder)), parts, choice};
}

// Beside a part that is no language model, or one folder up: published sets have folders inside.
Candidates around_part(const Part& part, const ModuleChoice& choice) {
    const fs::path folder = fs::absolute(part.file->path()).parent_path();
    for (const fs::path& place : {folder, folder.parent_path()}) {
        std::vector<Part> parts = look_around(place);
        if (of_kind(parts, FileKind::model).empty() && of_kind(parts, FileKind::llm).empty()) continue;
        std::erase_if(parts, [&](const Part& other) { return other.kind == part.kind; });
        parts.push_back(part);
        return {only_llm(parts, utf8_path(place)), parts, choice};
    }
    fail<ModelFileError>("[files] expected a language model beside {}, got none ({})", title(part.kind),
                         utf8_path(part.file->path()));
}

Candidates named(const Part& main, std::span<const fs::path> paths, const ModuleChoice& choice) {
    std::vector<Part> parts = {main};
    for (const fs::path& path : paths) {
        std::error_code ignored;
        if (fs::is_directory(path, ignored)) {
            for (Part& part : look_around(path)) parts.push_back(std::move(part));
        } else {
            parts.push_back(open_part(path));
        }
    }
    const std::vector<Part> unknown = of_kind(parts, FileKind::other);
    check<UnsupportedModelError>(unknown.empty(), "[files] expected files of known layouts, got {}",
                                 names_of(unknown));
    return {only_llm(parts, utf8_path(main.file->path())), parts, choice, true};
}

// Chooses among the candidates and joins them.
class Assembly {
public:
    explicit Assembly(const Candidates& candidates)
        : candidates_(candidates), llm_(read_llm_traits(*candidates.llm.file)) {}

    FilePtr build() const {
        const ModuleChoice& wanted = candidates_.choice;
        const FilePtr vision = wanted.vision ? choose(FileKind::vision, is_vision_for) : nullptr;
        const FilePtr audio = wanted.audio ? choose(FileKind::audio, is_audio_for) : nullptr;
        const FilePtr supplement = choose(FileKind::supplement, is_supplement_for);
        const std::optional<Speech> speech = wanted.speech ? find_speech() : std::nullopt;
        const GgufFile& llm = *candidates_.llm.file;
        if (!vision && !audio && !speech && !supplement) return candidates_.llm.file;
        Container container(llm);
        if (candidates_.llm.kind == FileKind::llm) add_llm_facts(container, llm);
        if (vision) add_vision(container, *vision, llm_);
        if (audio) add_audio(container, *audio);
        if (speech) add_speech(container, *speech);
        if (supplement) add_supplement(container, *supplement);
        if (speech && speech->prompt_cache) add_prompt_cache(container, *speech->prompt_cache);
        return std::make_shared<const GgufFile>(std::move(container).build());
    }

private:
    struct Speech {
        FilePtr tts, projector, flow_encoder, flow_matching, flow_extra, vocoder, prompt_cache;
    };
    using Fits = bool (*)(const LlmTraits&, const GgufFile&);

    // The one that fits, or none.
    FilePtr choose(FileKind kind, Fits fits) const {
        std::vector<Part> found = of_kind(candidates_.others, kind);
        for (const Part& part : found) {
            check<ModelFileError>(!candidates_.is_exact || fits(llm_, *part.file),
                                  "[files] expected {} for a language model of width {}, with tokens for it "
                                  "in the vocabulary, got another ({})",
                                  title(kind), llm_.n_embd, utf8_path(part.file->path()));
        }
        std::erase_if(found, [&](const Part& part) { return !fits(llm_, *part.file); });
        check<ModelFileError>(found.size() <= 1, "[files] expected {}, got several: {}; name one",
                              title(kind), names_of(found));
        return found.empty() ? nullptr : found.front().file;
    }
    FilePtr choose(FileKind kind) const {
        return choose(kind, [](const LlmTraits&, const GgufFile&) { return true; });
    }

    std::optional<Speech> find_speech() const {
        Speech speech;
        speech.tts = choose(FileKind::tts, is_tts_for);
        if (speech.tts == nullptr) return std::nullopt;
        std::string missing;
        const auto need = [&](FileKind kind) {
            FilePtr file = choose(kind);
            if (file == nullptr) missing += (missing.empty() ? "" : ", ") + title(kind);
            return file;
        };
        speech.projector = choose(FileKind::projector, is_projector_for);
        speech.flow_encoder = need(FileKind::flow_encoder);
        speech.flow_matching = need(FileKind::flow_matching);
        speech.flow_extra = need(FileKind::flow_extra);
        speech.vocoder = need(FileKind::vocoder);
        speech.prompt_cache = choose(FileKind::prompt_cache);
        if (missing.empty()) return speech;
        const std::string text = format("[files] expected {} beside a model of speech codes, got none ({})",
                                        missing, utf8_path(speech.tts->path()));
        check<ModelFileError>(!candidates_.is_exact, "{}", text);
        log(LogLevel::warn, text + ": it will not speak");
        return std::nullopt;
    }

    static void add_speech(Container& container, const Speech& speech) {
        add_tts(container, *speech.tts, speech.projector.get());
        add_flow(container, {*speech.flow_encoder, *speech.flow_matching, *speech.flow_extra});
        add_vocoder(container, *speech.vocoder);
    }

    const Candidates& candidates_;
    LlmTraits llm_;
};

}  // namespace

FilePtr open_model(const fs::path& path, std::span<const fs::path> parts, bool looks_around,
                   const ModuleChoice& choice) {
    const auto join = [&](const Candidates& candidates) {
        return restricted(Assembly(candidates).build(), choice);
    };
    std::error_code ignored;
    const bool is_exact = !parts.empty() || !looks_around;
    if (!is_exact && fs::is_directory(path, ignored)) return join(in_folder(path, choice));
    const Part main = open_part(path);
    if (is_exact) return join(named(main, parts, choice));
    if (main.kind == FileKind::model || main.kind == FileKind::other) return restricted(main.file, choice);
    if (main.kind != FileKind::llm) return join(around_part(main, choice));
    return join({main, look_around(path.parent_path()), choice});
}

}  // namespace minicpmo
