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

// z[c] += sum over the row's numbers of number * kernel[column, c], for the columns of a strip.
// Two sums in turn, so that one need not wait for the other.
template <class T, int C>
inline void add_picked(Strip<T, C>, float* z, const SparseRow& row, const float* kernel, Index units) {
    T even[C], odd[C] = {};
    for (int c = 0; c < C; ++c) even[c] = load<T>(z + c * width<T>);
    Index k = 0;
    if (row.values) {
        for (; k < row.count; ++k)
            for (int c = 0; c < C; ++c)
                even[c] += row.values[k] * load<T>(kernel + row.columns[k] * units + c * width<T>);
    } else {
        for (; k + 2 <= row.count; k += 2)
            for (int c = 0; c < C; ++c) {
                even[c] += load<T>(kernel + row.columns[k] * units + c * width<T>);
                odd[c] += load<T>(kernel + row.columns[k + 1] * units + c * width<T>);
            }
        if (k < row.count)
            for (int c = 0; c < C; ++c) even[c] += load<T>(kernel + row.columns[k] * units + c * width<T>);
    }
    for (int c = 0; c < C; ++c) store<T>(z + c * width<T>, even[c] + odd[c]);
}

// The gradient of a kernel with F rows of U numbers: sums for those rows that were met, in the order of meeting.
class MetRows {
  public:
    void resize(Index features, Index units) {
        place_.assign(features, -1);
        units_ = units;
    }

    // d is the gradient of the product of one sparse row.
    void add(const SparseRow& row, const float* d) {
        if (sums_.size() < (met_.size() + row.count) * units_) sums_.resize(2 * (met_.size() + row.count) * units_);
        // Straight on to the columns of each strip where there is one strip alone, as is usual.
        for (Index k = 0; k < row.count; ++k) {
            const std::int32_t column = row.columns[k];
            std::int32_t place = place_[column];
            if (place < 0) {
                place = place_[column] = met_.size();
                met_.push_back(column);
                std::fill_n(&sums_[place * units_], units_, 0);
            }
            float* sum = &sums_[place * units_];
            const float value = row.values ? row.values[k] : 1;
            strips(units_, [=](auto strip, Index j) { add_scaled(strip, sum + j, value, d + j); });
        }
    }

    const std::vector<std::int32_t>& met() const { return met_; }

    const float* sum(Index place) const { return &sums_[place * units_]; }

    // The sum of a row of the kernel; null where it was not met.
    const float* of(Index column) const { return place_[column] < 0 ? nullptr : sum(place_[column]); }

    void clear() {
        for (const std::int32_t column : met_) place_[column] = -1;
        met_.clear();
    }

  private:
    template <class T, int C>
    static void add_scaled(Strip<T, C>, float* sum, float value, const float* d) {
        for (int c = 0; c < C; ++c) {
            float* place = sum + c * width<T>;
            store<T>(place, load<T>(place) + value * load<T>(d + c * width<T>));
        }
    }

    std::vector<std::int32_t> place_, met_;  // of each row of the kernel its place among the sums, or -1
    std::vector<float> sums_;
    Index units_ = 0;
};
