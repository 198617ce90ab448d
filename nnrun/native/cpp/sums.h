// Sums of products: matrices are row by row.

#pragma once

#include <algorithm>

#include "vectors.h"

// y[j] += sum over k of a[k * a_step] * rows[k * step + j]. Four at a time, to load and store y less often.
inline void add_rows(float* __restrict y, Index n, const float* a, Index a_step, const float* __restrict rows,
                     Index step, Index count) {
    Index k = 0;
    for (; k + 4 <= count; k += 4) {
        const float a0 = a[k * a_step], a1 = a[(k + 1) * a_step];
        const float a2 = a[(k + 2) * a_step], a3 = a[(k + 3) * a_step];
        const float* __restrict r = rows + k * step;
        for (Index j = 0; j < n; ++j)
            y[j] += (a0 * r[j] + a1 * r[step + j]) + (a2 * r[2 * step + j] + a3 * r[3 * step + j]);
    }
    for (; k < count; ++k) {
        const float a0 = a[k * a_step];
        const float* __restrict r = rows + k * step;
        for (Index j = 0; j < n; ++j) y[j] += a0 * r[j];
    }
}

inline float dot(const float* __restrict a, const float* __restrict b, Index n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index j = 0; j < n; ++j) sum += a[j] * b[j];
    return sum;
}

// y[i] = sum over j of rows[i * n + j] * x[j] for `count` rows. Four at a time, so that none waits for another.
inline void dot_rows(float* __restrict y, const float* __restrict rows, Index count, const float* __restrict x,
                     Index n) {
    Index i = 0;
    for (; i + 4 <= count; i += 4) {
        const float* __restrict r = rows + i * n;
        float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
        for (Index j = 0; j < n; ++j) {
            s0 += r[j] * x[j];
            s1 += r[n + j] * x[j];
            s2 += r[2 * n + j] * x[j];
            s3 += r[3 * n + j] * x[j];
        }
        y[i] = s0, y[i + 1] = s1, y[i + 2] = s2, y[i + 3] = s3;
    }
    for (; i < count; ++i) y[i] = dot(rows + i * n, x, n);
}

// --- products of matrices ----------------------------------------------------------------------------------

// What a product is added to: the numbers of y, or the same row for all rows of y, such as a bias.
struct Start {
    const float* values;
    Index row_step, column_step;

    Start from(Index i, Index j) const { return {values + i * row_step + j * column_step, row_step, column_step}; }
};

constexpr float zeros[columns_of(WidestStrip{})] = {};

// `row` may be null: zeros.
inline Start same_row(const float* row) { return row ? Start{row, 0, 1} : Start{zeros, 0, 0}; }

// y[i, j] = start[i, j] + sum over k of a[i * a_row + k * a_step] * b[k * b_step + j], for R rows and the columns of a
// strip.
template <int R, class T, int C>
inline void tile(Strip<T, C>, float* y, Index y_step, Start start, const float* a, Index a_row, Index a_step,
                 const float* b, Index b_step, Index count) {
    T sum[R][C];
    const float* rows[R];
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i) {
        rows[i] = a + i * a_row;
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sum[i][c] = load<T>(start.values + i * start.row_step + c * width<T>);
    }
    for (Index k = 0, place = 0; k < count; ++k, place += a_step, b += b_step)
#pragma GCC unroll 12
        for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) sum[i][c] += rows[i][place] * load<T>(b + c * width<T>);
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) store<T>(y + i * y_step + c * width<T>, sum[i][c]);
}

// All rows of y, for the columns of a strip. Not inlined: compiled once for all who multiply.
template <class T, int C>
__attribute__((noinline)) void tiles(Strip<T, C> strip, float* y, Index y_step, Index rows, Start start,
                                     const float* a, Index a_row, Index a_step, const float* b, Index b_step,
                                     Index count) {
    row_tiles(strip, rows, [=](auto R, Index i) {
        tile<R>(strip, y + i * y_step, y_step, start.from(i, 0), a + i * a_row, a_row, a_step, b, b_step, count);
    });
}

