// Rows of a table, picked by words, and their mean over the places of a row; and the gradient of the table.
//
// T: places of a row, V: rows of a table, D: its columns.

#pragma once

#include <algorithm>
#include <vector>

#include "vectors.h"

// A loop over places has the registers for itself: within its callers GCC would keep its addresses elsewhere.
#define APART __attribute__((noinline))

// From here the place behind the run of equal words that place t begins.
inline Index end_of_run(const std::int32_t* index, Index t, Index T) {
    const std::int32_t word = index[t++];
    while (t < T && index[t] == word) ++t;
    return t;
}

// How many of n places count.
inline Index count_of(const std::uint8_t* counts, Index n) {
    if (!counts) return n;
    Index sum = 0;
    for (Index t = 0; t < n; ++t) sum += counts[t];
    return sum;
}

// y = the sum of the rows of T places, divided by how many count; 0 where none does.
template <class Vec, int C>
APART void mean_of_row(Strip<Vec, C>, float* y, const float* table, Index D, const std::int32_t* index,
                        const std::uint8_t* counts, Index T) {
    Vec sum[4][C] = {};  // so that no addition waits for the one before it
    const auto add = [&](int chain, Index t) {
        for (int c = 0; c < C; ++c) sum[chain][c] += load<Vec>(table + index[t] * D + c * width<Vec>);
    };
    Index t = 0;
    if (counts) {
        for (; t < T; ++t)
            if (counts[t]) add(0, t);
    } else {
        for (; t + 4 <= T; t += 4) add(0, t), add(1, t + 1), add(2, t + 2), add(3, t + 3);
        for (; t < T; ++t) add(0, t);
    }
    const float n = std::max<Index>(1, count_of(counts, T));
    for (int c = 0; c < C; ++c)
        store<Vec>(y + c * width<Vec>, ((sum[0][c] + sum[1][c]) + (sum[2][c] + sum[3][c])) / n);
}

// Some consecutive rows of a table's gradient: those of `count` words from `first` on.
struct Words {
    float *gradient, *squares;  // squares may be null
    std::int32_t first, count;
    Index D;

    bool has(std::int32_t word) const { return std::uint32_t(word - first) < std::uint32_t(count); }
};

template <class Vec>
inline void add_at(float* place, Vec value) { store<Vec>(place, load<Vec>(place) + value); }

// Add the gradient of each place that counts, d / n, times their number where the same word stands in a run; and its
// square. `counting(t, end)` is how many count of the places from t to before `end`.
template <class Vec, int C, class Counting>
APART void add_row_of_means(Strip<Vec, C>, const Words words, const float* d, float n, const std::int32_t* index,
                             Index T, Index j, Counting counting) {
    Vec v[C], square[C];
    for (int c = 0; c < C; ++c) {
        v[c] = load<Vec>(d + j + c * width<Vec>) / n;
        square[c] = v[c] * v[c];
    }
    for (Index t = 0; t < T;) {
        const Index end = end_of_run(index, t, T), times = counting(t, end);
        const std::int32_t word = index[t];
        t = end;
        if (!words.has(word) || times == 0) continue;
        float* place = words.gradient + word * words.D + j;
        for (int c = 0; c < C; ++c) add_at<Vec>(place + c * width<Vec>, v[c] * float(times));
        if (!words.squares) continue;
        place = words.squares + word * words.D + j;
        for (int c = 0; c < C; ++c) add_at<Vec>(place + c * width<Vec>, square[c] * float(times));
    }
}

// The same for all columns: `counts` (T) may be null. d is (D).
inline void add_row(const Words& words, const float* d, const std::int32_t* index, const std::uint8_t* counts, Index T) {
    const float n = std::max<Index>(1, count_of(counts, T));
    const auto some = [=](Index t, Index end) { return count_of(counts + t, end - t); };
    const auto all = [](Index t, Index end) { return end - t; };
    strips(words.D, [&](auto strip, Index j) {
        if (counts) add_row_of_means(strip, words, d, n, index, T, j, some);
        else add_row_of_means(strip, words, d, n, index, T, j, all);
    });
}

// The gradient of a whole table, as sums for its rows, and the sums of the squares of its places' gradients.
class TableGradient {
  public:
    void resize(Index V, Index D, bool with_squares) {
        D_ = D;
        words_ = V;
        sums_.assign(V * D, 0);
        if (with_squares) squares_.assign(V * D, 0);
    }

    // The gradient d (D) of the mean of a row of T words.
    void add(const float* d, const std::int32_t* index, const std::uint8_t* counts, Index T) {
        add_row({at(0), squares_at(0), 0, std::int32_t(words_), D_}, d, index, counts, T);
    }

    // The sums from a row of the table on; those of squares are null without them.
    float* at(Index row) { return &sums_[row * D_]; }
    float* squares_at(Index row) { return squares_.empty() ? nullptr : &squares_[row * D_]; }

    // Zeros for the next batch.
    void clear(Index row, Index rows) {
        std::fill_n(at(row), rows * D_, 0.0f);
        if (squares_at(row)) std::fill_n(squares_at(row), rows * D_, 0.0f);
    }

  private:
    std::vector<float> sums_, squares_;
    Index words_ = 0, D_ = 0;
};
