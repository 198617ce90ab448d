// The updates of nnrun/training/optimizers.py.

#pragma once

#include <algorithm>
#include <cmath>

#include "job.h"

// One update of one replica: what is the same for all of its numbers.
struct Update {
    const OptimizerConfig& rule;
    float rate, eps, momentum, rho, fresh, fresh_1, kept_2, fresh_2, corrected, decayed, averaged;

    // `ema_decay`: the largest decay of the averages (nnrun/training/weight_averaging.py).
    Update(const OptimizerConfig& rule, double learning_rate, double step, double ema_decay = 1)
        : rule(rule), rate(learning_rate), eps(rule.epsilon), momentum(rule.momentum), rho(rule.rho),
          fresh(1 - rule.rho), fresh_1(1 - rule.beta_1), kept_2(rule.beta_2), fresh_2(1 - rule.beta_2),
          corrected(rule.beta_1 > 0 || rule.beta_2 > 0
                        ? learning_rate * std::sqrt(1 - std::pow(rule.beta_2, step)) /
                              (1 - std::pow(rule.beta_1, step))
                        : learning_rate),
          decayed(1 - learning_rate * rule.weight_decay),
          averaged(1 - std::min(ema_decay, (1 + step) / (10 + step))) {}

    // `count` numbers of a parameter, from `first` on, follow their gradient g.
    void operator()(const Parameter& parameter, Index first, const float* __restrict g, Index count) const {
        follow(parameter, first, g, count, [g](Index j) { return g[j] * g[j]; });
    }

    // The same with what stands for the squares of the gradient.
    void with_squares(const Parameter& parameter, Index first, const float* __restrict g,
                      const float* __restrict squares, Index count) const {
        follow(parameter, first, g, count, [squares](Index j) { return squares[j]; });
    }

  private:
    template <class Square>
    void follow(const Parameter& parameter, Index first, const float* __restrict g, Index count, Square square_of) const;
};

template <class Square>
inline void Update::follow(const Parameter& parameter, Index first, const float* __restrict g, Index count,
                           Square square_of) const {
    float* __restrict w = parameter.value + first;
    float* __restrict s0 = parameter.slots[0] ? parameter.slots[0] + first : nullptr;
    float* __restrict s1 = parameter.slots[1] ? parameter.slots[1] + first : nullptr;
    float* __restrict s2 = parameter.slots[2] ? parameter.slots[2] + first : nullptr;
    switch (rule.kind) {
        case Optimizer::rmsprop: {
            float* velocity = rule.centered ? s2 : s1;
            if (!rule.centered && momentum == 0) {
                for (Index j = 0; j < count; ++j) {
                    s0[j] = rho * s0[j] + fresh * square_of(j);
                    w[j] -= rate * g[j] / std::sqrt(s0[j] + eps);
                }
                break;
            }
            for (Index j = 0; j < count; ++j) {
                s0[j] = rho * s0[j] + fresh * square_of(j);
                float spread = s0[j];
                if (rule.centered) {
                    s1[j] = rho * s1[j] + fresh * g[j];
                    spread -= s1[j] * s1[j];
                    spread = spread < 0 ? 0 : spread;  // rounding may leave less than nothing
                }
                float move = rate * g[j] / std::sqrt(spread + eps);
                if (momentum > 0) move = velocity[j] = momentum * velocity[j] + move;
                w[j] -= move;
            }
            break;
        }
        case Optimizer::sgd:
            if (momentum == 0) {
                for (Index j = 0; j < count; ++j) w[j] -= rate * g[j];
            } else if (rule.nesterov) {
                for (Index j = 0; j < count; ++j) {
                    s0[j] = momentum * s0[j] - rate * g[j];
                    w[j] += momentum * s0[j] - rate * g[j];
                }
            } else {
                for (Index j = 0; j < count; ++j) w[j] += s0[j] = momentum * s0[j] - rate * g[j];
            }
            break;
        case Optimizer::adam:
        case Optimizer::adamw: {
            const float kept = parameter.decays ? decayed : 1;
            for (Index j = 0; j < count; ++j) {
                s0[j] += fresh_1 * (g[j] - s0[j]);
                s1[j] = kept_2 * s1[j] + fresh_2 * square_of(j);
                float square = s1[j];
                if (rule.amsgrad) square = s2[j] = s2[j] > square ? s2[j] : square;
                w[j] = kept * w[j] - corrected * s0[j] / (std::sqrt(square) + eps);
            }
            break;
        }
        case Optimizer::adagrad:
            for (Index j = 0; j < count; ++j) {
                s0[j] += square_of(j);
                w[j] -= rate * g[j] / std::sqrt(s0[j] + eps);
            }
            break;
    }
    if (!parameter.average) return;
    float* __restrict average = parameter.average + first;
    for (Index j = 0; j < count; ++j) average[j] += averaged * (w[j] - average[j]);
}
