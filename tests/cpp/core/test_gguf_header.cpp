#include "core/gguf_header.h"

#include <doctest/doctest.h>

#include "core/built_gguf.h"

using namespace minicpmo;

TEST_CASE("a sound file of version 2 or 3 gives its keys, shapes, types and bytes") {
    for (const uint32_t version : {2U, 3U}) {
        GgufBuilder b = sound();
        b.version = version;
        const GgufFile file = open_built(b);
        CHECK(file.n_bytes() == b.build().size());
        CHECK(file.metadata().size() == 3);
        CHECK(file.get<std::string>("general.architecture") == "qwen3");
        CHECK(file.get<std::vector<std::string>>("tokens") == std::vector<std::string>{"a", "", "c"});
        REQUIRE(file.tensors().size() == 3);
        const TensorInfo& second = *file.find_tensor("second");
        CHECK(&second == &file.tensors()[1]);
        CHECK(second.type == GGML_TYPE_Q8_0);
        CHECK(second.n_dims == 2);
        CHECK(second.ne == std::array<int64_t, 4>{32, 2, 1, 1});
        CHECK(second.region == 0);
        CHECK(second.data.size() == 68);
        CHECK(second.data.front() == std::byte{0x22});
        CHECK(second.data.back() == std::byte{0x22});
        CHECK(file.find_tensor("third")->ne == std::array<int64_t, 4>{1, 2, 1, 3});
        CHECK(file.find_tensor("absent") == nullptr);
    }
}

TEST_CASE("a file without tensors may end with its last key, and without keys and tensors with its counts") {
    CHECK(open_built(GgufBuilder().add("a", true)).get<bool>("a"));
    CHECK(open_built(GgufBuilder()).metadata().empty());
}

TEST_CASE("the bytes of a tensor outlive the GgufFile that is copied from") {
    std::vector<GgufFile> kept;
    {
        const GgufFile file = open_built(sound());
        kept.push_back(file);
    }
    CHECK(kept[0].find_tensor("third")->data.back() == std::byte{0x33});
}

TEST_CASE("a wrong magic, version or byte order is refused with its own message") {
    GgufBuilder b = sound();
    b.magic = "ggj\x01";
    check_refused(b, {"starts with 'GGUF'", "'ggj\\x01'"});
    b.magic = "GGUF";
    const std::vector<std::pair<uint32_t, std::string>> cases = {{0, "got 0"},
                                                                 {1, "retired version 1"},
                                                                 {4, "got 4"},
                                                                 {0x02000000, "big-endian"},
                                                                 {0x03000000, "big-endian"}};
    for (const auto& [version, message] : cases) {
        b.version = version;
        check_refused(b, {message});
    }
}

TEST_CASE("a file cut at any byte is refused") {
    const std::string bytes = sound().build();
    const size_t end = bytes.size() - (32 - 12);  // after it only padding follows
    const TempFolder folder;
    for (size_t n = 1; n < end; ++n) {
        const auto path = folder.write("cut.gguf", std::string_view(bytes).substr(0, n));
        CAPTURE(n);
        CHECK_FALSE(refusal([&] { GgufFile::open(path); }).empty());
    }
    CHECK_NOTHROW(GgufFile::open(folder.write("cut.gguf", std::string_view(bytes).substr(0, end))));
}

TEST_CASE("counts that the file cannot hold are refused before anything is reserved") {
    for (const uint64_t n : {kHuge, uint64_t{1} << 62, uint64_t{1000}}) {
        GgufBuilder b = sound();
        b.n_tensor = n;
        check_refused(b, {"at most", "tensors", std::to_string(n)});
        b = sound();
        b.n_key = n;
        check_refused(b, {"at most", "keys", std::to_string(n)});
    }
}

