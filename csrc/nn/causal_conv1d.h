#pragma once
// CausalConv1d: a convolution of a stream, which keeps its last inputs for the next chunk; or the same
// convolution of a whole utterance, with zeros around it.
// Reference: stepaudio2/causal_vocoder/convolution.py, CausalConv1d.

#include <span>
#include <vector>

#include "core/graph_runner.h"
#include "nn/conv1d.h"

namespace minicpmo::nn {

struct CausalConv1d {
    Conv1d conv;
    Conv1dShape shape;
    int64_t past_begin = 0;  // where its last inputs lie in the past of its network, in floats
    int n_past = 0;          // frames of them; 0: zeros stand around the frames, if anything

    int64_t n_in() const { return conv.kernel.weight->ne[0] / conv.n_tap; }
    Tensor bias() const { return conv.kernel.bias; }  // [n_out]
    // Its own part of the network's past: [n_in, n_past], nullptr if it keeps none.
    Tensor past_of(Graph& g, Tensor past) const;
    // past_of() and x, one behind the other.
    Tensor behind_past(Graph& g, Tensor x, Tensor past) const;
    // x begins with past_of(); its last frames become an output of the graph, the past of the next chunk.
    Tensor apply(Graph& g, Tensor x) const;
    Tensor apply_without_bias(Graph& g, Tensor x) const;
};

// What the convolutions of one network keep, one behind the other in the order in which they are bound.
class PastLayout {
public:
    explicit PastLayout(bool is_causal) : is_causal_(is_causal) {}

    // If causal, the convolution keeps as many frames as the shape has zeros on the left, and has no zeros.
    CausalConv1d bind(const WeightScope& scope, int64_t n_in, int64_t n_out, int n_tap,
                      Conv1dShape shape = {});
    int64_t size() const { return size_; }        // floats
    size_t max_nodes() const { return n_node_; }  // of a graph with these and what surrounds them

    Tensor input(Graph& g) const;  // [size()], nullptr if nothing is kept
    void set(GraphRunner& runner, std::span<const float> past) const;
    void read(const GraphRunner& runner, std::span<float> past) const;  // what the next chunk begins with

private:
    struct Part {
        int64_t begin;
        int64_t size;
    };
    bool is_causal_;
    int64_t size_ = 0;
    size_t n_node_ = 256;
    std::vector<Part> parts_;
};

}  // namespace minicpmo::nn
