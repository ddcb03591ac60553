#include "base/archive.h"

#include <doctest/doctest.h>

#include <limits>
#include <sstream>

using namespace minicpmo;

namespace {

struct Point {
    int32_t x = 0;
    std::vector<int32_t> path;
    void archive(Archive& archive) {
        archive(x);
        archive(path);
    }
    bool operator==(const Point&) const = default;
};

struct Everything {
    bool is_true = false, is_false = true;
    int8_t small = 0;
    uint64_t large = 0;
    float real = 0;
    double exact = 0;
    std::string name;
    std::vector<float> numbers;
    std::vector<std::string> names;
    std::vector<std::vector<int32_t>> nested;
    std::deque<int32_t> queue;
    std::deque<std::vector<float>> rows;
    std::optional<int32_t> some, none = 7;
    Array<float> matrix;
    Array<float> nothing{{0, 3}};
    Point point;
    std::vector<Point> points;

    void archive(Archive& archive) {
        archive(is_true);
        archive(is_false);
        archive(small);
        archive(large);
        archive(real);
        archive(exact);
        archive(name);
        archive(numbers);
        archive(names);
        archive(nested);
        archive(queue);
        archive(rows);
        archive(some);
        archive(none);
        archive(matrix);
        archive(nothing);
        archive(point);
        archive(points);
    }
    bool operator==(const Everything& other) const {
        const auto equal = [](const Array<float>& a, const Array<float>& b) {
            return a.shape == b.shape && a.data == b.data;
        };
        return is_true == other.is_true && is_false == other.is_false && small == other.small &&
               large == other.large && real == other.real && exact == other.exact && name == other.name &&
               numbers == other.numbers && names == other.names && nested == other.nested &&
               queue == other.queue && rows == other.rows && some == other.some && none == other.none &&
               equal(matrix, other.matrix) && equal(nothing, other.nothing) && point == other.point &&
               points == other.points;
    }
};

Everything example() {
    Everything e;
    e.is_true = true;
    e.is_false = false;
    e.small = -3;
    e.large = std::numeric_limits<uint64_t>::max();
    e.real = 0.1F;
    e.exact = -1.0 / 3;
    e.name = std::string("zero \0 inside", 13);
    e.numbers = {1.5F, -0.0F, std::numeric_limits<float>::infinity()};
    e.names = {"", "a", "bc"};
    e.nested = {{}, {1, 2}, {3}};
    e.queue = {4, 5, 6};
    e.rows = {{1.0F}, {}, {2.0F, 3.0F}};
    e.some = -8;
    e.none = std::nullopt;
    e.matrix = Array<float>({2, 3});
    e.matrix.data = {1, 2, 3, 4, 5, 6};
    e.point = {9, {10, 11}};
    e.points = {{1, {}}, {2, {3}}};
    return e;
}

template <class T>
std::string written(T value) {
    std::ostringstream out;
    Archive archive(out);
    archive(value);
    return out.str();
}

template <class T>
T read(std::string_view bytes) {
    Archive archive(std::as_bytes(std::span(bytes)));
    T value{};
    archive(value);
    CHECK(archive.n_left() == 0);
    return value;
}

template <class T>
std::string raw(T value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
}

}  // namespace

TEST_CASE("values of every kind come back as they were") {
    const Everything before = example();
    CHECK(read<Everything>(written(before)) == before);
    CHECK(read<Everything>(written(Everything{})) == Everything{});
}

TEST_CASE("reading replaces whatever the objects held") {
    const std::string bytes = written(Everything{});
    Everything target = example();
    Archive archive(std::as_bytes(std::span(bytes)));
    archive(target);
    CHECK(target == Everything{});
}

TEST_CASE("bytes that end anywhere too early are refused") {
    const std::string bytes = written(example());
    for (size_t n = 0; n < bytes.size(); ++n) {
        CAPTURE(n);
        CHECK_THROWS_AS(read<Everything>(std::string_view(bytes).substr(0, n)), ModelFileError);
    }
}

