#include "kernels/evex_vnni.h"

using namespace minicpmo::kernels;

#if MINICPMO_HAS_X86_CODE

#define MINICPMO_TARGET __attribute__((target("avx2,fma,f16c,avx512vl,avx512vnni")))
#include "kernels/int8/panel_tiles.h"
#include "kernels/int8/vnni_lanes.h"

namespace {

struct EvexDot {
    MINICPMO_TARGET static __m256i add(__m256i sum, __m256i w, __m256i x) {
        return _mm256_dpbusd_epi32(sum, w, x);
    }
};

}  // namespace

const Int8Kernels* evex_vnni() {
    static constexpr Int8Kernels kKernels = kernels_of<VnniLanes<EvexDot>>(2, nullptr);
    return has(Isa::avx512_vnni) ? &kKernels : nullptr;
}

#else

const Int8Kernels* evex_vnni() { return nullptr; }

#endif