// The same for the first `columns` numbers of a strip; b has only these, and zeros in the others.
template <class T, int C>
__attribute__((noinline)) void edge_tiles(Strip<T, C> strip, Index columns, float* y, Index y_step, Index rows,
                                          Start start, const float* a, Index a_row, Index a_step, const float* b,
                                          Index count) {
    constexpr Index wide = columns_of(Strip<T, C>{});
    row_tiles(strip, rows, [=](auto R, Index i) {
        alignas(64) float edge[R * wide] = {};
        for (int r = 0; r < R; ++r)
            for (Index j = 0; j < columns; ++j) edge[r * wide + j] = *start.from(i + r, j).values;
        tile<R>(strip, edge, wide, {edge, wide, 1}, a + i * a_row, a_row, a_step, b, wide, count);
        for (int r = 0; r < R; ++r) std::copy_n(edge + r * wide, columns, y + (i + r) * y_step);
    });
}

// Rows of b that a product copies side by side before it goes through them: a strip of them fits the first cache.
// Taken where they lie, rows of a wide b would meet in few of the cache's sets and push each other out.
constexpr Index packed_rows = 128;
constexpr Index worth_packing = 4 * tile_rows;  // rows of y from which on the copy costs little

// Copy `count` rows of a strip of b, of which a row has `b_step` numbers.
template <class T, int C>
inline void pack(Strip<T, C>, float* __restrict packed, const float* __restrict b, Index b_step, Index count) {
    for (Index k = 0; k < count; ++k, packed += C * width<T>, b += b_step)
        for (int c = 0; c < C; ++c) store<T>(packed + c * width<T>, load<T>(b + c * width<T>));
}

// The same of only `columns` of a strip's columns; the others become zero.
template <class T, int C>
inline void pack_edge(Strip<T, C> strip, Index columns, float* __restrict packed, const float* __restrict b,
                      Index b_step, Index count) {
    std::fill_n(packed, count * columns_of(strip), 0.0f);
    for (Index k = 0; k < count; ++k, packed += columns_of(strip), b += b_step) std::copy_n(b, columns, packed);
}

// Cut columns into strips of whole vectors, from j on: run(strip, first column of it), and then
// edge(strip, first column, columns) for those that are too few for a vector.
template <class T, int C, class Run, class Edge>
inline void vector_strips(Strip<T, C> strip, Index j, Index units, Run run, Edge edge) {
    for (; j + columns_of(strip) <= units; j += columns_of(strip)) run(strip, j);
    if constexpr (C > 1) vector_strips(Strip<T, C / 2>{}, j, units, run, edge);
    else if (j < units) edge(strip, j, units - j);
}

// Whether a product copies b's rows side by side: not where they are few, or where there are too few rows of y.
inline bool packs(Index rows, Index units, Index count) {
    const bool fits = count * units <= packed_rows * columns_of(WidestStrip{});  // all of b, into the first cache
    return rows >= worth_packing && !(fits && units % width<Widest> == 0);
}

// Numbers of the copy of a whole b, (count, units).
inline Index packed_size(Index units, Index count) {
    return count * ((units + width<Widest> - 1) / width<Widest>) * width<Widest>;
}

// Copy all of b in the order in which `product_of_packed` reads it.
__attribute__((noinline)) inline void pack_all(float* packed, const float* b, Index units, Index count) {
    for (Index k = 0; k < count; k += packed_rows, b += packed_rows * units) {
        const Index part = std::min(packed_rows, count - k);
        const auto add = [&](auto strip, Index j) {
            pack(strip, packed, b + j, units, part);
            packed += part * columns_of(strip);
        };
        const auto add_edge = [&](auto strip, Index j, Index columns) {
            pack_edge(strip, columns, packed, b + j, units, part);
            packed += part * columns_of(strip);
        };
        vector_strips(WidestStrip{}, 0, units, add, add_edge);
    }
}

