#include "layouts/rewritten_tensor.h"

#include <doctest/doctest.h>

#include <cstring>
#include <numeric>

#include "base/error.h"

using namespace minicpmo;

namespace {

// A tensor of 1, 2, 3, ... in F32.
class Counted {
public:
    explicit Counted(std::initializer_list<int64_t> ne) {
        info.n_dims = static_cast<int>(ne.size());
        std::copy(ne.begin(), ne.end(), info.ne.begin());
        values.resize(static_cast<size_t>(info.ne[0] * info.ne[1] * info.ne[2]));
        std::iota(values.begin(), values.end(), 1.0F);
        info.name = "x";
        info.data = std::as_bytes(std::span(values));
    }
    TensorInfo info;
    std::vector<float> values;
};

std::vector<float> values_of(const RewrittenTensor& tensor) {
    std::vector<float> values(tensor.memory.bytes.size() / sizeof(float));
    std::memcpy(values.data(), tensor.memory.bytes.data(), tensor.memory.bytes.size());
    return values;
}

using Frames = std::vector<std::vector<double>>;  // [n_frame][n]

Frames make_frames(int n_frame, int n) {
    Frames x(static_cast<size_t>(n_frame), std::vector<double>(static_cast<size_t>(n)));
    for (int t = 0; t < n_frame; ++t) {
        for (int i = 0; i < n; ++i)
            x[static_cast<size_t>(t)][static_cast<size_t>(i)] = (7 * t + 3 * i) % 11 - 4;
    }
    return x;
}

// What a matrix of taps computes: row r of frame t over the frames t - left and on, zeros outside.
double folded_output(const RewrittenTensor& folded, const Frames& x, int t, int64_t row, int left) {
    const std::vector<float> weight = values_of(folded);
    const auto n_in = static_cast<int64_t>(x[0].size());
    double sum = 0;
    for (int64_t col = 0; col < folded.ne[0]; ++col) {
        const int64_t frame = t - left + col / n_in;
        if (frame < 0 || frame >= static_cast<int64_t>(x.size())) continue;
        sum += weight[static_cast<size_t>(row * folded.ne[0] + col)] *
               x[static_cast<size_t>(frame)][static_cast<size_t>(col % n_in)];
    }
    return sum;
}

}  // namespace

TEST_CASE("a transposed matrix has rows for columns") {
    const Counted matrix({3, 2});
    const RewrittenTensor turned = transposed(matrix.info);
    CHECK(turned.ne[0] == 2);
    CHECK(turned.ne[1] == 3);
    CHECK(values_of(turned) == std::vector<float>{1, 4, 2, 5, 3, 6});
}

TEST_CASE("a convolution becomes a matrix of tap after tap") {
    const Counted kernel({2, 3, 2});  // taps, inputs, outputs
    const RewrittenTensor flat = taps_first(kernel.info);
    CHECK(flat.ne[0] == 6);
    CHECK(flat.ne[1] == 2);
    CHECK(values_of(flat) == std::vector<float>{1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12});
    CHECK(reinterpret_cast<uintptr_t>(flat.memory.bytes.data()) % 64 == 0);
}

TEST_CASE("a convolution over repeated frames is one over the frames") {
    for (const int n_tap : {1, 2, 5}) {
        constexpr int kRate = 2, kIn = 3, kOut = 2, kFrames = 4;
        const Counted kernel({n_tap, kIn, kOut});
        const RewrittenTensor folded = fold_repeated(kernel.info, kRate);
        const Frames x = make_frames(kFrames, kIn);
        for (int u = 0; u < kRate * kFrames; ++u) {  // output frames
            for (int o = 0; o < kOut; ++o) {
                double expected = 0;
                for (int tap = 0; tap < n_tap; ++tap) {
                    const int from = u + tap - (n_tap - 1);
                    for (int i = 0; from >= 0 && i < kIn; ++i) {
                        expected += kernel.values[static_cast<size_t>((o * kIn + i) * n_tap + tap)] *
                                    x[static_cast<size_t>(from / kRate)][static_cast<size_t>(i)];
                    }
                }
                const int64_t row = int64_t{u % kRate} * kOut + o;
                CHECK(folded_output(folded, x, u / kRate, row, repeated_reach(n_tap, kRate)) ==
                      doctest::Approx(expected));
            }
        }
    }
}

TEST_CASE("a transposed convolution is a plain one with a row for each phase") {
    for (const auto& [n_tap, rate] : {std::pair(4, 2), {7, 3}, {3, 3}}) {
        constexpr int kIn = 2, kOut = 3, kFrames = 5;
        const Counted kernel({n_tap, kOut, kIn});
        const RewrittenTensor folded = fold_transposed(kernel.info, rate);
        const Frames x = make_frames(kFrames, kIn);
        const int padding = (n_tap - rate) / 2;
        const Reach reach = transposed_reach(n_tap, rate);
        for (int u = 0; u < rate * kFrames; ++u) {
            for (int o = 0; o < kOut; ++o) {
                double expected = 0;
                for (int t = 0; t < kFrames; ++t) {
                    const int tap = u + padding - rate * t;
                    for (int i = 0; tap >= 0 && tap < n_tap && i < kIn; ++i) {
                        expected += kernel.values[static_cast<size_t>((i * kOut + o) * n_tap + tap)] *
                                    x[static_cast<size_t>(t)][static_cast<size_t>(i)];
                    }
                }
                const int64_t row = int64_t{u % rate} * kOut + o;
                CHECK(folded_output(folded, x, u / rate, row, reach.left) == doctest::Approx(expected));
            }
        }
    }
}

TEST_CASE("only plain tensors of the right dimensions are rewritten") {
    Counted matrix({32, 2});
    CHECK_THROWS_AS(taps_first(matrix.info), ModelFileError);
    matrix.info.type = GGML_TYPE_Q8_0;
    CHECK_THROWS_AS(transposed(matrix.info), UnsupportedModelError);
}
