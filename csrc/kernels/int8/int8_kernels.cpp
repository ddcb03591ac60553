#include "kernels/int8/int8_kernels.h"

namespace minicpmo::kernels {

const Int8Kernels* int8_kernels() {
#if MINICPMO_HAS_X86_CODE
    if (isa() == Isa::avx512_vnni) return &kAvx512Int8;
#endif
    return nullptr;
}

}  // namespace minicpmo::kernels
