// exp, sigmoid and tanh of several floats at once: polynomials of Cephes (S. Moshier), within 2e-7 of the exact
// value, relative. A NaN stays one.

#pragma once

#include <cstdint>

#include "vectors.h"

template <class T>
struct BitsOf;
template <>
struct BitsOf<float> { typedef std::uint32_t type; };
template <>
struct BitsOf<Float4> { typedef std::uint32_t type __attribute__((vector_size(16))); };
template <>
struct BitsOf<Float8> { typedef std::uint32_t type __attribute__((vector_size(32))); };
template <>
struct BitsOf<Float16> { typedef std::uint32_t type __attribute__((vector_size(64))); };

template <class To, class From>
inline To with_bits_of(From x) {
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To y;
    std::memcpy(&y, &x, sizeof x);
    return y;
}

template <class T>
inline T vector_exp(T x) {
    typedef typename BitsOf<T>::type Bits;
    x = x > 88.37f ? T{} + 88.37f : x;  // where the exponent of the result still is one
    x = x < -87.33f ? T{} - 87.33f : x;
    const T shifter = T{} + 12582912.0f;  // 1.5 * 2^23: a sum with it has the rounded number in its last bits
    const T sum = x * 1.44269504088896341f + shifter;
    const T n = sum - shifter;
    const T r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    T y = T{} + 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    const Bits exponent = with_bits_of<Bits>(sum) - with_bits_of<Bits>(shifter) + 127u;
    return y * with_bits_of<T>(Bits(exponent << 23));
}

template <class T>
inline T vector_sigmoid(T x) { return 1.0f / (1.0f + vector_exp(T(-x))); }

template <class T>
inline T vector_tanh(T x) {
    typedef typename BitsOf<T>::type Bits;
    const Bits bits = with_bits_of<Bits>(x), sign = bits & 0x80000000u;
    const T size = with_bits_of<T>(Bits(bits ^ sign)), z = x * x;
    T y = T{} - 5.70498872745e-3f;
    y = y * z + 2.06390887954e-2f;
    y = y * z - 5.37397155531e-2f;
    y = y * z + 1.33314422036e-1f;
    y = y * z - 3.33332819422e-1f;
    const T near = y * z * x + x;
    const T far = 1.0f - 2.0f / (vector_exp(T(size + size)) + 1.0f);
    return size > 0.625f ? with_bits_of<T>(Bits(with_bits_of<Bits>(far) | sign)) : near;
}
