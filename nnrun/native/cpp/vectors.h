// Several floats at once: GCC's and Clang's vectors, no longer than those of the CPU that is compiled for. Longer
// ones are correct and slow: the compiler passes them through memory (on AVX2, 64-byte vectors cost a factor of 9).
// A single float is the shortest of them, so that one template serves for all widths.

#pragma once

#include <cstring>
#include <type_traits>

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

template <class T, int C>
constexpr Index columns_of(Strip<T, C>) { return C * width<T>; }

// The widest strip of which a tile of `tile_rows` rows stays in registers while it is summed: 32 registers of
// 64 bytes with AVX-512, 16 of 32 bytes with AVX, 16 of 16 bytes with SSE, 32 of 16 bytes on 64-bit ARM.
#if defined(__AVX512F__)
typedef Strip<Float16, 4> WidestStrip;
#elif defined(__AVX__)
typedef Strip<Float8, 2> WidestStrip;
#elif defined(__aarch64__)
typedef Strip<Float4, 4> WidestStrip;
#else
typedef Strip<Float4, 2> WidestStrip;
#endif
constexpr int tile_rows = 6;

// Cut `units` columns, from j on, into strips of T's, C side by side and then fewer, and run(strip, first column
// of it) for each.
template <class T, int C, class Run>
inline void strips_from(Strip<T, C> strip, Index j, Index units, Run run) {
    constexpr Index columns = C * width<T>;
    for (; j + columns <= units; j += columns) run(strip, j);
    if constexpr (C > 1) strips_from(Strip<T, C / 2>{}, j, units, run);
    else if constexpr (std::is_same_v<T, Float16>) strips_from(Strip<Float8, 1>{}, j, units, run);
    else if constexpr (std::is_same_v<T, Float8>) strips_from(Strip<Float4, 1>{}, j, units, run);
    else if constexpr (std::is_same_v<T, Float4>) strips_from(Strip<float, 1>{}, j, units, run);
}

// The same for all columns.
template <class Run>
inline void strips(Index units, Run run) {
    strips_from(WidestStrip{}, 0, units, run);
}
