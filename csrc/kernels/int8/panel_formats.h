#pragma once
// How each quantised format becomes a WeightPanel, for any instruction set. A file of one instruction set
// defines MINICPMO_TARGET, the attribute of its functions, before it includes this, and gives the operations
// of its registers as a class V:
//   Ints, Floats    registers of kLane 32-bit words, one for each row
//   kGroup          registers side by side in a panel
//   kSignedBytes    whether weights of 8 bits stay signed, or have 128 added
// Everything here is internal to that file.

#include "kernels/int8/weight_blocks.h"
#include "kernels/int8/weight_panel.h"

namespace minicpmo::kernels {

namespace {

// A register's part of the rows of a panel.
template <class V>
struct PanelPart {
    static constexpr int kRow = V::kLane * V::kGroup;  // of the panel

    const char* const* rows;
    WeightPanel& panel;
    int first;  // row

    MINICPMO_TARGET void store_word(int64_t word, typename V::Ints bytes) const {
        V::store(panel.q + (word * kRow + first) * 4, bytes);
    }
    MINICPMO_TARGET void store_scale(int64_t sub, typename V::Floats scale) const {
        V::store(panel.scale + sub * kRow + first, scale);
    }
    MINICPMO_TARGET void store_min_pair(int64_t pair, typename V::Ints minima) const {
        V::store(reinterpret_cast<uint8_t*>(panel.min + (pair * kRow + first) * 2), minima);
    }
    MINICPMO_TARGET void store_min_scale(int64_t block, typename V::Floats scale) const {
        V::store(panel.min_scale + block * kRow + first, scale);
    }
};

template <class V>
MINICPMO_TARGET inline typename V::Floats unsigned_byte(typename V::Ints words, unsigned b) {
    return V::to_float(V::bit_and(V::shift_right(words, 8 * b), V::fill(255)));
}
template <class V>
MINICPMO_TARGET inline typename V::Floats signed_byte(typename V::Ints words, unsigned b) {
    return V::to_float(V::shift_right_signed(V::shift_left(words, 24 - 8 * b), 24));
}
template <class V>
MINICPMO_TARGET inline typename V::Floats low_half(typename V::Ints words) {
    return V::half_to_float(words);
}
template <class V>
MINICPMO_TARGET inline typename V::Floats high_half(typename V::Ints words) {
    return V::half_to_float(V::shift_right(words, 16));
}
template <class V>
MINICPMO_TARGET inline typename V::Ints low_nibbles(typename V::Ints words) {
    return V::bit_and(words, V::fill(0x0f0f0f0f));
}
template <class V>
MINICPMO_TARGET inline typename V::Ints high_nibbles(typename V::Ints words) {
    return low_nibbles<V>(V::shift_right(words, 4));
}

// words[j] lane i: the 32-bit word j of those at rows[i] + offset; kWord of them or more, as many as a
// transposition gives.
template <class V, int kWord>
MINICPMO_TARGET inline void load_words(const char* const* rows, size_t offset, typename V::Ints* words) {
#pragma GCC unroll 16
    for (int j = 0; j < kWord; j += V::kLane)
        V::load_transposed(rows, offset + 4 * static_cast<size_t>(j), words + j);
}
template <class V, int kWord>
constexpr int kLoaded = kWord < V::kLane ? V::kLane : kWord;

// The eight scales and minima of Q4_K and Q5_K: d and d_min, then 12 bytes of six-bit numbers.
template <class V>
MINICPMO_TARGET inline void unpack_k_scales(const PanelPart<V>& part, size_t offset, int64_t block) {
    using Ints = typename V::Ints;
    Ints words[4];
    V::load_four(part.rows, offset, words);
    const Ints d = words[0];
    const Ints a = words[1];
    const Ints b = words[2];
    const Ints c = words[3];
    const Ints six = V::fill(0x3f3f3f3f);
    const Ints top = V::fill(0x30303030);
    const Ints scales[2] = {V::bit_and(a, six),
                            V::bit_or(low_nibbles<V>(c), V::bit_and(V::shift_right(a, 2), top))};
    const Ints minima[2] = {V::bit_and(b, six),
                            V::bit_or(high_nibbles<V>(c), V::bit_and(V::shift_right(b, 2), top))};
    const typename V::Floats scale = low_half<V>(d);
    for (unsigned sub = 0; sub < 8; ++sub)
        part.store_scale(block * 8 + sub, V::mul(scale, unsigned_byte<V>(scales[sub / 4], sub % 4)));
    part.store_min_scale(block, high_half<V>(d));
    for (unsigned pair = 0; pair < 4; ++pair) {  // two bytes as two words of 16 bits
        const Ints two = V::shift_right(minima[pair / 2], 16 * (pair % 2));
        const Ints second = V::shift_left(V::bit_and(two, V::fill(0xff00)), 8);
        part.store_min_pair(block * 4 + pair, V::bit_or(V::bit_and(two, V::fill(0xff)), second));
    }
}

template <class V>
MINICPMO_TARGET void unpack_q4_k(const PanelPart<V>& part, int64_t begin, int64_t n) {
    for (int64_t block = 0; block < n; ++block) {
        const size_t offset = static_cast<size_t>(begin + block) * sizeof(BlockQ4K);
        unpack_k_scales(part, offset, block);
        for (int first = 0; first < 32; first += V::kLane) {  // 32 words of nibbles
            typename V::Ints words[V::kLane];
            V::load_transposed(part.rows, offset + 16 + 4 * static_cast<size_t>(first), words);
#pragma GCC unroll 16
            for (int i = 0; i < V::kLane; ++i) {
                const int word = (first + i) / 8 * 16 + (first + i) % 8;
                part.store_word(block * 64 + word, low_nibbles<V>(words[i]));
                part.store_word(block * 64 + word + 8, high_nibbles<V>(words[i]));
            }
        }
    }
}

template <class V>
MINICPMO_TARGET void unpack_q5_k(const PanelPart<V>& part, int64_t begin, int64_t n) {
    using Ints = typename V::Ints;
    const Ints one = V::fill(0x01010101);
    for (int64_t block = 0; block < n; ++block) {
        const size_t offset = static_cast<size_t>(begin + block) * sizeof(BlockQ5K);
        unpack_k_scales(part, offset, block);
        Ints high[kLoaded<V, 8>];  // words 0..7 are the fifth bits
        load_words<V, 8>(part.rows, offset + 16, high);
        for (int first = 0; first < 32; first += V::kLane) {
            Ints words[V::kLane];
            V::load_transposed(part.rows, offset + 48 + 4 * static_cast<size_t>(first), words);
            for (int i = 0; i < V::kLane; ++i) {
                const int sub = (first + i) / 8 * 2;
                const int word = (first + i) % 8;
                const auto fifth = [&](int s) MINICPMO_TARGET {
                    const Ints bit = V::shift_right(high[word], static_cast<unsigned>(s));
                    return V::shift_left(V::bit_and(bit, one), 4);
                };
                const int64_t low = block * 64 + sub * 8 + word;
                part.store_word(low, V::bit_or(low_nibbles<V>(words[i]), fifth(sub)));
                part.store_word(low + 8, V::bit_or(high_nibbles<V>(words[i]), fifth(sub + 1)));
            }
        }
    }
}

template <class V>
MINICPMO_TARGET void unpack_q6_k(const PanelPart<V>& part, int64_t begin, int64_t n) {
    using Ints = typename V::Ints;
    const Ints two_bits = V::fill(0x30303030);
    for (int64_t block = 0; block < n; ++block) {
        const size_t offset = static_cast<size_t>(begin + block) * sizeof(BlockQ6K);
        // The last two of these four bytes.
        const typename V::Floats d = high_half<V>(V::gather_word(part.rows, offset + 206));
        Ints scales[4];
        V::load_four(part.rows, offset + 192, scales);
        for (unsigned sub = 0; sub < 16; ++sub)
            part.store_scale(block * 16 + sub, V::mul(d, signed_byte<V>(scales[sub / 4], sub % 4)));
        Ints high[16];
        load_words<V, 16>(part.rows, offset + 128, high);
        for (int half = 0; half < 2; ++half) {
            Ints low[16];
            load_words<V, 16>(part.rows, offset + 64 * static_cast<size_t>(half), low);
            const int64_t first = block * 64 + half * 32;
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
                const Ints h = high[8 * half + i];
                const auto top = [&](Ints bits) MINICPMO_TARGET { return V::bit_and(bits, two_bits); };
                const Ints first_low = low_nibbles<V>(low[i]);
                const Ints second_low = low_nibbles<V>(low[i + 8]);
                part.store_word(first + i, V::bit_or(first_low, top(V::shift_left(h, 4))));
                part.store_word(first + 8 + i, V::bit_or(second_low, top(V::shift_left(h, 2))));
                part.store_word(first + 16 + i, V::bit_or(high_nibbles<V>(low[i]), top(h)));
                part.store_word(first + 24 + i,
                                V::bit_or(high_nibbles<V>(low[i + 8]), top(V::shift_right(h, 2))));
            }
        }
    }
}

// Formats of 32 weights with one scale.
template <class V>
MINICPMO_TARGET inline void unpack_simple_scale(const PanelPart<V>& part, size_t at, int64_t block) {
    part.store_scale(block, low_half<V>(V::gather_word(part.rows, at)));
}

template <class V>
MINICPMO_TARGET void unpack_q8_0(const PanelPart<V>& part, int64_t begin, int64_t n) {
    using Ints = typename V::Ints;
    const Ints top_bit = V::fill(V::kSignedBytes ? 0 : static_cast<int32_t>(0x80808080));
    constexpr int64_t kBlocks = V::kLane == 16 ? 2 : 1;  // that fill what a transposition loads
    for (int64_t block = 0; block < n; block += kBlocks) {
        const size_t at = static_cast<size_t>(begin + block) * sizeof(BlockQ8_0);
        const bool has_second = kBlocks == 2 && block + 1 < n;
        unpack_simple_scale(part, at, block);
        if (has_second) unpack_simple_scale(part, at + sizeof(BlockQ8_0), block + 1);
        Ints words[kLoaded<V, 8>];
        if constexpr (kBlocks == 2) {
            // An odd block by itself is read twice, and half of that is not stored.
            V::load_transposed_halves(part.rows, at + 2, has_second ? sizeof(BlockQ8_0) : 0, words);
        } else {
            load_words<V, 8>(part.rows, at + 2, words);
        }
        const int n_word = has_second ? 16 : 8;
        for (int i = 0; i < n_word; ++i) part.store_word(block * 8 + i, V::bit_xor(words[i], top_bit));
    }
}

template <class V>
MINICPMO_TARGET void unpack_q4_0(const PanelPart<V>& part, int64_t begin, int64_t n) {
    for (int64_t block = 0; block < n; ++block) {
        const size_t at = static_cast<size_t>(begin + block) * sizeof(BlockQ4_0);
        unpack_simple_scale(part, at, block);
        typename V::Ints words[4];
        V::load_four(part.rows, at + 2, words);
        for (int i = 0; i < 4; ++i) {
            part.store_word(block * 8 + i, low_nibbles<V>(words[i]));
            part.store_word(block * 8 + 4 + i, high_nibbles<V>(words[i]));
        }
    }
}

template <class V, void (*kUnpack)(const PanelPart<V>&, int64_t, int64_t)>
void unpack_panel(const char* const* rows, int64_t begin, int64_t n, WeightPanel& panel) {
    for (int g = 0; g < V::kGroup; ++g) kUnpack({rows + g * V::kLane, panel, g * V::kLane}, begin, n);
}

}  // namespace

}  // namespace minicpmo::kernels
