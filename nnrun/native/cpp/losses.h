// The losses of nnrun/training/losses.py, each with its gradient.

#pragma once

#include "activations.h"

inline bool on_logits(Loss loss) { return loss <= Loss::sparse_categorical_crossentropy; }

inline float sign(float x) { return float(x > 0) - float(x < 0); }

// The loss of one row of K outputs y, which `activation` made of z. d becomes its gradient: of z for a
// cross-entropy, of y for the others. `t` are the targets, or `true_class` is the class.
inline float row_loss(const Job& job, Activation activation, const float* z, const float* y, const float* t,
                      Index true_class, float* d, Index K) {
    float sum = 0;
    switch (job.loss) {
        case Loss::binary_crossentropy:
            for (Index j = 0; j < K; ++j) {
                const float share = activation == Activation::sigmoid ? y[j] : sigmoid(z[j]);
                sum += (1 - t[j]) * z[j] + std::log1p(std::exp(-std::fabs(z[j]))) + (z[j] < 0 ? -z[j] : 0);
                d[j] = (share - t[j]) / K;
            }
            return sum / K;
        case Loss::categorical_crossentropy:
        case Loss::sparse_categorical_crossentropy: {
            if (activation == Activation::softmax) std::copy(y, y + K, d);
            else softmax(z, d, K);
            // The largest share is not too small for a logarithm. Differences of z come first: large ones are
            // exact, and their sum with a small logarithm would round it away.
            const Index most = std::max_element(z, z + K) - z;
            const float log_rest = -std::log(d[most]);
            if (job.loss == Loss::sparse_categorical_crossentropy) {
                d[true_class] -= 1;
                return z[most] - z[true_class] + log_rest;
            }
            float whole = 0;
            for (Index j = 0; j < K; ++j) whole += t[j], sum += t[j] * (z[most] - z[j] + log_rest);
            for (Index j = 0; j < K; ++j) d[j] = whole * d[j] - t[j];
            return sum;
        }
        case Loss::mse:
            for (Index j = 0; j < K; ++j) {
                const float off = y[j] - t[j];
                sum += off * off;
                d[j] = 2 * off / K;
            }
            return sum / K;
        case Loss::mae:
            for (Index j = 0; j < K; ++j) {
                sum += std::fabs(y[j] - t[j]);
                d[j] = sign(y[j] - t[j]) / K;
            }
            return sum / K;
        case Loss::huber:
            for (Index j = 0; j < K; ++j) {
                const float off = y[j] - t[j], size = std::fabs(off);
                sum += size < job.delta ? off * off / 2 : job.delta * (size - job.delta / 2);
                d[j] = (size < job.delta ? off : job.delta * sign(off)) / K;
            }
            return sum / K;
    }
    return sum;
}
