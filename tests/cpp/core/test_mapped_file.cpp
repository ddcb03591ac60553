#include "core/mapped_file.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string_view>

#include "base/error.h"
#include "core/temp_folder.h"

using namespace minicpmo;

TEST_CASE("a mapped file shows exactly the bytes of the file") {
    const TempFolder folder;
    const std::string content = std::string(5000, 'a') + std::string("\0\xff!", 3);
    const MappedFile file(folder.write("sound.bin", content));
    REQUIRE(file.bytes().size() == content.size());
    CHECK(std::memcmp(file.bytes().data(), content.data(), content.size()) == 0);
}

TEST_CASE("a file with a name outside ASCII can be mapped and is named in UTF-8") {
    const TempFolder folder;
    const auto path = folder.path() / u8"modèle-模型.gguf";
    std::filesystem::rename(folder.write("x", "content"), path);
    CHECK(MappedFile(path).bytes().size() == 7);
    CHECK(utf8_path(path).ends_with("mod\xc3\xa8le-\xe6\xa8\xa1\xe5\x9e\x8b.gguf"));
}

TEST_CASE("an absent file, a folder and an empty file are refused with their path") {
    const TempFolder folder;
    const auto fails_with = [](const std::filesystem::path& path, std::string_view reason) {
        try {
            const MappedFile file(path);
            FAIL("opened ", utf8_path(path));
        } catch (const ModelFileError& error) {
            const std::string message = error.what();
            CAPTURE(message);
            CHECK(message.starts_with("[mapped_file] "));
            CHECK(message.find(utf8_path(path)) != std::string::npos);
            CHECK(message.find(reason) != std::string::npos);
        }
    };
    fails_with(folder.path() / "absent.gguf", "o such file");
    fails_with(folder.path(), "got a folder");
    fails_with(folder.write("nothing.gguf", ""), "got an empty one");
#ifndef _WIN32
    fails_with("/dev/null", "device");
#endif
}
