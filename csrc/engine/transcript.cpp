#include "engine/transcript.h"

#include <algorithm>

namespace minicpmo {

namespace {

std::vector<RowSource> sources(const Prompt& prompt) {
    std::vector<RowSource> rows;
    rows.reserve(prompt.ids.size());
    for (const int32_t id : prompt.ids) rows.push_back({id, -1, {}});
    for (const EmbeddingRun& run : prompt.runs) {
        for (int i = 0; i < run.n; ++i) {
            RowSource& row = rows[static_cast<size_t>(run.begin + i)];
            row.token = -1;
            if (run.content) row = {-1, run.content->row + i, run.content->medium};
        }
    }
    return rows;
}

bool is_known(const RowSource& row) { return row.token >= 0 || row.row >= 0; }

}  // namespace

void Transcript::append(const Prompt& prompt, int first) {
    const std::vector<RowSource> all = sources(prompt);
    const auto begin = all.begin() + first;
    if (n_fresh_ == rows_.size()) {
        n_fresh_ += static_cast<size_t>(std::find_if_not(begin, all.end(), is_known) - begin);
    }
    rows_.insert(rows_.end(), begin, all.end());
}

void Transcript::append(int32_t token) {
    if (n_fresh_ == rows_.size()) ++n_fresh_;
    rows_.push_back({token, -1, {}});
}

void Transcript::truncate(int n) {
    rows_.resize(static_cast<size_t>(n));
    n_fresh_ = std::min(n_fresh_, rows_.size());
}

void Transcript::replace(int begin, int end, std::span<const int32_t> ids) {
    const std::vector<RowSource> tail(rows_.begin() + end, rows_.end());
    truncate(begin);
    for (const int32_t id : ids) append(id);
    rows_.insert(rows_.end(), tail.begin(), tail.end());
}

void Transcript::reset_unknown(int n) {
    rows_.assign(static_cast<size_t>(n), {});
    n_fresh_ = 0;
}

int Transcript::n_shared(const Prompt& prompt) const {
    const std::vector<RowSource> wanted = sources(prompt);
    const auto here = std::span(rows_).first(n_fresh_);
    return static_cast<int>(std::ranges::mismatch(here, wanted).in1 - here.begin());
}

}  // namespace minicpmo