// y[i, j] = start[i, j] + sum over k of a[i * a_row + k * a_step] * b[k, j]: y is (rows, units) and b (count, units),
// of which take(strip, k, j, part) gives the rows from k on, side by side, of the strip that begins with column j, and
// take_edge(strip, k, j, columns, part) the same where the strip has only so many columns, with zeros in the others.
template <class Take, class TakeEdge>
inline void product_of_strips(float* y, Index rows, Index units, Start start, const float* a, Index a_row, Index a_step,
                              Index count, Take take, TakeEdge take_edge) {
    for (Index k = 0; k < count; k += packed_rows, start = {y, units, 1}) {
        const Index part = std::min(packed_rows, count - k);
        const float* of_a = a + k * a_step;
        const auto multiply = [&](auto strip, Index j) {
            tiles(strip, y + j, units, rows, start.from(0, j), of_a, a_row, a_step, take(strip, k, j, part),
                  columns_of(strip), part);
        };
        const auto multiply_edge = [&](auto strip, Index j, Index columns) {
            edge_tiles(strip, columns, y + j, units, rows, start.from(0, j), of_a, a_row, a_step,
                       take_edge(strip, k, j, columns, part), part);
        };
        vector_strips(WidestStrip{}, 0, units, multiply, multiply_edge);
    }
}

// The product with a b of which `pack_all` made `packed`.
__attribute__((noinline)) inline void product_of_packed(float* y, Index rows, Index units, Start start, const float* a,
                                                        Index a_row, Index a_step, const float* packed, Index count) {
    const auto next = [&](auto strip, Index part) {
        const float* strip_of_b = packed;
        packed += part * columns_of(strip);
        return strip_of_b;
    };
    product_of_strips(
        y, rows, units, start, a, a_row, a_step, count,
        [&](auto strip, Index, Index, Index part) { return next(strip, part); },
        [&](auto strip, Index, Index, Index, Index part) { return next(strip, part); });
}

// The product with b as it lies. Each number of y is summed in the order of k, wherever rows and columns are cut and
// whether or not b is copied: its bits are always the same.
__attribute__((noinline)) inline void product(float* y, Index rows, Index units, Start start, const float* a,
                                              Index a_row, Index a_step, const float* b, Index count) {
    if (!packs(rows, units, count)) {
        strips(units, [=](auto strip, Index j) {
            tiles(strip, y + j, units, rows, start.from(0, j), a, a_row, a_step, b + j, units, count);
        });
        return;
    }
    alignas(64) float packed[packed_rows * columns_of(WidestStrip{})];
    const auto take = [&](auto strip, Index k, Index j, Index part) {
        pack(strip, packed, b + k * units + j, units, part);
        return packed;
    };
    const auto take_edge = [&](auto strip, Index k, Index j, Index columns, Index part) {
        pack_edge(strip, columns, packed, b + k * units + j, units, part);
        return packed;
    };
    product_of_strips(y, rows, units, start, a, a_row, a_step, count, take, take_edge);
}

// The same, added to y.
inline void add_product(float* y, Index rows, Index units, const float* a, Index a_row, Index a_step,
                        const float* b, Index count) {
    product(y, rows, units, {y, units, 1}, a, a_row, a_step, b, count);
}

// y = x turned: (rows, columns) to (columns, rows). A square at a time, whose lines stay in the first cache.
inline void transpose(float* __restrict y, const float* __restrict x, Index rows, Index columns) {
    constexpr Index side = 16;
    const auto turn = [=](Index i, Index j, Index height, Index wide) {
        for (Index l = 0; l < wide; ++l)
            for (Index k = 0; k < height; ++k) y[(j + l) * rows + i + k] = x[(i + k) * columns + j + l];
    };
    for (Index i = 0; i < rows; i += side)
        for (Index j = 0; j < columns; j += side)
            if (i + side <= rows && j + side <= columns) turn(i, j, side, side);  // numbers that the compiler knows
            else turn(i, j, std::min(side, rows - i), std::min(side, columns - j));
}
