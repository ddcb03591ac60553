#include "kernels/int8/int8_kernels.h"

#if MINICPMO_HAS_X86_CODE

#define MINICPMO_TARGET __attribute__((target("avx2,fma,f16c,avxvnni")))
#include "kernels/int8/panel_tiles.h"
#include "kernels/int8/vnni_lanes.h"

namespace minicpmo::kernels {

namespace {

struct AvxVnniDot {
    MINICPMO_TARGET static __m256i add(__m256i sum, __m256i w, __m256i x) {
        return _mm256_dpbusd_avx_epi32(sum, w, x);
    }
};

}  // namespace

const Int8Kernels kAvxVnniInt8 = kernels_of<VnniLanes<AvxVnniDot>>(4, nullptr);

}  // namespace minicpmo::kernels

#endif
