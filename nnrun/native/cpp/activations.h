// Activations and their gradients, as nnrun/model/activations.py has them.

#pragma once

#include <algorithm>
#include <cmath>

#include "sums.h"

constexpr float leaky_slope = 0.2f;
constexpr float selu_scale = 1.0507009873554804934193349852946f, selu_alpha = 1.6732632423543772848170429916717f;
constexpr float softplus_linear = 20;  // from where on softplus(z) is z, as in PyTorch

inline float sigmoid(float z) { return 1 / (1 + std::exp(-z)); }

inline void softmax(const float* z, float* y, Index n) {
    const float most = *std::max_element(z, z + n);
    float sum = 0;
    for (Index j = 0; j < n; ++j) sum += y[j] = std::exp(z[j] - most);
    for (Index j = 0; j < n; ++j) y[j] /= sum;
}

// f(k) reads and writes numbers at place k alone, so that what it reads may be where it writes.
template <class F>
inline void each(Index n, F f) {
#pragma GCC ivdep
    for (Index k = 0; k < n; ++k) f(k);
}

// Whether the gradient of the activation follows from y alone, so that y may take the place of z.
inline bool needs_outputs_alone(Activation activation) {
    switch (activation) {
        case Activation::linear:
        case Activation::relu:
        case Activation::tanh:
        case Activation::sigmoid:
        case Activation::softmax: return true;
        default: return false;
    }
}

// y = activation(z), both (rows, units); y may be z. Comparisons are such that a NaN stays one.
inline void activate(Activation activation, const float* z, float* y, Index rows, Index units) {
    const Index n = rows * units;
    switch (activation) {
        case Activation::linear:
            if (y != z) std::copy(z, z + n, y);
            break;
        case Activation::relu: each(n, [=](Index k) { y[k] = z[k] < 0 ? 0 : z[k]; }); break;
        case Activation::tanh: each(n, [=](Index k) { y[k] = std::tanh(z[k]); }); break;
        case Activation::sigmoid: each(n, [=](Index k) { y[k] = sigmoid(z[k]); }); break;
        case Activation::softmax:
            for (Index b = 0; b < rows; ++b) softmax(z + b * units, y + b * units, units);
            break;
        case Activation::elu: each(n, [=](Index k) { y[k] = z[k] > 0 ? z[k] : std::expm1(z[k]); }); break;
        case Activation::selu:
            each(n, [=](Index k) { y[k] = selu_scale * (z[k] > 0 ? z[k] : selu_alpha * std::expm1(z[k])); });
            break;
        case Activation::gelu:
            each(n, [=](Index k) { y[k] = z[k] * 0.5f * (1 + std::erf(z[k] * float(M_SQRT1_2))); });
            break;
        case Activation::swish: each(n, [=](Index k) { y[k] = z[k] * sigmoid(z[k]); }); break;
        case Activation::softplus:
            each(n, [=](Index k) { y[k] = z[k] > softplus_linear ? z[k] : std::log1p(std::exp(z[k])); });
            break;
        case Activation::leaky_relu: each(n, [=](Index k) { y[k] = z[k] > 0 ? z[k] : leaky_slope * z[k]; }); break;
    }
}

// d, the gradient of y = activation(z), becomes that of z.
inline void activate_back(Activation activation, const float* __restrict z, const float* __restrict y,
                          float* __restrict d, Index rows, Index units) {
    const Index n = rows * units;
    switch (activation) {
        case Activation::linear: break;
        case Activation::relu: each(n, [=](Index k) { d[k] = y[k] <= 0 ? 0 : d[k]; }); break;
        case Activation::tanh: each(n, [=](Index k) { d[k] *= 1 - y[k] * y[k]; }); break;
        case Activation::sigmoid: each(n, [=](Index k) { d[k] *= y[k] * (1 - y[k]); }); break;
        case Activation::softmax:
            for (Index b = 0; b < rows; ++b, y += units, d += units) {
                const float mean = dot(y, d, units);
                each(units, [=](Index j) { d[j] = y[j] * (d[j] - mean); });
            }
            break;
        case Activation::elu: each(n, [=](Index k) { d[k] *= z[k] > 0 ? 1 : y[k] + 1; }); break;
        case Activation::selu:
            each(n, [=](Index k) { d[k] *= z[k] > 0 ? selu_scale : y[k] + selu_scale * selu_alpha; });
            break;
        case Activation::gelu:
            each(n, [=](Index k) {
                const float below = 0.5f * (1 + std::erf(z[k] * float(M_SQRT1_2)));
                const float density = std::exp(-0.5f * z[k] * z[k]) * float(M_SQRT1_2 * M_2_SQRTPI / 2);
                d[k] *= below + z[k] * density;
            });
            break;
        case Activation::swish:
            each(n, [=](Index k) {
                const float s = sigmoid(z[k]);
                d[k] *= s * (1 + z[k] * (1 - s));
            });
            break;
        case Activation::softplus:
            each(n, [=](Index k) { d[k] *= z[k] > softplus_linear ? 1 : sigmoid(z[k]); });
            break;
        case Activation::leaky_relu: each(n, [=](Index k) { d[k] *= z[k] > 0 ? 1 : leaky_slope; }); break;
    }
}
