#include "engine/session_file.h"

#include <fstream>

#include "core/mapped_file.h"

namespace minicpmo {

namespace {

constexpr uint64_t kMagic = 0x314e4f4953534553ULL;  // "SESSION1"
constexpr uint32_t kVersion = 1;

struct Title {
    uint64_t magic = kMagic;
    uint32_t version = kVersion;
    uint32_t kind = 0;
    uint64_t model_bytes = 0;
    std::string model_name;

    void archive(Archive& archive) {
        archive(magic);
        archive(version);
        archive(kind);
        archive(model_bytes);
        archive(model_name);
    }
};

Title title_of(SessionKind kind, const Model& model) {
    return {kMagic, kVersion, static_cast<uint32_t>(kind), model.file_bytes(), model.config().name};
}

}  // namespace

void save_session(const std::filesystem::path& path, SessionKind kind, const Model& model,
                  const std::function<void(Archive&)>& write) {
    std::filesystem::path draft = path;
    draft += ".part";
    std::error_code error;
    {
        std::ofstream file(draft, std::ios::binary | std::ios::trunc);
        Archive archive(file);
        Title title = title_of(kind, model);
        try {
            archive(title);
            write(archive);
        } catch (...) {
            file.close();
            std::filesystem::remove(draft, error);
            throw;
        }
        uint64_t sum = archive.checksum();
        archive(sum);
        file.close();
        if (file.fail()) {
            std::filesystem::remove(draft, error);
            fail<Error>("[session] expected a file that can be written, got an error ({})", utf8_path(path));
        }
    }
    std::filesystem::rename(draft, path, error);
    check<Error>(!error, "[session] expected a file that can be written, got {} ({})", error.message(),
                 utf8_path(path));
}

void load_session(const std::filesystem::path& path, SessionKind kind, const Model& model,
                  const std::function<void(Archive&)>& read) {
    const MappedFile file(path);
    const std::span<const std::byte> bytes = file.bytes();
    const std::string name = utf8_path(path);
    constexpr size_t kSum = sizeof(uint64_t);
    check<ModelFileError>(bytes.size() > kSum, "[session] expected a saved conversation, got {} bytes ({})",
                          bytes.size(), name);
    const std::span<const std::byte> body = bytes.first(bytes.size() - kSum);
    try {
        uint64_t magic = 0;
        Archive{body}(magic);
        check<ModelFileError>(magic == kMagic, "[session] expected a saved conversation, got another file");
        uint64_t sum = 0;
        Archive{bytes.last(kSum)}(sum);
        Checksum own_sum;
        own_sum.add(body);
        check<ModelFileError>(sum == own_sum.value,
                              "[session] expected a whole file, got one that is cut or damaged");
        Archive archive(body);
        Title title;
        archive(title);
        const Title own = title_of(kind, model);
        check<ModelFileError>(title.version == own.version && title.kind == own.kind,
                              "[session] expected version {} and kind {}, got {} and {}", own.version,
                              own.kind, title.version, title.kind);
        check<ModelFileError>(
            title.model_bytes == own.model_bytes && title.model_name == own.model_name,
            "[session] expected a conversation with {} ({} bytes), got one with {} ({} bytes)",
            own.model_name, own.model_bytes, title.model_name, title.model_bytes);
        read(archive);
        check<ModelFileError>(archive.n_left() == 0,
                              "[session] expected the end of the file, got {} bytes more", archive.n_left());
    } catch (const ModelFileError& error) {
        fail<ModelFileError>("{} ({})", error.what(), name);
    } catch (const ContextFullError& error) {
        fail<ModelFileError>("{} ({})", error.what(), name);
    }
}

}  // namespace minicpmo
