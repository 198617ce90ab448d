// The largest number of each window of images, channel by channel, and which place of the window it stood at.
//
// N: images, H and W: their height and width, C: their channels. Images are (N, H, W, C).

#pragma once

#include <algorithm>
#include <limits>

#include "vectors.h"

// nnrun/model/kernels/pooling.py has the same structure.
struct Pooling {
    Index images, height, width, channels;
    Index window_height, window_width, stride_y, stride_x;  // a window has at most 256 places
    Index top, left, bottom, right;                         // the padding, which is never the largest
    Index threads;

    Index out_height() const { return (top + height + bottom - window_height) / stride_y + 1; }
    Index out_width() const { return (left + width + right - window_width) / stride_x + 1; }
    bool windows_overlap() const { return stride_y < window_height || stride_x < window_width; }
    // Where they do not overlap: whether each number of an image lies in one.
    bool windows_cover() const {
        return out_height() * window_height >= top + height && out_width() * window_width >= left + width &&
               stride_y == window_height && stride_x == window_width;
    }
    Index image_size() const { return height * width * channels; }
    Index out_size() const { return out_height() * out_width() * channels; }
};

// The integers and the bytes that go with the floats of a vector.
template <class T>
struct Beside {
    typedef std::int32_t Integers __attribute__((vector_size(sizeof(T))));
    typedef std::uint8_t Bytes __attribute__((vector_size(sizeof(T) / 4)));
};
template <>
struct Beside<float> {
    typedef std::int32_t Integers;
    typedef std::uint8_t Bytes;
};

template <class T>
inline auto to_bytes(typename Beside<T>::Integers value) {
    if constexpr (std::is_same_v<T, float>) return std::uint8_t(value);
    else return __builtin_convertvector(value, typename Beside<T>::Bytes);
}

template <class T>
inline auto to_integers(typename Beside<T>::Bytes value) {
    if constexpr (std::is_same_v<T, float>) return std::int32_t(value);
    else return __builtin_convertvector(value, typename Beside<T>::Integers);
}

// The part of a window that lies within the image.
struct Window {
    Index first_y, end_y, first_x, end_x;  // places of the window
    Index y, x;                            // of its place (0, 0) in the image; may be negative

    Window(const Pooling& p, Index out_y, Index out_x) : y(out_y * p.stride_y - p.top), x(out_x * p.stride_x - p.left) {
        first_y = std::max<Index>(0, -y), end_y = std::min(p.window_height, p.height - y);
        first_x = std::max<Index>(0, -x), end_x = std::min(p.window_width, p.width - x);
    }

    // visit(number of the place, where it is in the image), place by place.
    template <class Visit>
    void each(const Pooling& p, Visit visit) const {
        for (Index v = first_y; v < end_y; ++v)
            for (Index u = first_x; u < end_x; ++u)
                visit(std::int32_t(v * p.window_width + u), ((y + v) * p.width + x + u) * p.channels);
    }
};

template <class Run>
inline void each_window(const Pooling& p, Run run) {
    Index to = 0;
    for (Index y = 0; y < p.out_height(); ++y)
        for (Index x = 0; x < p.out_width(); ++x, to += p.channels) run(Window(p, y, x), to);
}

// The largest of a window, for the channels of a strip. A NaN is larger than any number, as in PyTorch.
template <class T, int C>
inline void largest(Strip<T, C>, const Pooling& p, const Window& window, const float* x, float* y,
                    std::uint8_t* places) {
    using Integers = typename Beside<T>::Integers;
    using Bytes = typename Beside<T>::Bytes;
    T most[C];
    Integers place[C];
    for (int c = 0; c < C; ++c) {
        most[c] = T{} - std::numeric_limits<float>::infinity();
        place[c] = Integers{} + std::int32_t(window.first_y * p.window_width + window.first_x);
    }
    window.each(p, [&](std::int32_t number, Index at) {
        for (int c = 0; c < C; ++c) {
            const T value = load<T>(x + at + c * width<T>);
            const auto larger = (value > most[c]) | (value != value);
            most[c] = larger ? value : most[c];
            place[c] = larger ? Integers{} + number : place[c];
        }
    });
    for (int c = 0; c < C; ++c) {
        store<T>(y + c * width<T>, most[c]);
        if (!places) continue;
        const Bytes bytes = to_bytes<T>(place[c]);
        std::memcpy(places + c * width<T>, &bytes, sizeof(bytes));
    }
}

// The gradient d of the largest of a window where it stood; what other windows gave stays, where they overlap.
template <bool overlap, class T, int C>
inline void put_where_largest(Strip<T, C>, const Pooling& p, const Window& window, const float* d,
                              const std::uint8_t* places, float* x) {
    using Integers = typename Beside<T>::Integers;
    using Bytes = typename Beside<T>::Bytes;
    T value[C];
    Integers place[C];
    for (int c = 0; c < C; ++c) {
        value[c] = load<T>(d + c * width<T>);
        Bytes bytes;
        std::memcpy(&bytes, places + c * width<T>, sizeof(bytes));
        place[c] = to_integers<T>(bytes);
    }
    window.each(p, [&](std::int32_t number, Index at) {
        for (int c = 0; c < C; ++c) {
            float* to = x + at + c * width<T>;
            const T given = place[c] == number ? value[c] : T{};
            if constexpr (overlap) store<T>(to, load<T>(to) + given);
            else store<T>(to, given);
        }
    });
}

// y, (height, width, C), of an image x; `places` takes the numbers of the places, or is null.
inline void pool_image(const Pooling& p, const float* x, float* y, std::uint8_t* places) {
    each_window(p, [&](const Window& window, Index at) {
        strips(p.channels, [&](auto strip, Index j) {
            largest(strip, p, window, x + j, y + at + j, places ? places + at + j : nullptr);
        });
    });
}

// The gradient of an image, dx, from that of y.
template <bool overlap>
inline void pool_image_back(const Pooling& p, const float* d, const std::uint8_t* places, float* dx) {
    if (overlap || !p.windows_cover()) std::fill(dx, dx + p.image_size(), 0.0f);
    each_window(p, [&](const Window& window, Index at) {
        strips(p.channels, [&](auto strip, Index j) {
            put_where_largest<overlap>(strip, p, window, d + at + j, places + at + j, dx + j);
        });
    });
}

inline void pool_image_back(const Pooling& p, const float* d, const std::uint8_t* places, float* dx) {
    if (p.windows_overlap()) pool_image_back<true>(p, d, places, dx);
    else pool_image_back<false>(p, d, places, dx);
}
