#include "kernels/peak_rate.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "kernels/cpu_features.h"

using namespace minicpmo;
using kernels::ProductType;

TEST_CASE("products in registers are counted by the round") {
    for (const ProductType type : {ProductType::float32, ProductType::int8}) {
        const auto one = kernels::multiply_in_registers(type, 1);
        CHECK(one.n_op > 0);
        CHECK(one.n_op % 2 == 0);  // a multiply-add is two
        const auto many = kernels::multiply_in_registers(type, 1000);
        CHECK(many.n_op == 1000 * one.n_op);
        CHECK(many.instructions == one.instructions);
    }
}

TEST_CASE("products in registers use the instructions of our kernels") {
    const auto found = kernels::multiply_in_registers(ProductType::int8, 1);
    CHECK((found.instructions == "AVX-512 VNNI") == kernels::has_avx512_vnni());
}

TEST_CASE("a number of rounds that would never end is refused") {
    CHECK_THROWS_AS(kernels::multiply_in_registers(ProductType::int8, 0), ArgumentError);
    CHECK_THROWS_AS(kernels::multiply_in_registers(ProductType::float32, int64_t{1} << 41), ArgumentError);
}
