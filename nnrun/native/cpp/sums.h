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

// y[i, j] += sum over k of a[i * a_row + k * a_step] * b[k * b_step + j], for R rows and the columns of a strip.
template <int R, class T, int C>
inline void tile(Strip<T, C>, float* y, Index y_step, const float* a, Index a_row, Index a_step, const float* b,
                 Index b_step, Index count) {
    T sum[R][C];
    for (int i = 0; i < R; ++i)
        for (int c = 0; c < C; ++c) sum[i][c] = load<T>(y + i * y_step + c * width<T>);
    for (Index k = 0; k < count; ++k, a += a_step, b += b_step)
        for (int i = 0; i < R; ++i)
            for (int c = 0; c < C; ++c) sum[i][c] += a[i * a_row] * load<T>(b + c * width<T>);
    for (int i = 0; i < R; ++i)
        for (int c = 0; c < C; ++c) store<T>(y + i * y_step + c * width<T>, sum[i][c]);
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

// All rows of y, for the columns of a strip.
template <class T, int C>
inline void tiles(Strip<T, C> strip, float* y, Index y_step, Index rows, const float* a, Index a_row, Index a_step,
                  const float* b, Index b_step, Index count) {
    Index i = 0;
    for (; i + tile_rows <= rows; i += tile_rows)
        tile<tile_rows>(strip, y + i * y_step, y_step, a + i * a_row, a_row, a_step, b, b_step, count);
    for (; i + 4 <= rows; i += 4)
        tile<4>(strip, y + i * y_step, y_step, a + i * a_row, a_row, a_step, b, b_step, count);
    for (; i < rows; ++i)
        tile<1>(strip, y + i * y_step, y_step, a + i * a_row, a_row, a_step, b, b_step, count);
}

// The same for any numbers of rows and columns: y is (rows, units), with `units` numbers in a row, as b has.
// Each number of y is summed in the order of k, wherever rows and columns are cut: its bits are always the same.
inline void add_product(float* y, Index rows, Index units, const float* a, Index a_row, Index a_step,
                        const float* b, Index count) {
    if (rows < worth_packing || count * units <= packed_rows * columns_of(WidestStrip{})) {  // or all of b fits it
        strips(units, [=](auto strip, Index j) {
            tiles(strip, y + j, units, rows, a, a_row, a_step, b + j, units, count);
        });
        return;
    }
    alignas(64) float packed[packed_rows * columns_of(WidestStrip{})];
    for (Index k = 0; k < count; k += packed_rows) {
        const Index part = std::min(packed_rows, count - k);
        strips(units, [=, &packed](auto strip, Index j) {
            pack(strip, packed, b + k * units + j, units, part);
            tiles(strip, y + j, units, rows, a + k * a_step, a_row, a_step, packed, columns_of(strip), part);
        });
    }
}

// y = x turned: (rows, columns) to (columns, rows).
inline void transpose(float* __restrict y, const float* __restrict x, Index rows, Index columns) {
    for (Index i = 0; i < rows; ++i)
        for (Index j = 0; j < columns; ++j) y[j * rows + i] = x[i * columns + j];
}
