// Several floats at once: GCC's and Clang's vectors, no longer than those of the CPU that is compiled for. Longer
// ones are correct and slow: the compiler passes them through memory (on AVX2, 64-byte vectors cost a factor of 9).
// A single float is the shortest of them, so that one template serves for all widths.

#pragma once

#include <cstring>
#include <memory>
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
typedef Float16 Widest;
typedef Strip<Widest, 4> WidestStrip;
#elif defined(__AVX__)
typedef Float8 Widest;
typedef Strip<Widest, 2> WidestStrip;
#elif defined(__aarch64__)
typedef Float4 Widest;
typedef Strip<Widest, 4> WidestStrip;
#else
typedef Float4 Widest;
typedef Strip<Widest, 2> WidestStrip;
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

// run(number of rows, first of them) for `count` rows: R at a time, what is left in fewer and fewer. The numbers are
// known to the compiler.
template <int R, class Run>
inline void row_tiles_from(Index i, Index count, Run run) {
    for (; i + R <= count; i += R) run(std::integral_constant<int, R>{}, i);
    if constexpr (R == tile_rows) row_tiles_from<4>(i, count, run);
    else if constexpr (R > 1) row_tiles_from<R / 2>(i, count, run);
}

template <class T, int C>
constexpr int widest_of(Strip<T, C>) { return C; }

// The same with as many rows at a time as stay in registers beside the columns of a strip. Strips of shorter vectors
// are what is left of wide rows: for them twice as many rows would only be more to compile.
template <class T, int C, class Run>
inline void row_tiles(Strip<T, C>, Index count, Run run) {
    constexpr bool narrow = std::is_same_v<T, Widest> && 2 * C <= widest_of(WidestStrip{});
    row_tiles_from<narrow ? 2 * tile_rows : tile_rows>(0, count, run);
}

// Floats whose first one begins a line of the cache: a vector of 64 bytes that lies across two lines is read twice.
// They hold anything before they are written.
class Buffer {
    struct alignas(64) Line {
        float numbers[16];
    };

  public:
    Buffer() = default;
    explicit Buffer(Index size) : lines_(new Line[(size + 15) / 16]) {}

    float* data() { return lines_ ? lines_[0].numbers : nullptr; }
    const float* data() const { return lines_ ? lines_[0].numbers : nullptr; }

  private:
    std::unique_ptr<Line[]> lines_;
};
