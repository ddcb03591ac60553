#pragma once
// Array<T>: a contiguous host buffer with its shape, fastest dimension first as in ggml ([n_embd, n_token]).

#include <cstdint>
#include <span>
#include <vector>

namespace minicpmo {

template <class T>
struct Array {
    std::vector<int64_t> shape;  // fastest first
    std::vector<T> data;

    Array() = default;
    explicit Array(std::vector<int64_t> shape_) : shape(std::move(shape_)) {
        int64_t n = 1;
        for (const int64_t d : shape) n *= d;
        data.resize(static_cast<size_t>(n));
    }
    int64_t dim(size_t axis) const { return axis < shape.size() ? shape[axis] : 1; }
    bool empty() const { return data.empty(); }
    // The values of one index of the slowest dimension: row i of [n_embd, n_token].
    std::span<const T> row(int64_t i) const {
        const size_t stride = data.size() / static_cast<size_t>(shape.back());
        return {data.data() + static_cast<size_t>(i) * stride, stride};
    }
};

}  // namespace minicpmo
