#include "core/gguf_file.h"

#include <doctest/doctest.h>

#include "core/built_gguf.h"

using namespace minicpmo;

TEST_CASE("getters coerce numbers that survive unchanged") {
    GgufBuilder b;
    b.add("u8", uint8_t{200}).add("i8", int8_t{-3}).add("u16", uint16_t{60000}).add("i16", int16_t{-300});
    b.add("u32", uint32_t{4000000000})
        .add("i32", int32_t{-5})
        .add("u64", uint64_t{1} << 62)
        .add("i64", int64_t{-7});
    b.add("f32", 1.5F)
        .add("f64", 3.0)
        .add("big", kHuge)
        .add("top", 0x1p63)
        .add("nan", std::numeric_limits<double>::quiet_NaN());
    b.add("odd", (int64_t{1} << 53) + 1);
    const GgufFile file = open_built(b);
    const std::vector<std::pair<const char*, int64_t>> integers = {
        {"u8", 200},         {"i8", -3},  {"u16", 60000}, {"i16", -300},
        {"u32", 4000000000}, {"i32", -5}, {"i64", -7},    {"f64", 3}};
    for (const auto& [key, value] : integers) {
        CAPTURE(key);
        CHECK(file.get<int64_t>(key) == value);
        CHECK(file.get<double>(key) == static_cast<double>(value));
    }
    CHECK(file.get<int64_t>("u64") == int64_t{1} << 62);
    CHECK(file.get<double>("f32") == 1.5);
    CHECK(file.get<double>("top") == 0x1p63);
    for (const char* key : {"f32", "big", "top", "nan"}) {
        check_contains(refusal([&] { file.get<int64_t>(key); }), {key, "integer", "model.gguf"});
    }
    for (const char* key : {"big", "odd"})
        check_contains(refusal([&] { file.get<double>(key); }), {key, "number"});
}

TEST_CASE("array getters coerce numbers element by element") {
    GgufBuilder b;
    b.array<uint32_t>("u32", {1, 2}).array<float>("f32", {1, 2}).array<float>("half", {1, 0.5F});
    b.array<uint64_t>("u64", {7, 8}).array<uint64_t>("big", {7, kHuge}).array<bool>("bools", {true, false});
    b.array<int32_t>("none", {});
    const GgufFile file = open_built(b);
    using Integers = std::vector<int64_t>;
    CHECK(file.get<Integers>("u32") == Integers{1, 2});
    CHECK(file.get<Integers>("f32") == Integers{1, 2});
    CHECK(file.get<Integers>("u64") == Integers{7, 8});
    CHECK(file.get<Integers>("none").empty());
    CHECK(file.get<std::vector<double>>("half") == std::vector<double>{1, 0.5});
    CHECK(file.get<std::vector<double>>("u32") == std::vector<double>{1, 2});
    CHECK(file.get<std::vector<bool>>("bools") == std::vector<bool>{true, false});
    CHECK(std::get<std::vector<uint64_t>>(file.metadata().at("big")) == std::vector<uint64_t>{7, kHuge});
    for (const char* key : {"half", "big", "bools"}) {
        check_contains(refusal([&] { file.get<Integers>(key); }), {key, "array of integers", "of length 2"});
    }
}

TEST_CASE("getters name the key, the expected and the actual kind") {
    const GgufFile file = open_built(sound().add("flag", true).add("bad", "line\n\xff"));
    check_contains(refusal([&] { file.get<int64_t>("absent"); }),
                   {"'absent'", "integer", "got none", "model.gguf"});
    check_contains(refusal([&] { file.get<int64_t>("flag"); }), {"'flag'", "integer", "got bool true"});
    check_contains(refusal([&] { file.get<bool>("qwen3.block_count"); }), {"kind bool", "got integer 36"});
    check_contains(refusal([&] { file.get<double>("bad"); }), {"kind number", "got string 'line\\x0a\\xff'"});
    check_contains(refusal([&] { file.get<std::string>("tokens"); }), {"got array of strings of length 3"});
    check_contains(refusal([&] { file.get<std::vector<double>>("tokens"); }), {"array of numbers"});
    check_contains(refusal([&] { file.get<std::vector<int64_t>>("qwen3.block_count"); }),
                   {"array of integers", "36"});
    CHECK(file.get_or<int64_t>("absent", 7) == 7);
    CHECK(file.get_or<int64_t>("qwen3.block_count", 7) == 36);
    CHECK_THROWS_AS(file.get_or<bool>("qwen3.block_count", true), ModelFileError);
}

