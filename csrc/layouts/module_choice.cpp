#include "layouts/module_choice.h"

#include <utility>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr std::pair<std::string_view, std::string_view> kPrefixes[] = {
    {"v.", "vision"},     {"resampler.", "vision"}, {"a.", "audio"},     {"mm.a.", "audio"},
    {"tts.", "tts"},      {"t2w.", "t2w"},          {"s3.", "s3"},       {"spk.", "spk"},
    {"voice.", "voices"}, {"dvae.", "dvae"},        {"vocos.", "vocos"},
};

}  // namespace

ModuleChoice parse_modules(std::span<const std::string> names) {
    ModuleChoice choice{false, false, false};
    for (const std::string& name : names) {
        check<ArgumentError>(name == "llm" || name == "vision" || name == "audio" || name == "speech",
                             "[model] expected modules among llm, vision, audio and speech, got \"{}\"",
                             name);
        choice.vision = choice.vision || name == "vision";
        choice.audio = choice.audio || name == "audio";
        choice.speech = choice.speech || name == "speech";
    }
    return choice;
}

std::string_view module_of(std::string_view tensor) {
    for (const auto& [prefix, module] : kPrefixes) {
        if (tensor.starts_with(prefix)) return module;
    }
    return "llm";
}

bool wants(const ModuleChoice& choice, std::string_view module) {
    if (module == "llm") return true;
    if (module == "vision") return choice.vision;
    return module == "audio" ? choice.audio : choice.speech;
}

std::shared_ptr<const GgufFile> restricted(std::shared_ptr<const GgufFile> file, const ModuleChoice& choice) {
    if (choice.has_all()) return file;
    std::vector<TensorInfo> tensors;
    for (const TensorInfo& tensor : file->tensors()) {
        if (wants(choice, module_of(tensor.name))) tensors.push_back(tensor);
    }
    const auto regions = file->regions();
    return std::make_shared<const GgufFile>(GgufFile::assemble(
        file->path(), file->metadata(), std::move(tensors), {regions.begin(), regions.end()}));
}

}  // namespace minicpmo
