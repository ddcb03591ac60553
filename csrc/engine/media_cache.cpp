#include "engine/media_cache.h"

namespace minicpmo {

// What an entry takes beside its values: nodes of the list and the map, the array.
constexpr size_t kEntryBytes = 512;

size_t MediaCache::bytes_of(const Rows& rows) { return rows->data.size() * sizeof(float) + kEntryBytes; }

MediaCache::Rows MediaCache::find(const MediumRows& content, int n) {
    if (max_bytes_ == 0) return nullptr;
    const std::scoped_lock lock(mutex_);
    const auto place = places_.find({content, n});
    if (place == places_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, place->second);
    return place->second->rows;
}

void MediaCache::add(const MediumRows& content, Rows rows) {
    const size_t size = bytes_of(rows);
    if (size > max_bytes_) return;
    const Key key{content, rows->dim(1)};
    const std::scoped_lock lock(mutex_);
    if (places_.contains(key)) return;  // two encoded it at once, to the same bits
    entries_.push_front({key, std::move(rows)});
    places_[key] = entries_.begin();
    n_bytes_ += size;
    while (n_bytes_ > max_bytes_) {
        n_bytes_ -= bytes_of(entries_.back().rows);
        places_.erase(entries_.back().key);
        entries_.pop_back();
    }
}

size_t MediaCache::n_bytes() const {
    const std::scoped_lock lock(mutex_);
    return n_bytes_;
}

}  // namespace minicpmo
