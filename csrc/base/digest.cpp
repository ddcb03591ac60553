#include "base/digest.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace minicpmo {

namespace {

constexpr std::array<uint64_t, 8> kStart = {
    // of SHA-512
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL};

// The order in which a round takes the words of a block; rounds 10 and 11 are like 0 and 1.
constexpr std::array<std::array<uint8_t, 16>, 10> kOrder = {{
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
}};
constexpr size_t kRounds = 12;

void mix(std::array<uint64_t, 16>& v, size_t a, size_t b, size_t c, size_t d, uint64_t x, uint64_t y) {
    v[a] += v[b] + x;
    v[d] = std::rotr(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = std::rotr(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = std::rotr(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = std::rotr(v[b] ^ v[c], 63);
}

}  // namespace

static_assert(std::endian::native == std::endian::little);  // words are read as they lie

DigestMaker::DigestMaker() : state_(kStart) { state_[0] ^= 0x01010000ULL ^ sizeof(Digest); }

DigestMaker::DigestMaker(std::string_view kind) : DigestMaker() {
    add(static_cast<int64_t>(kind.size()));
    add(std::as_bytes(std::span(kind.data(), kind.size())));
}

void DigestMaker::add(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        if (n_pending_ == kBlock) {  // the last block is another kind of block, so one is held back
            compress(pending_, false);
            n_pending_ = 0;
        }
        for (; n_pending_ == 0 && bytes.size() > kBlock; bytes = bytes.subspan(kBlock)) {
            compress(bytes.first<kBlock>(), false);
        }
        const size_t n = std::min(kBlock - n_pending_, bytes.size());
        std::memcpy(pending_.data() + n_pending_, bytes.data(), n);
        n_pending_ += n;
        bytes = bytes.subspan(n);
    }
}

Digest DigestMaker::finish() {
    n_byte_ += n_pending_;
    std::fill(pending_.begin() + static_cast<std::ptrdiff_t>(n_pending_), pending_.end(), std::byte{0});
    n_byte_ -= kBlock;  // which compress() counts
    compress(pending_, true);
    Digest digest;
    std::memcpy(digest.data(), state_.data(), digest.size());
    return digest;
}

void DigestMaker::compress(std::span<const std::byte, kBlock> block, bool is_last) {
    n_byte_ += kBlock;
    std::array<uint64_t, 16> words;
    std::memcpy(words.data(), block.data(), kBlock);
    std::array<uint64_t, 16> v;
    std::copy(state_.begin(), state_.end(), v.begin());
    std::copy(kStart.begin(), kStart.end(), v.begin() + 8);
    v[12] ^= n_byte_;
    if (is_last) v[14] = ~v[14];
    for (size_t round = 0; round < kRounds; ++round) {
        const auto& order = kOrder[round % kOrder.size()];
        for (size_t i = 0; i < 4; ++i) {  // columns
            mix(v, i, i + 4, i + 8, i + 12, words[order[2 * i]], words[order[2 * i + 1]]);
        }
        for (size_t i = 0; i < 4; ++i) {  // diagonals
            mix(v, i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, words[order[2 * i + 8]],
                words[order[2 * i + 9]]);
        }
    }
    for (size_t i = 0; i < state_.size(); ++i) state_[i] ^= v[i] ^ v[i + 8];
}

}  // namespace minicpmo
