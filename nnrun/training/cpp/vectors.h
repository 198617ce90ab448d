// Several floats at once: GCC's and Clang's vectors, which the compiler splits where the CPU's are shorter.
// A single float is the shortest of them, so that one template serves for all widths.

#pragma once

#include <cstring>

#include "job.h"

typedef float Float16 __attribute__((vector_size(64)));
typedef float Float8 __attribute__((vector_size(32)));
typedef float Float4 __attribute__((vector_size(16)));

template <class T>
constexpr Index width = sizeof(T) / sizeof(float);

// Wherever they lie: vectors in memory are aligned as floats are.
template <class T>
inline T load(const float* place) {
    T value;
    std::memcpy(&value, place, sizeof(T));
    return value;
}

template <class T>
inline void store(float* place, T value) { std::memcpy(place, &value, sizeof(T)); }

// How many T lie side by side in a strip of columns.
template <class T, int C>
struct Strip {};

// Cut `units` columns into strips, and do(strip, first column of it) for each.
template <class Do>
inline void strips(Index units, Do run) {
    Index j = 0;
    for (; j + 64 <= units; j += 64) run(Strip<Float16, 4>{}, j);
    for (; j + 32 <= units; j += 32) run(Strip<Float16, 2>{}, j);
    if (j + 16 <= units) run(Strip<Float16, 1>{}, j), j += 16;
    if (j + 8 <= units) run(Strip<Float8, 1>{}, j), j += 8;
    if (j + 4 <= units) run(Strip<Float4, 1>{}, j), j += 4;
    for (; j < units; ++j) run(Strip<float, 1>{}, j);
}
