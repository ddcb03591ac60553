#pragma once
// BpeMerges: which pairs of tokens merge into which, best first, and the merging of one word.
// Reference: Sennrich et al. 2016; tokenizers' BPE model without ignore_merges.

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace minicpmo {

class BpeMerges {
public:
    // Memory that merge() reuses from word to word.
    struct Workspace {
        struct Symbol {
            int32_t id;
            int32_t previous, next;  // neighbours' indices, -1 at the ends
        };
        struct Candidate {
            int32_t rank;
            int32_t position;  // index of the left symbol
            int32_t left, right;
        };
        std::vector<Symbol> symbols;
        std::vector<Candidate> queue;  // a heap
    };

    void reserve(size_t n_merge) { merges_.reserve(n_merge); }
    void add(int32_t left, int32_t right,
             int32_t merged);  // worse than all before; a pair added twice counts as its last
    // Merges the best pair of neighbours, the leftmost among equals, until none is left. O(n log n) for any
    // word.
    void merge(const std::vector<int32_t>& word, Workspace& workspace, std::vector<int32_t>& out) const;

private:
    struct Merge {
        int32_t rank;
        int32_t merged;
    };
    struct PairHash {
        size_t operator()(uint64_t pair) const;
    };
    const Merge* find(int32_t left, int32_t right) const;
    void enqueue(Workspace& workspace, int32_t position) const;

    std::unordered_map<uint64_t, Merge, PairHash> merges_;
    int32_t n_added_ = 0;
};

}  // namespace minicpmo
