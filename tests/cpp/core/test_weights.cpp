#include "core/weights.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "core/built_gguf.h"

using namespace minicpmo;

namespace {

const Backend& cpu() {
    static const Backend backend({.device = "cpu", .n_threads = 1});
    return backend;
}

BuilderTensor counting(const std::string& name, std::vector<uint64_t> dims, float first) {
    size_t n = 1;
    for (const uint64_t extent : dims) n *= extent;
    std::string data;
    for (size_t i = 0; i < n; ++i) data += le(first + static_cast<float>(i));
    return {.name = name, .dims = std::move(dims), .data = std::move(data)};
}

GgufBuilder small_file() {
    GgufBuilder b;
    b.tensor(counting("blk.0.norm.weight", {4}, 0));
    b.tensor(counting("blk.1.norm.weight", {4}, 100));
    b.tensor(counting("matrix.weight", {4, 3}, 200));
    b.tensor({.name = "half", .dims = {4}, .type = GGML_TYPE_F16, .data = std::string(8, '\0')});
    b.tensor({.name = "ids", .dims = {4}, .type = GGML_TYPE_I32, .data = std::string(16, '\0')});
    return b;
}

Weights load(const GgufBuilder& builder) {
    return {std::make_shared<const GgufFile>(open_built(builder)), cpu()};
}

std::vector<float> values(Tensor tensor) {
    std::vector<float> all(static_cast<size_t>(ggml_nelements(tensor)));
    ggml_backend_tensor_get(tensor, all.data(), 0, ggml_nbytes(tensor));
    return all;
}

}  // namespace

TEST_CASE("scopes find tensors by their prefix") {
    Weights weights = load(small_file());
    const WeightScope blk = weights.root() / "blk";
    CHECK(values((blk / 1 / "norm").get("weight", {4})) == std::vector<float>{100, 101, 102, 103});
    CHECK(values((blk / 0 / "norm").get_f32("weight", {4})) == std::vector<float>{0, 1, 2, 3});
    CHECK((blk / 0).has("norm.weight"));
    CHECK_FALSE((blk / 2).has("norm.weight"));
    CHECK((blk / 2 / "norm").try_get("weight", {4}) == nullptr);
    CHECK((blk / 2 / "norm").try_get_f32("weight", {4}) == nullptr);
}

TEST_CASE("weights can be copied out of the file") {
    const auto file = std::make_shared<const GgufFile>(open_built(small_file()));
    Weights weights(file, cpu(), WeightMemory::copied);
    for (const TensorInfo& info : file->tensors()) {
        CHECK(Weights::stays_in_place(*file, info, WeightMemory::mapped));
        CHECK_FALSE(Weights::stays_in_place(*file, info, WeightMemory::copied));
    }
    const Tensor norm = (weights.root() / "blk" / 1 / "norm").get("weight", {4});
    CHECK(static_cast<const void*>(norm->data) != file->find_tensor("blk.1.norm.weight")->data.data());
    CHECK(values(norm) == std::vector<float>{100, 101, 102, 103});
    CHECK(values(weights.root().get("matrix.weight", {4, 3})).back() == 211);
}

TEST_CASE("a wrong shape is refused with both shapes, also where the tensor is optional") {
    Weights weights = load(small_file());
    const WeightScope matrix = weights.root() / "matrix";
    CHECK(matrix.get("weight", {4, 3})->ne[1] == 3);
    for (const std::initializer_list<int64_t> ne :
         {std::initializer_list<int64_t>{3, 4}, {4}, {12}, {4, 3, 2}}) {
        check_contains(refusal([&] { matrix.get("weight", ne); }),
                       {"[weights]", "matrix.weight", "[4, 3", "model.gguf"});
        CHECK_THROWS_AS(matrix.try_get("weight", ne), ModelFileError);
    }
}

TEST_CASE("an absent tensor is refused with its full name") {
    Weights weights = load(small_file());
    check_contains(refusal([&] { (weights.root() / "blk" / 7).get("bias", {4}); }),
                   {"blk.7.bias", "[4]", "model.gguf"});
}

TEST_CASE("types that cannot be multiplied or added are refused") {
    Weights weights = load(small_file());
    check_contains(refusal([&] { weights.root().get("ids", {4}); }), {"ids", "i32"});
    CHECK(weights.root().get("half", {4})->type == GGML_TYPE_F16);
    check_contains(refusal([&] { weights.root().get_f32("half", {4}); }), {"half", "f32", "f16"});
}

TEST_CASE("unused() lists what nobody asked for") {
    Weights weights = load(small_file());
    CHECK(weights.unused().size() == 5);
    weights.root().get("half", {4});
    (weights.root() / "blk" / 0 / "norm").try_get("weight", {4});
    std::vector<std::string> unused = weights.unused();
    std::sort(unused.begin(), unused.end());
    CHECK(unused == std::vector<std::string>{"blk.1.norm.weight", "ids", "matrix.weight"});
}

TEST_CASE("tensors at addresses that ggml cannot use are copied") {
    GgufBuilder b;
    b.alignment = 8;
    b.add("general.alignment", uint32_t{8});
    for (int i = 0; i < 8; ++i) b.tensor(counting("t" + std::to_string(i), {2}, static_cast<float>(10 * i)));
    Weights weights = load(b);
    for (int i = 0; i < 8; ++i) {
        const Tensor tensor = weights.root().get("t" + std::to_string(i), {2});
        CHECK(reinterpret_cast<uintptr_t>(tensor->data) % 32 == 0);
        CHECK(values(tensor) ==
              std::vector<float>{static_cast<float>(10 * i), static_cast<float>(10 * i + 1)});
    }
}
