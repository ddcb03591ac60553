#pragma once
// Runs a test with the kernels of every instruction set that this processor has, and with ggml's own.

#include <doctest/doctest.h>

#include "kernels/cpu_features.h"

namespace minicpmo {

template <class Test>
void with_each_isa(const Test& test) {
    using kernels::Isa;
    struct Restored {
        Isa best = kernels::isa();
        ~Restored() { kernels::use_isa(best); }
    } restored;
    for (const Isa set : {Isa::none, Isa::avx2, Isa::avx_vnni, Isa::avx512_vnni, Isa::dotprod, Isa::i8mm}) {
        if (!kernels::has(set)) continue;
        CAPTURE(static_cast<int>(set));
        kernels::use_isa(set);
        test(set);
    }
}

}  // namespace minicpmo