TEST_CASE("keys must have a name, fit the file and be unique") {
    check_refused(GgufBuilder().add("", 1.0), {"key number 1", "0 bytes"});
    check_refused(GgufBuilder().add(std::string(65536, 'k'), true), {"key number 1", "65536 bytes"});
    CHECK(open_built(GgufBuilder().add(std::string(65535, 'k'), true)).metadata().size() == 1);
    check_refused(sound().add("qwen3.block_count", int32_t{1}), {"'qwen3.block_count'", "twice"});
    GgufBuilder b;
    b.keys.push_back(le(kHuge) + std::string(20, 'x'));
    check_refused(b, {std::to_string(kHuge), "key number 1"});
}

TEST_CASE("unknown value types, nested arrays and bools other than 0 and 1 are refused") {
    check_refused(GgufBuilder().raw("k", 13, le(uint64_t{0})), {"'k'", "value type", "13"});
    check_refused(GgufBuilder().raw("k", kGgufArray, le(uint32_t{99}) + le(uint64_t{0})),
                  {"'k'", "element type", "99"});
    check_refused(GgufBuilder().raw("k", kGgufArray, le(kGgufArray) + le(uint64_t{1})), {"'k'", "nested"});
    check_refused(GgufBuilder().raw("k", kGgufBool, "\x02"), {"'k'", "0 or 1", "got 2"});
    check_refused(
        GgufBuilder().array<uint8_t>("k", {1}).raw("l", kGgufArray, le(kGgufBool) + le(uint64_t{1}) + "\xff"),
        {"'l'", "0 or 1"});
}

TEST_CASE("a header with the wrong type code for general.architecture is recognised") {
    check_refused(GgufBuilder().raw("general.architecture", kGgufU32, text("minicpmtts")),
                  {"wrong type codes", "uint32"});
}

TEST_CASE("strings and arrays longer than the rest of the file are refused") {
    check_refused(GgufBuilder().raw("k", kGgufString, le(kHuge) + "abc"),
                  {"'k'", std::to_string(kHuge), "got 3"});
    for (const uint32_t type : {kGgufU8, kGgufBool, kGgufString, kGgufF64}) {
        for (const uint64_t n : {kHuge, uint64_t{1} << 61, uint64_t{1} << 24, uint64_t{1000}}) {
            check_refused(GgufBuilder().raw("k", kGgufArray, le(type) + le(n) + std::string(40, '\0')),
                          {"'k'"});
        }
    }
    // Without this bound the file would make us reserve 2^24 strings.
    check_refused(
        GgufBuilder().raw("k", kGgufArray, le(kGgufString) + le(uint64_t{1} << 24) + std::string(40, '\0')),
        {"'k'", "at most 5 strings"});
}

TEST_CASE("the arrays of a file together stay below a limit on elements") {
    GgufBuilder b;
    const std::string payload = le(kGgufU8) + le(uint64_t{1} << 23) + std::string(size_t{1} << 23, '\1');
    b.raw("a", kGgufArray, payload).raw("b", kGgufArray, payload);
    CHECK(open_built(b).metadata().size() == 2);
    check_refused(b.array<uint8_t>("c", {1}), {"'c'", "at most 0 elements"});
}

TEST_CASE("tensor names have 1 to 63 bytes, no zero byte and are unique") {
    check_refused(sound().tensor({.name = ""}), {"tensor number 4", "got 0 bytes"});
    check_refused(sound().tensor({.name = std::string(64, 'n')}), {"tensor number 4", "got 64 bytes"});
    CHECK(open_built(sound().tensor({.name = std::string(63, 'n')})).find_tensor(std::string(63, 'n')) !=
          nullptr);
    check_refused(sound().tensor({.name = std::string("a\0b", 3)}), {"'a\\x00b'", "zero bytes"});
    check_refused(sound().tensor({.name = "second"}), {"'second'", "twice"});
}

