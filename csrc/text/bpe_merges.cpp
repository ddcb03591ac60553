#include "text/bpe_merges.h"

#include <algorithm>
#include <tuple>

namespace minicpmo {
namespace {

uint64_t pair_key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// For std::push_heap, whose top is the greatest: the best candidate is the greatest.
bool is_worse(const BpeMerges::Workspace::Candidate& a, const BpeMerges::Workspace::Candidate& b) {
    return std::tie(a.rank, a.position) > std::tie(b.rank, b.position);
}

}  // namespace

size_t BpeMerges::PairHash::operator()(uint64_t pair) const {
    // The finaliser of splitmix64: ids are small numbers, so their bits need spreading.
    pair = (pair ^ pair >> 30) * 0xBF58476D1CE4E5B9u;
    pair = (pair ^ pair >> 27) * 0x94D049BB133111EBu;
    return static_cast<size_t>(pair ^ pair >> 31);
}

void BpeMerges::add(int32_t left, int32_t right, int32_t merged) {
    merges_.insert_or_assign(pair_key(left, right), Merge{n_added_++, merged});
}

const BpeMerges::Merge* BpeMerges::find(int32_t left, int32_t right) const {
    const auto found = merges_.find(pair_key(left, right));
    return found == merges_.end() ? nullptr : &found->second;
}

void BpeMerges::enqueue(Workspace& workspace, int32_t position) const {
    const auto& symbol = workspace.symbols[position];
    if (symbol.next < 0) return;
    const int32_t right = workspace.symbols[symbol.next].id;
    const Merge* merge = find(symbol.id, right);
    if (!merge) return;
    workspace.queue.push_back({merge->rank, position, symbol.id, right});
    std::push_heap(workspace.queue.begin(), workspace.queue.end(), is_worse);
}

void BpeMerges::merge(const std::vector<int32_t>& word, Workspace& workspace,
                      std::vector<int32_t>& out) const {
    constexpr int32_t kMergedAway = -1;
    auto& symbols = workspace.symbols;
    auto& queue = workspace.queue;
    const auto n_symbol = static_cast<int32_t>(word.size());
    symbols.clear();
    queue.clear();
    for (int32_t i = 0; i < n_symbol; ++i) symbols.push_back({word[i], i - 1, i + 1 < n_symbol ? i + 1 : -1});
    for (int32_t i = 0; i < n_symbol; ++i) enqueue(workspace, i);
    while (!queue.empty()) {
        std::pop_heap(queue.begin(), queue.end(), is_worse);
        const auto best = queue.back();
        queue.pop_back();
        auto& left = symbols[best.position];
        // An earlier merge may have taken either side: then the pair is no longer there.
        if (left.id != best.left || left.next < 0 || symbols[left.next].id != best.right) continue;
        auto& right = symbols[left.next];
        left.id = find(best.left, best.right)->merged;
        left.next = right.next;
        right.id = kMergedAway;
        if (left.next >= 0) symbols[left.next].previous = best.position;
        if (left.previous >= 0) enqueue(workspace, left.previous);
        enqueue(workspace, best.position);
    }
    for (int32_t i = n_symbol > 0 ? 0 : -1; i >= 0; i = symbols[i].next) out.push_back(symbols[i].id);
}

}  // namespace minicpmo
