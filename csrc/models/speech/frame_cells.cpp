#include "models/speech/frame_cells.h"

namespace minicpmo {

FrameCells::Room FrameCells::add(int n) {
    const size_t n_total = cells_.size() + static_cast<size_t>(n);
    std::vector<bool> is_taken(n_total, false);
    for (const int64_t cell : cells_) {
        if (static_cast<size_t>(cell) < n_total) is_taken[static_cast<size_t>(cell)] = true;
    }
    Room room;
    int64_t next = 0;
    const auto take = [&] {
        while (is_taken[static_cast<size_t>(next)]) ++next;
        is_taken[static_cast<size_t>(next)] = true;
        return next;
    };
    for (int64_t& cell : cells_) {
        if (static_cast<size_t>(cell) < n_total) continue;
        room.moves.push_back({cell, take()});
        cell = room.moves.back().to;
    }
    for (int i = 0; i < n; ++i) room.cells.push_back(take());
    cells_.insert(cells_.begin(), room.cells.begin(), room.cells.end());
    return room;
}

void FrameCells::keep(int n_first, int n_last) {
    if (n_first + n_last >= n()) return;
    cells_.erase(cells_.begin() + n_first, cells_.end() - n_last);
}

}  // namespace minicpmo