namespace {

// Part `no` (from 0) with one tensor; the metadata proper only in the first.
GgufBuilder part(int no, int count, int n_tensor) {
    GgufBuilder b;
    if (no == 0) b.add("general.architecture", "qwen3");
    b.add("split.no", static_cast<uint16_t>(no)).add("split.count", static_cast<uint16_t>(count));
    b.add("split.tensors.count", int32_t{n_tensor});
    b.tensor({.name = "t" + std::to_string(no), .data = std::string(32, static_cast<char>('a' + no))});
    return b;
}

std::string part_name(int no, int count) {
    return "m-0000" + std::to_string(no + 1) + "-of-0000" + std::to_string(count) + ".gguf";
}

std::filesystem::path write_parts(const TempFolder& folder, int count) {
    for (int no = 0; no < count; ++no) folder.write(part_name(no, count), part(no, count, count).build());
    return folder.path() / part_name(0, count);
}

}  // namespace

TEST_CASE("a split model opens by its first part as one table of tensors") {
    const TempFolder folder;
    const auto first = write_parts(folder, 3);
    const GgufFile file = GgufFile::open(first);
    CHECK(file.path() == first);
    CHECK(file.regions().size() == 3);
    CHECK(file.tensors().size() == 3);
    CHECK(file.get<std::string>("general.architecture") == "qwen3");
    CHECK(file.find_tensor("t2")->region == 2);
    CHECK(file.find_tensor("t2")->data.back() == std::byte{'c'});
    CHECK(file.n_bytes() == file.regions()[0].bytes.size() + 2 * file.regions()[1].bytes.size());
}

TEST_CASE("a missing part is named, and another part than the first points to the first") {
    const TempFolder folder;
    const auto first = write_parts(folder, 3);
    std::filesystem::remove(folder.path() / part_name(1, 3));
    check_contains(refusal([&] { GgufFile::open(first); }), {"part 2 of 3", part_name(1, 3), "no such file"});
    check_contains(refusal([&] { GgufFile::open(folder.path() / part_name(2, 3)); }),
                   {"got part 3 of 3", "pass " + part_name(0, 3)});
    const auto renamed = folder.write("renamed.gguf", part(1, 3, 3).build());
    check_contains(refusal([&] { GgufFile::open(renamed); }),
                   {"got part 2 of 3", "ends in -00001-of-00003.gguf"});
}

TEST_CASE("the first of several parts must have the name that leads to the others") {
    const TempFolder folder;
    write_parts(folder, 2);
    for (const char* name :
         {"model.gguf", "m-00001-of-00003.gguf", "m-00002-of-00002.gguf", "m-1-of-2.gguf"}) {
        const auto path = folder.write(name, part(0, 2, 2).build());
        check_contains(refusal([&] { GgufFile::open(path); }), {"ends in -00001-of-00002.gguf", name});
    }
}

TEST_CASE("parts that contradict each other are refused") {
    const TempFolder folder;
    const auto first = write_parts(folder, 2);
    const auto open_with_second = [&](const GgufBuilder& second) {
        folder.write(part_name(1, 2), second.build());
        return refusal([&] { GgufFile::open(first); });
    };
    check_contains(open_with_second(part(0, 2, 2)), {"twice"});
    GgufBuilder other = part(0, 2, 2);
    other.tensors[0].name = "other";
    check_contains(open_with_second(other), {"expected 1 for key 'split.no'", "got 0", part_name(1, 2)});
    check_contains(open_with_second(part(1, 3, 2)), {"expected 2 for key 'split.count'", "got 3"});
    check_contains(open_with_second(part(1, 2, 9)), {"expected 2 for key 'split.tensors.count'", "got 9"});
    check_contains(open_with_second(part(1, 2, 2).tensor({.name = "more"})), {"expected 2 tensors", "got 3"});
    check_contains(open_with_second(GgufBuilder()), {"'split.no'", "got none", part_name(1, 2)});
    check_contains(open_with_second(GgufBuilder().raw("x", 99, "0")), {"value type", part_name(1, 2)});
    CHECK(open_with_second(part(1, 2, 2)).empty());
}

TEST_CASE("split keys out of range are refused, and a merged file with a split count of 0 or 1 is one file") {
    const auto keys = [](int64_t no, int64_t count) {
        return GgufBuilder().add("split.no", no).add("split.count", count).add("split.tensors.count", 0);
    };
    CHECK(open_built(keys(0, 0)).regions().size() == 1);
    CHECK(open_built(keys(0, 1)).regions().size() == 1);
    check_refused(keys(0, -1), {"'split.count'", "got -1"});
    check_refused(keys(0, 100000), {"'split.count'", "got 100000"});
    check_refused(keys(5, 2), {"'split.no'", "from 0 to 1", "got 5"});
    check_refused(keys(-1, 2), {"'split.no'", "got -1"});
    check_refused(GgufBuilder().add("split.count", "2"), {"'split.count'", "string '2'"});
}
