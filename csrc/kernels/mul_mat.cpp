#include "kernels/mul_mat.h"

#include "kernels/gemm_float.h"
#include "kernels/gemm_int8.h"

namespace minicpmo::kernels {

namespace {

constexpr int64_t kFewestRows = 4;  // below, unpacking float weights costs more than the tile gains

}  // namespace

Tensor mul_mat(Graph& g, Tensor w, Tensor x) {
    if (g.on_cpu()) {
        if (gemv_int8_supports(w, x)) return gemv_int8(g, w, x);
        if (gemm_int8_supports(w, x)) return gemm_int8(g, w, x);
        if (x->ne[1] >= kFewestRows && gemm_float_supports(w, x)) return gemm_float(g, w, x);
    }
    return ggml_mul_mat(g.ctx(), w, x);
}

}  // namespace minicpmo::kernels
