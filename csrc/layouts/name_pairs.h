#pragma once
// Pairs of names: what tensors of a published file are called there and in our schema.

#include <span>
#include <string>
#include <string_view>

#include "layouts/container.h"

namespace minicpmo {

enum class Form {
    as_stored,    // one tensor of this very name
    weight,       // NAME.weight
    linear,       // NAME.weight and NAME.bias; norms too
    convolution,  // the same, the weight [n_tap, n_in, n_out] rewritten as taps_first, the bias [n] or [1, n]
};

struct NamePair {
    const char* stored;
    const char* ours;
    Form form = Form::linear;
};

// What stands before both names, a layer's say: "encoder.blocks.3." and "a.blk.3.".
struct NamePrefix {
    std::string stored;
    std::string ours;
};
NamePrefix layer_prefix(std::string_view stored, std::string_view ours, int layer);

// Throws ModelFileError naming the tensor that is missing.
void add_tensors(Container& container, const GgufFile& file, std::span<const NamePair> names,
                 const NamePrefix& prefix = {});
// Layers from 0 on that have the tensor `before`N`after`. Throws ModelFileError if there is none.
int count_layers(const GgufFile& file, const std::string& before, const std::string& after);

}  // namespace minicpmo
