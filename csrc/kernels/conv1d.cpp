#include "kernels/conv1d.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/avx512.h"
#include "kernels/pack_float.h"
#include "kernels/work_share.h"

namespace minicpmo::kernels {

int64_t conv1d_steps(int64_t n, int n_tap, const Conv1dShape& shape) {
    const int64_t reach =
        static_cast<int64_t>(shape.dilation) * (n_tap - 1) + 1;  // steps that a kernel spans
    const int64_t room = n + shape.pad_left + shape.pad_right - reach;
    return room < 0 ? 0 : room / shape.stride + 1;
}

#if MINICPMO_HAS_AVX512_CODE

namespace {

// As in the products of gemm_float: packed weights that stay in the second-level cache.
constexpr int64_t kBlockRows = 2 * kPanel;
constexpr int64_t kBlockK = 1152;
constexpr int64_t kBlockSteps = 8;
// Where the rows alone are too few pieces for the threads, time is split too. Each piece packs its weights
// anew, which so many steps pay for.
constexpr int64_t kFewestSteps = 256;
constexpr int64_t kPiecesPerThread = 4;  // so that no thread waits long for the last piece

struct Range {
    int64_t begin;
    int64_t end;
};

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

Range overlap(Range a, Range b) { return {std::max(a.begin, b.begin), std::min(a.end, b.end)}; }

// What the operation needs beside its tensors.
struct Conv1dNode {
    Conv1dShape shape;
    std::vector<Range> steps;  // of each tap: the output steps for which it lies on the input
    WorkShare share;
};

std::vector<Range> steps_on_input(int64_t n, int64_t n_step, int n_tap, const Conv1dShape& shape) {
    std::vector<Range> steps;
    for (int64_t tap = 0; tap < n_tap; ++tap) {
        // The first step with t * stride >= first, and the first with t * stride >= first + n.
        const int64_t first = shape.pad_left - tap * shape.dilation;
        const auto step_from = [&](int64_t x) {
            return std::min(n_step, ceil_divide(std::max<int64_t>(x, 0), shape.stride));
        };
        steps.push_back({step_from(first), step_from(first + n)});
    }
    return steps;
}

struct Operands {
    FloatRows w;
    int64_t n_k;  // n_tap * n_in
    const float* x;
    int64_t x_stride;  // floats from step to step
    int64_t n_in;
    float* dst;
    int64_t n_out;
    const Conv1dNode& node;
};

// dst += the part k of the kernel, packed in `panel`, for these steps, tap by tap.
void add_taps(const Operands& a, const float* panel, Range rows, Range k, Range steps) {
    for (int64_t tap = k.begin / a.n_in; tap * a.n_in < k.end; ++tap) {
        const Range part = overlap(k, {tap * a.n_in, (tap + 1) * a.n_in});
        const Range here = overlap(steps, a.node.steps[static_cast<size_t>(tap)]);
        if (here.begin >= here.end) continue;
        const Conv1dShape& shape = a.node.shape;
        const int64_t source = here.begin * shape.stride + tap * shape.dilation - shape.pad_left;
        const TokenRows x = {a.x + source * a.x_stride + part.begin - tap * a.n_in, shape.stride * a.x_stride,
                             here.end - here.begin};
        multiply_panel(panel + (part.begin - k.begin) * kPanel, rows.end - rows.begin, part.end - part.begin,
                       x, a.dst + here.begin * a.n_out + rows.begin, a.n_out, Store::add);
    }
}

void clear(const Operands& a, Range rows, Range steps) {
    for (int64_t t = steps.begin; t < steps.end; ++t)
        std::fill(a.dst + t * a.n_out + rows.begin, a.dst + t * a.n_out + rows.end, 0.0F);
}

// The part k of the kernel for one piece of the output.
void multiply_block(const Operands& a, Range rows, Range k, Range steps, float* panels) {
    const int64_t n_k = k.end - k.begin;
    const auto panel_rows = [&](int64_t row) { return Range{row, std::min(row + kPanel, rows.end)}; };
    for (int64_t row = rows.begin; row < rows.end; row += kPanel) {
        const Range here = panel_rows(row);
        pack_columns(a.w.from(row), here.end - row, k.begin, n_k, panels + (row - rows.begin) * n_k);
    }
    for (int64_t t = steps.begin; t < steps.end; t += kBlockSteps) {
        const Range few = {t, std::min(t + kBlockSteps, steps.end)};
        if (k.begin == 0) clear(a, rows, few);
        for (int64_t row = rows.begin; row < rows.end; row += kPanel)
            add_taps(a, panels + (row - rows.begin) * n_k, panel_rows(row), k, few);
    }
}

// How the output is cut: n_row blocks of rows times n_step blocks of time.
struct Cut {
    int64_t row_size;
    int64_t step_size;
    int64_t n_row;
    int64_t n_step;
};

Cut cut_output(int64_t n_out, int64_t n_step, int n_thread) {
    const int64_t n_wanted = n_thread == 1 ? 1 : n_thread * kPiecesPerThread;
    int64_t row_size = kBlockRows;
    int64_t n_row = ceil_divide(n_out, row_size);
    const int64_t most = std::max<int64_t>(1, n_step / kFewestSteps);
    const int64_t n_time = std::clamp<int64_t>(ceil_divide(n_wanted, n_row), 1, most);
    if (n_row * n_time < n_wanted) {
        row_size = kPanel;
        n_row = ceil_divide(n_out, row_size);
    }
    const int64_t step_size = GGML_PAD(ceil_divide(n_step, n_time), kBlockSteps);
    return {row_size, step_size, n_row, ceil_divide(n_step, step_size)};
}

void compute(ggml_tensor* dst, int, int nth, void* userdata) {
    auto& node = *static_cast<Conv1dNode*>(userdata);
    const ggml_tensor* w = dst->src[0];
    const ggml_tensor* x = dst->src[1];
    const int64_t n_step = dst->ne[1];
    const Operands a = {.w = {static_cast<const std::byte*>(w->data), w->nb[1], w->type},
                        .n_k = w->ne[0],
                        .x = static_cast<const float*>(x->data),
                        .x_stride = static_cast<int64_t>(x->nb[1] / sizeof(float)),
                        .n_in = x->ne[0],
                        .dst = static_cast<float*>(dst->data),
                        .n_out = dst->ne[0],
                        .node = node};
    // Blocks of equal depth, so that none is too shallow to pay for its loads and stores of sums.
    const int64_t n_k = ceil_divide(a.n_k, ceil_divide(a.n_k, kBlockK));
    float* panels = thread_scratch(static_cast<size_t>(kBlockRows * n_k));
    const Cut cut = cut_output(a.n_out, n_step, nth);
    for (int64_t i = 0; (i = node.share.take(cut.n_row * cut.n_step, nth)) >= 0;) {
        const int64_t row = i / cut.n_step * cut.row_size;
        const int64_t step = i % cut.n_step * cut.step_size;
        const Range rows = {row, std::min(row + cut.row_size, a.n_out)};
        const Range steps = {step, std::min(step + cut.step_size, n_step)};
        for (int64_t k = 0; k < a.n_k; k += n_k)
            multiply_block(a, rows, {k, std::min(k + n_k, a.n_k)}, steps, panels);
    }
}

}  // namespace

bool conv1d_supports(const ggml_tensor* w, const ggml_tensor* x, int n_tap) {
    return is_packable(w->type) && w->nb[0] == ggml_type_size(w->type) && w->ne[2] == 1 && w->ne[3] == 1 &&
           x->type == GGML_TYPE_F32 && x->nb[0] == sizeof(float) && x->nb[1] % sizeof(float) == 0 &&
           x->ne[2] == 1 && x->ne[3] == 1 && w->ne[0] == n_tap * x->ne[0];
}

Tensor conv1d(Graph& g, Tensor w, Tensor x, int n_tap, const Conv1dShape& shape) {
    const int64_t n_step = conv1d_steps(x->ne[1], n_tap, shape);
    auto* node = g.own<Conv1dNode>();
    node->shape = shape;
    node->steps = steps_on_input(x->ne[1], n_step, n_tap, shape);
    Tensor args[] = {w, x};
    return ggml_custom_4d(g.ctx(), GGML_TYPE_F32, w->ne[1], n_step, 1, 1, args, 2, compute, GGML_N_TASKS_MAX,
                          node);
}

#else

bool conv1d_supports(const ggml_tensor*, const ggml_tensor*, int) { return false; }

Tensor conv1d(Graph&, Tensor, Tensor, int, const Conv1dShape&) {
    fail<Error>("[conv1d] expected a processor that conv1d_supports(), got another");
}

#endif

}  // namespace minicpmo::kernels