TEST_CASE("tensors have 1 to 4 dimensions of at least 1 whose product does not overflow") {
    for (const uint32_t n : {0U, 5U, 0xffffffffU}) {
        check_refused(sound().tensor({.name = "t", .n_dims = n}),
                      {"'t'", "1 to 4 dimensions", std::to_string(n)});
    }
    check_refused(sound().tensor({.name = "t", .dims = {8, 0}}), {"'t'", "got 0 in dimension 1"});
    check_refused(sound().tensor({.name = "t", .dims = {kHuge}}), {"'t'", "63-bit"});
    const uint64_t half = uint64_t{1} << 32;
    check_refused(sound().tensor({.name = "t", .dims = {half, half}}), {"'t'", "63-bit", "dimension 1"});
    // 2^62 elements are fine, their 2^64 bytes are not.
    check_refused(sound().tensor({.name = "t", .dims = {half, half / 4}}), {"'t'", "byte count"});
}

TEST_CASE("rows must be whole blocks of the tensor's type") {
    check_refused(sound().tensor({.name = "t", .dims = {48}, .type = GGML_TYPE_Q4_0}),
                  {"'t'", "q4_0", "32", "got 48"});
    check_refused(sound().tensor({.name = "t", .dims = {32, 8}, .type = GGML_TYPE_Q4_K}),
                  {"'t'", "q4_K", "256"});
}

TEST_CASE("unknown and removed tensor types are refused with their number") {
    for (const uint32_t id : {uint32_t{GGML_TYPE_COUNT}, 1000U, 0xffffffffU}) {
        check_refused(sound().tensor({.name = "t", .type = id}),
                      {"'t'", "unknown type " + std::to_string(id)});
    }
    for (const uint32_t id : {4U, 5U, 31U, 32U, 33U, 36U, 37U, 38U}) {
        check_refused(sound().tensor({.name = "t", .type = id}),
                      {"'t'", "removed type " + std::to_string(id)});
    }
}

TEST_CASE("general.alignment moves the data and must be a power of two from 8 on") {
    for (const uint64_t alignment : {8, 16, 64, 4096}) {
        GgufBuilder b = sound().add("general.alignment", static_cast<uint32_t>(alignment));
        b.alignment = alignment;
        const GgufFile file = open_built(b);
        CHECK(file.find_tensor("third")->data.front() == std::byte{0x33});
        CHECK(file.find_tensor("third")->data.back() == std::byte{0x33});
    }
    for (const int64_t alignment : {int64_t{0}, int64_t{4}, int64_t{24}, int64_t{-32}, int64_t{1} << 40}) {
        check_refused(sound().add("general.alignment", alignment),
                      {"'general.alignment'", "power of two", "got " + std::to_string(alignment)});
    }
    check_refused(sound().add("general.alignment", "32"), {"'general.alignment'", "integer"});
}

TEST_CASE("tensor data must be aligned, inside the file and apart from other tensors") {
    check_refused(sound().tensor({.name = "t", .offset = 40}), {"'t'", "aligned to 32", "40"});
    check_refused(sound().tensor({.name = "t", .offset = 1 << 20}), {"'t'", "offset 1048576", "cut short"});
    check_refused(sound().tensor({.name = "t", .offset = kHuge - 31}), {"'t'", "cut short"});
    check_refused(sound().tensor({.name = "t", .dims = {1 << 20}}), {"'t'", "expected 4194304 bytes"});
    check_refused(sound().tensor({.name = "t", .offset = 64}), {"'t'", "'second'", "overlapping"});
    check_refused(sound().tensor({.name = "t", .offset = 0}), {"'t'", "'first.weight'", "overlapping"});
    // Order and gaps are the writer's choice.
    GgufBuilder b;
    b.tensor({.name = "late", .offset = 64})
        .tensor({.name = "early", .data = std::string(64, '\1'), .offset = 0});
    const GgufFile file = open_built(b);
    CHECK(file.find_tensor("late")->data.data() - file.find_tensor("early")->data.data() == 64);
}
