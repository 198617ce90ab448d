// Sparse rows times a kernel, and the gradient of that kernel: only rows of the kernel that a batch meets.

#pragma once

#include <algorithm>
#include <vector>

#include "vectors.h"

// The numbers of one row that are not zero.
struct SparseRow {
    const std::int32_t* columns;
    const float* values;  // null where all are 1
    Index count;
};

// Sparse rows that are learned from together.
struct SparseBatch {
    std::vector<SparseRow> rows;
    std::vector<float> dropped;  // what dropout makes of the numbers, if it does
    // The rows of the kernel that the batch meets, in the order of meeting, and for each number of the batch the
    // place of its column among them.
    std::vector<std::int32_t> met, places;
};

// Finds the rows of a kernel that a batch meets.
class Finder {
  public:
    explicit Finder(Index features) : place_(features, -1) {}

    void find(SparseBatch& batch) {
        Index size = 0;
        for (const SparseRow& row : batch.rows) size += row.count;
        batch.places.resize(size);
        batch.met.resize(size);
        std::int32_t *places = batch.places.data(), *met = batch.met.data(), next = 0;
        for (const SparseRow& row : batch.rows)
            for (Index k = 0; k < row.count; ++k) {
                const std::int32_t column = row.columns[k], known = place_[column];
                const bool first = known < 0;  // added, not jumped over: nobody could foretell where to
                *places++ = place_[column] = first ? next : known;
                met[next] = column;
                next += first;
            }
        batch.met.resize(next);
        for (const std::int32_t column : batch.met) place_[column] = -1;
    }

  private:
    std::vector<std::int32_t> place_;  // of each row of the kernel, while a batch is looked through; -1 for none
};

// How many numbers ahead of their use rows of a large kernel are asked for.
constexpr Index ahead = 12;

template <class T, int C>
inline void ask_for(const float* place) {
    for (int c = 0; c < C; ++c) __builtin_prefetch(place + c * width<T>);
}

// z[c] += sum over the row's numbers of number * kernel[column, c], for the columns of a strip.
// Two sums in turn, so that one need not wait for the other.
template <class T, int C>
inline void add_picked(Strip<T, C>, float* z, const SparseRow& row, const float* kernel, Index units) {
    const auto picked = [=](Index k) { return kernel + row.columns[k] * units; };
    const auto prefetch = [=](Index k) { ask_for<T, C>(picked(std::min(k + ahead, row.count - 1))); };
    T even[C], odd[C] = {};
    for (int c = 0; c < C; ++c) even[c] = load<T>(z + c * width<T>);
    Index k = 0;
    if (row.values) {
        for (; k < row.count; ++k) {
            prefetch(k);
            for (int c = 0; c < C; ++c) even[c] += row.values[k] * load<T>(picked(k) + c * width<T>);
        }
    } else {
        for (; k + 2 <= row.count; k += 2) {
            prefetch(k), prefetch(k + 1);
            for (int c = 0; c < C; ++c) {
                even[c] += load<T>(picked(k) + c * width<T>);
                odd[c] += load<T>(picked(k + 1) + c * width<T>);
            }
        }
        if (k < row.count)
            for (int c = 0; c < C; ++c) even[c] += load<T>(picked(k) + c * width<T>);
    }
    for (int c = 0; c < C; ++c) store<T>(z + c * width<T>, even[c] + odd[c]);
}

// The gradient of a kernel with F rows of U numbers, as sums for its rows.
class KernelGradient {
  public:
    // With `met_alone`, only rows that a batch meets have a place.
    void resize(Index features, Index units, bool met_alone) {
        met_alone_ = met_alone;
        units_ = units;
        if (!met_alone) sums_.assign(features * units, 0);
    }

    // `delta` is the gradient of the product of the batch with the kernel, (B, U). All sums are 0 before.
    void sum(const SparseBatch& batch, const float* delta) {
        if (met_alone_) sums_.assign(batch.met.size() * units_, 0);
        strips(units_, [&](auto strip, Index j) {
            const std::int32_t* places = batch.places.data();
            for (std::size_t b = 0; b < batch.rows.size(); ++b) {
                const SparseRow& row = batch.rows[b];
                add_scaled(strip, &sums_[j], met_alone_ ? places : row.columns, row, delta + b * units_ + j);
                places += row.count;
            }
        });
    }

    // The sums from a place on, or from a row on where all have one.
    float* at(Index place) { return &sums_[place * units_]; }

  private:
    template <class T, int C>
    void add_scaled(Strip<T, C>, float* sums, const std::int32_t* places, const SparseRow& row,
                    const float* d) const {
        T own[C];
        for (int c = 0; c < C; ++c) own[c] = load<T>(d + c * width<T>);
        for (Index k = 0; k < row.count; ++k) {
            float* sum = sums + places[k] * units_;
            ask_for<T, C>(sums + places[std::min(k + ahead, row.count - 1)] * units_);
            for (int c = 0; c < C; ++c) {
                const T part = row.values ? row.values[k] * own[c] : own[c];
                store<T>(sum + c * width<T>, load<T>(sum + c * width<T>) + part);
            }
        }
    }

    std::vector<float> sums_;
    Index units_ = 0;
    bool met_alone_ = false;
};
