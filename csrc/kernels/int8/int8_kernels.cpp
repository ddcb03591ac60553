#include "kernels/int8/int8_kernels.h"

namespace minicpmo::kernels {

const Int8Kernels* int8_kernels(Isa set) {
    switch (set) {
        case Isa::none:
            return nullptr;
#if MINICPMO_HAS_X86_CODE
        case Isa::avx2:
            return &kAvx2Int8;
        case Isa::avx_vnni:
            return &kAvxVnniInt8;
        case Isa::avx512_vnni:
            return &kAvx512Int8;
#endif
#if MINICPMO_HAS_ARM_CODE
        case Isa::dotprod:
            return &kDotprodInt8;
        case Isa::i8mm:
            return &kI8mmInt8;
#endif
        default:
            return nullptr;
    }
}

const Int8Kernels* int8_kernels() { return int8_kernels(isa()); }

}  // namespace minicpmo::kernels