TEST_CASE("what is left counts down, and more than that is refused") {
    const std::string bytes = "abcdef";
    Archive archive(std::as_bytes(std::span(bytes)));
    CHECK(archive.is_reading());
    CHECK(archive.n_left() == 6);
    std::vector<std::byte> some(4);
    archive.bytes(some);
    CHECK(archive.n_left() == 2);
    CHECK_THROWS_WITH_AS(archive.bytes(some), doctest::Contains("expected 4 more bytes, got 2"),
                         ModelFileError);
    CHECK(archive.n_left() == 2);
    archive.bytes({});
    some.resize(2);
    archive.bytes(some);
    CHECK(archive.n_left() == 0);
    CHECK(some[1] == std::byte{'f'});
}

TEST_CASE("lengths beyond what is left are refused before memory is taken") {
    for (const uint64_t n : {uint64_t{3}, uint64_t{1} << 32, uint64_t{1} << 62, (uint64_t{1} << 62) + 1,
                             std::numeric_limits<uint64_t>::max()}) {
        CAPTURE(n);
        const std::string bytes = raw(n) + "abcdefgh";  // two floats
        CHECK_THROWS_AS(read<std::vector<float>>(bytes), ModelFileError);
        if (n > 8) CHECK_THROWS_AS(read<std::string>(bytes), ModelFileError);
        CHECK_THROWS_AS(read<std::vector<std::string>>(bytes), ModelFileError);
        CHECK_THROWS_AS(read<std::deque<double>>(bytes), ModelFileError);
        CHECK_THROWS_AS(read<Array<float>>(bytes), ModelFileError);
    }
    CHECK(read<std::vector<float>>(raw(uint64_t{2}) + "abcdefgh").size() == 2);
}

TEST_CASE("a bool is 0 or 1") {
    CHECK(read<bool>(raw(uint8_t{1})));
    CHECK_FALSE(read<bool>(raw(uint8_t{0})));
    for (const int byte : {2, 128, 255}) {
        const std::string bytes = raw(static_cast<uint8_t>(byte));
        CHECK_THROWS_WITH_AS(read<bool>(bytes), doctest::Contains("expected 0 or 1"), ModelFileError);
        CHECK_THROWS_AS(read<std::optional<int32_t>>(bytes + raw(int32_t{5})), ModelFileError);
    }
}

TEST_CASE("arrays whose shape and values disagree are refused") {
    const auto bytes = [](const std::vector<int64_t>& shape, size_t n) {
        return written(shape) + written(std::vector<float>(n, 1.0F));
    };
    CHECK(read<Array<float>>(bytes({2, 3}, 6)).dim(1) == 3);
    CHECK(read<Array<float>>(bytes({}, 0)).empty());
    CHECK(read<Array<float>>(bytes({0, 5}, 0)).dim(1) == 5);
    const int64_t huge = int64_t{1} << 32;
    const std::vector<std::pair<std::vector<int64_t>, size_t>> wrong = {
        {{2, 3}, 5},        {{2, 3}, 7}, {{}, 1},           {{-2, -3}, 6},
        {{-1}, 0},          {{0}, 1},    {{huge, huge}, 0}, {{huge, huge}, 4},
        {{huge * 2, 2}, 4}, {{6, 0}, 6}, {{2, 2, 2}, 4},    {{std::numeric_limits<int64_t>::min()}, 0}};
    for (const auto& [shape, n] : wrong) {
        CAPTURE(shape.size());
        CAPTURE(n);
        CHECK_THROWS_AS(read<Array<float>>(bytes(shape, n)), ModelFileError);
    }
}

TEST_CASE("the checksum is that of the bytes written, FNV-1a") {
    Checksum sum;
    CHECK(sum.value == 0xcbf29ce484222325ULL);
    sum.add(std::as_bytes(std::span("foobar", 6)));
    CHECK(sum.value == 0x85944171f73967e8ULL);  // of the authors' test vectors
    std::ostringstream out;
    Archive archive(out);
    CHECK_FALSE(archive.is_reading());
    std::string text = "text";
    double number = 2.5;
    archive(text);
    archive(number);
    Checksum own;
    const std::string bytes = out.str();
    own.add(std::as_bytes(std::span(bytes)));
    CHECK(archive.checksum() == own.value);
}

TEST_CASE("an array of no columns comes back") {
    std::ostringstream out;
    Archive writing(out);
    Array<float> array({3, 0});
    CHECK_NOTHROW(writing(array));
}
