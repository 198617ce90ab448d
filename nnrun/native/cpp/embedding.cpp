// Rows of a table by their index, and their mean over the places of a row, for R replicas; and the gradients.
//
// R: replicas, B: rows of a batch, T: places of a row, V: rows of a table, D: its columns. Tables are (R, V, D).

#include <cmath>

#include "tasks.h"
#include "words.h"

namespace {

constexpr Index worth_a_thread = 1 << 18;  // numbers to add; fewer are added before a thread has started

template <class Vec, int C>
inline void copy(Strip<Vec, C>, const float* from, float* to) {
    for (int c = 0; c < C; ++c) store<Vec>(to + c * width<Vec>, load<Vec>(from + c * width<Vec>));
}

// As `add_row_of_means` of gradients that differ from place to place, (N, D). A run is summed before it is added, so that a word
// that stands everywhere, such as padding, loses less by rounding.
template <class Vec, int C>
APART void add_places(Strip<Vec, C>, const Words words, const float* d, const std::int32_t* index, Index N, Index j) {
    for (Index t = 0; t < N;) {
        const Index end = end_of_run(index, t, N);
        if (words.has(index[t])) {
            Vec sum[C] = {}, squares[C] = {};
            for (Index k = t; k < end; ++k)
                for (int c = 0; c < C; ++c) {
                    const Vec v = load<Vec>(d + k * words.D + j + c * width<Vec>);
                    sum[c] += v;
                    squares[c] += v * v;
                }
            const Index place = index[t] * words.D + j;
            for (int c = 0; c < C; ++c) {
                add_at<Vec>(words.gradient + place + c * width<Vec>, sum[c]);
                if (words.squares) add_at<Vec>(words.squares + place + c * width<Vec>, squares[c]);
            }
        }
        t = end;
    }
}

// add(replica, its words) by several threads. Each has some words of a replica for itself, so that their sums do not
// depend on the number of threads.
template <class Add>
void add_to_tables(float* gradient, float* squares, Index R, Index V, Index D, Index numbers, Index threads, Add add) {
    const Index useful = std::max<Index>(1, std::min(threads, R * numbers / worth_a_thread));
    const Index parts = (useful + R - 1) / R;
    share_out(R * parts, useful, [=](Index task) {
        const Index r = task / parts, part = task % parts, table = r * V * D;
        const Index first = V * part / parts, end = V * (part + 1) / parts;
        add(r, Words{gradient + table, squares ? squares + table : nullptr, std::int32_t(first),
                     std::int32_t(end - first), D});
    });
}

}  // namespace

extern "C" {

// index = x, rounded as PyTorch does. Returns how many are no row of the table.
Index read_indices(const float* __restrict x, std::int32_t* __restrict index, Index count, Index V) {
    const float end = V;
    Index wrong = 0;
    for (Index k = 0; k < count; ++k) {
        const float word = std::nearbyint(x[k]);
        const bool fits = word >= 0 && word < end;
        index[k] = fits ? std::int32_t(word) : 0;
        wrong += !fits;
    }
    return wrong;
}

// y (R, N, D) = the rows of N places.
void pick(const float* table, const std::int32_t* index, float* y, Index R, Index N, Index V, Index D, Index threads) {
    share_out(R, R * N * D < worth_a_thread ? 1 : threads, [=](Index r) {
        strips(D, [=](auto strip, Index j) {
            for (Index t = r * N; t < (r + 1) * N; ++t)
                copy(strip, table + (r * V + index[t]) * D + j, y + t * D + j);
        });
    });
}

// y (R, B, D) = the mean over the T places of each row that count; `counts` (R, B, T) may be null.
void pick_means(const float* table, const std::int32_t* index, const std::uint8_t* counts, float* y, Index R, Index B,
                Index T, Index V, Index D, Index threads) {
    share_out(R, R * B * T * D < worth_a_thread ? 1 : threads, [=](Index r) {
        strips(D, [=](auto strip, Index j) {
            for (Index b = r * B; b < (r + 1) * B; ++b)
                mean_of_row(strip, y + b * D + j, table + r * V * D + j, D, index + b * T,
                            counts ? counts + b * T : nullptr, T);
        });
    });
}

// Add to the gradient of the table, and to the sums of the squares of the places' gradients if these are not null:
// d (R, N, D) is the gradient of what `pick` gave.
void add_picked(const float* d, const std::int32_t* index, float* gradient, float* squares, Index R, Index N, Index V,
                Index D, Index threads) {
    add_to_tables(gradient, squares, R, V, D, N * D, threads, [=](Index r, const Words& words) {
        strips(D, [=](auto strip, Index j) { add_places(strip, words, d + r * N * D, index + r * N, N, j); });
    });
}

// The same of `pick_means`: d is (R, B, D).
void add_means(const float* d, const std::int32_t* index, const std::uint8_t* counts, float* gradient, float* squares,
               Index R, Index B, Index T, Index V, Index D, Index threads) {
    add_to_tables(gradient, squares, R, V, D, B * T * D, threads, [=](Index r, const Words& words) {
        for (Index b = r * B; b < (r + 1) * B; ++b)
            add_row(words, d + b * D, index + b * T, counts ? counts + b * T : nullptr, T);
    });
}

}
