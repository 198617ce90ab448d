// Training steps of a stack of dense and dropout layers, replica by replica.
//
// What is computed is what nnrun/training/engine.py computes with PyTorch, in another order of summation: the
// losses are those of losses.py, the updates those of optimizers.py, the noise that of model/noise.py.
// A row of a kernel is updated as soon as its gradient is known, so that no gradient is kept.
// All matrices are row by row. B: rows of a batch, F: inputs of a layer, U: its units, K: outputs.
//
// Compiled without -ffast-math: that would let a NaN pass for a number, and change how the whole process
// rounds. nnrun/training/native.py holds the same structures and the same order of names.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

using Index = std::int64_t;

enum class Kind : std::int32_t { dense, dropout };

enum class Activation : std::int32_t {
    linear, relu, tanh, sigmoid, softmax, elu, selu, gelu, swish, softplus, leaky_relu
};

enum class Loss : std::int32_t {
    binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy, mse, mae, huber
};

enum class Optimizer : std::int32_t { rmsprop, sgd, adam, adamw, adagrad };

constexpr int most_slots = 3;

// A block of numbers that is trained, with what the optimizer keeps for each.
struct Parameter {
    float* value;
    float* slots[most_slots];
};

struct Layer {
    Index inputs, units;
    const std::int64_t* keys;  // dropout: of each replica
    Parameter kernel, bias;    // dense: of all replicas, one behind the other; a null bias for none
    Kind kind;
    Activation activation;
    float rate, scale;         // dropout
    float l1, l2;              // dense
};

// What the schema says of an optimizer; what it does not have is 0.
struct Rule {
    double learning_rate, rho, beta_1, beta_2, momentum, epsilon, weight_decay;
    Optimizer kind;
    std::int32_t centered, nesterov, amsgrad;
};

// Some steps of each of several replicas.
struct Job {
    Index steps, batch, layers;
    Index first_row;             // where in the epoch's order the first batch starts
    const Layer* layer;
    const Rule* rule;
    const float* inputs;         // (replicas, steps * batch, F)
    const float* targets;        // (replicas, steps * batch, K), or null
    const std::int64_t* classes; // (replicas, steps * batch), or null
    double* updates;             // (replicas,) made so far
    float* losses;               // (replicas, steps): the mean over a batch, and the penalty
    float* outputs;              // (replicas, steps * batch, K)
    Loss loss;
    float delta;                 // of huber
};

namespace {

// --- sums of products --------------------------------------------------------------------------------------

// y[j] += sum over k of a[k * a_step] * rows[k * step + j]. Four at a time, to load and store y less often.
inline void add_rows(float* __restrict y, Index n, const float* a, Index a_step, const float* __restrict rows,
                     Index step, Index count) {
    Index k = 0;
    for (; k + 4 <= count; k += 4) {
        const float a0 = a[k * a_step], a1 = a[(k + 1) * a_step];
        const float a2 = a[(k + 2) * a_step], a3 = a[(k + 3) * a_step];
        const float* __restrict r = rows + k * step;
        for (Index j = 0; j < n; ++j)
            y[j] += (a0 * r[j] + a1 * r[step + j]) + (a2 * r[2 * step + j] + a3 * r[3 * step + j]);
    }
    for (; k < count; ++k) {
        const float a0 = a[k * a_step];
        const float* __restrict r = rows + k * step;
        for (Index j = 0; j < n; ++j) y[j] += a0 * r[j];
    }
}

inline float dot(const float* __restrict a, const float* __restrict b, Index n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index j = 0; j < n; ++j) sum += a[j] * b[j];
    return sum;
}

// y[i] = sum over j of rows[i * n + j] * x[j] for `count` rows. Four at a time, so that none waits for another.
inline void dot_rows(float* __restrict y, const float* __restrict rows, Index count, const float* __restrict x,
                     Index n) {
    Index i = 0;
    for (; i + 4 <= count; i += 4) {
        const float* __restrict r = rows + i * n;
        float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
        for (Index j = 0; j < n; ++j) {
            s0 += r[j] * x[j];
            s1 += r[n + j] * x[j];
            s2 += r[2 * n + j] * x[j];
            s3 += r[3 * n + j] * x[j];
        }
        y[i] = s0, y[i + 1] = s1, y[i + 2] = s2, y[i + 3] = s3;
    }
    for (; i < count; ++i) y[i] = dot(rows + i * n, x, n);
}

// --- activations -------------------------------------------------------------------------------------------

constexpr float leaky_slope = 0.2f;
constexpr float selu_scale = 1.0507009873554804934193349852946f, selu_alpha = 1.6732632423543772848170429916717f;
constexpr float softplus_linear = 20;  // from where on softplus(z) is z, as in PyTorch

inline float sigmoid(float z) { return 1 / (1 + std::exp(-z)); }

void softmax(const float* z, float* y, Index n) {
    const float most = *std::max_element(z, z + n);
    float sum = 0;
    for (Index j = 0; j < n; ++j) sum += y[j] = std::exp(z[j] - most);
    for (Index j = 0; j < n; ++j) y[j] /= sum;
}

template <class F>
inline void each(Index n, F f) {
    for (Index k = 0; k < n; ++k) f(k);
}

// y = activation(z), both (rows, units). Comparisons are such that a NaN stays one.
void activate(Activation activation, const float* __restrict z, float* __restrict y, Index rows, Index units) {
    const Index n = rows * units;
    switch (activation) {
        case Activation::linear: std::copy(z, z + n, y); break;
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
void activate_back(Activation activation, const float* __restrict z, const float* __restrict y, float* __restrict d,
                   Index rows, Index units) {
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

// --- losses ------------------------------------------------------------------------------------------------

bool on_logits(Loss loss) { return loss <= Loss::sparse_categorical_crossentropy; }

inline float sign(float x) { return float(x > 0) - float(x < 0); }

// The loss of one row of K outputs. d becomes its gradient: of z for a cross-entropy, of y for the others.
// `t` are the targets, or `true_class` is the class.
float row_loss(const Job& job, const float* z, const float* y, const float* t, Index true_class, float* d, Index K) {
    float sum = 0;
    switch (job.loss) {
        case Loss::binary_crossentropy:
            for (Index j = 0; j < K; ++j) {
                sum += (1 - t[j]) * z[j] + std::log1p(std::exp(-std::fabs(z[j]))) + (z[j] < 0 ? -z[j] : 0);
                d[j] = (sigmoid(z[j]) - t[j]) / K;
            }
            return sum / K;
        case Loss::categorical_crossentropy:
        case Loss::sparse_categorical_crossentropy: {
            const float most = *std::max_element(z, z + K);
            float total = 0, whole = 0;
            for (Index j = 0; j < K; ++j) total += d[j] = std::exp(z[j] - most);
            const float log_total = std::log(total) + most;
            if (job.loss == Loss::sparse_categorical_crossentropy) {
                for (Index j = 0; j < K; ++j) d[j] /= total;
                d[true_class] -= 1;
                return log_total - z[true_class];
            }
            for (Index j = 0; j < K; ++j) whole += t[j], sum += t[j] * (log_total - z[j]);
            for (Index j = 0; j < K; ++j) d[j] = whole * d[j] / total - t[j];
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

// --- updates -----------------------------------------------------------------------------------------------

// `count` numbers of a parameter, from `first` on, follow their gradient g in update number `step`.
void update(const Rule& rule, double step, const Parameter& parameter, Index first, const float* __restrict g,
            Index count) {
    float* __restrict w = parameter.value + first;
    float* __restrict s0 = parameter.slots[0] ? parameter.slots[0] + first : nullptr;
    float* __restrict s1 = parameter.slots[1] ? parameter.slots[1] + first : nullptr;
    float* __restrict s2 = parameter.slots[2] ? parameter.slots[2] + first : nullptr;
    const float rate = rule.learning_rate, eps = rule.epsilon, momentum = rule.momentum;
    switch (rule.kind) {
        case Optimizer::rmsprop: {
            const float rho = rule.rho, fresh = 1 - rule.rho;
            float* velocity = rule.centered ? s2 : s1;
            if (!rule.centered && momentum == 0) {
                for (Index j = 0; j < count; ++j) {
                    s0[j] = rho * s0[j] + fresh * (g[j] * g[j]);
                    w[j] -= rate * g[j] / std::sqrt(s0[j] + eps);
                }
                break;
            }
            for (Index j = 0; j < count; ++j) {
                s0[j] = rho * s0[j] + fresh * (g[j] * g[j]);
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
            const float fresh = 1 - rule.beta_1, kept_2 = rule.beta_2, fresh_2 = 1 - rule.beta_2;
            const float corrected = rule.learning_rate * std::sqrt(1 - std::pow(rule.beta_2, step)) /
                                    (1 - std::pow(rule.beta_1, step));
            const float decayed = 1 - rule.learning_rate * rule.weight_decay;
            for (Index j = 0; j < count; ++j) {
                s0[j] += fresh * (g[j] - s0[j]);
                s1[j] = kept_2 * s1[j] + fresh_2 * (g[j] * g[j]);
                float square = s1[j];
                if (rule.amsgrad) square = s2[j] = s2[j] > square ? s2[j] : square;
                w[j] = decayed * w[j] - corrected * s0[j] / (std::sqrt(square) + eps);
            }
            break;
        }
        case Optimizer::adagrad:
            for (Index j = 0; j < count; ++j) {
                s0[j] += g[j] * g[j];
                w[j] -= rate * g[j] / std::sqrt(s0[j] + eps);
            }
            break;
    }
}

// --- dropout -----------------------------------------------------------------------------------------------

// A number in [0, 1): SplitMix64 of a key and a counter.
inline float uniform(std::uint64_t key, std::uint64_t counter) {
    std::uint64_t z = key + (counter + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return float(z >> 40) * 0x1p-24f;
}

// --- a step ------------------------------------------------------------------------------------------------

constexpr Index gradient_block = 1024;  // numbers of a gradient that are computed before they are used

class Replica {
  public:
    Replica(const Job& job, Index number)
        : job_(job), number_(number), layers_(job.layer, job.layer + job.layers), before_(job.layers),
          after_(job.layers) {
        Index widest = 0;
        for (Index l = 0; l < job.layers; ++l) {
            Layer& layer = layers_[l];
            move_to_own(layer.kernel, layer.inputs * layer.units);
            move_to_own(layer.bias, layer.units);
            before_[l].resize(job.batch * layer.units);
            after_[l].resize(job.batch * layer.units);
            widest = std::max(widest, layer.units);
        }
        gradient_.resize(std::max(gradient_block, widest));
        delta_.resize(job.batch * widest);
        below_.resize(job.batch * widest);
        while (layers_[first_dense_].kind != Kind::dense) ++first_dense_;
    }

    // The batch starts at row `first` of the job's rows. Returns its loss.
    float step(Index first) {
        const Index place = number_ * job_.steps * job_.batch + first;
        const float* x = job_.inputs + place * layers_.front().inputs;
        forward(x, job_.first_row + first);
        float loss = losses(place);
        for (const Layer& layer : layers_) loss += penalty(layer);
        updates_ = job_.updates[number_] += 1;
        backward(x);
        return loss;
    }

  private:
    void move_to_own(Parameter& parameter, Index size) const {
        if (parameter.value) parameter.value += number_ * size;
        for (float*& slot : parameter.slots)
            if (slot) slot += number_ * size;
    }

    void forward(const float* x, Index row) {
        for (std::size_t l = 0; l < layers_.size(); ++l) {
            const Layer& layer = layers_[l];
            float *z = before_[l].data(), *y = after_[l].data();
            if (layer.kind == Kind::dropout) {
                drop(layer, x, row, z, y);
            } else {
                linear(layer, x, z);
                activate(layer.activation, z, y, job_.batch, layer.units);
            }
            x = y;
        }
    }

    void drop(const Layer& layer, const float* x, Index row, float* factor, float* y) const {
        const Index first = row * layer.units;
        for (Index k = 0; k < job_.batch * layer.units; ++k) {
            factor[k] = uniform(layer.keys[number_], first + k) >= layer.rate ? layer.scale : 0;
            y[k] = x[k] * factor[k];
        }
    }

    // z = x @ kernel + bias
    void linear(const Layer& layer, const float* x, float* z) const {
        const Index F = layer.inputs, U = layer.units;
        const float* bias = layer.bias.value;
        for (Index b = 0; b < job_.batch; ++b, x += F, z += U) {
            if (bias) std::copy(bias, bias + U, z);
            else std::fill(z, z + U, 0);
            if (U == 1) *z += dot(x, layer.kernel.value, F);
            else add_rows(z, U, x, 1, layer.kernel.value, U, F);
        }
    }

    // The mean loss of the batch; delta_ becomes its gradient.
    float losses(Index place) {
        const Index K = layers_.back().units;
        const float *z = before_.back().data(), *y = after_.back().data();
        std::copy(y, y + job_.batch * K, job_.outputs + place * K);
        float sum = 0;
        for (Index b = 0; b < job_.batch; ++b) {
            const float* t = job_.targets ? job_.targets + (place + b) * K : nullptr;
            const Index true_class = job_.classes ? job_.classes[place + b] : 0;
            sum += row_loss(job_, z + b * K, y + b * K, t, true_class, &delta_[b * K], K);
        }
        for (Index k = 0; k < job_.batch * K; ++k) delta_[k] /= job_.batch;
        if (!on_logits(job_.loss)) activate_back(layers_.back().activation, z, y, delta_.data(), job_.batch, K);
        return sum / job_.batch;
    }

    static float penalty(const Layer& layer) {
        if (layer.l1 == 0 && layer.l2 == 0) return 0;
        const float* w = layer.kernel.value;
        float sizes = 0, squares = 0;
#pragma omp simd reduction(+ : sizes, squares)
        for (Index k = 0; k < layer.inputs * layer.units; ++k) {
            sizes += std::fabs(w[k]);
            squares += w[k] * w[k];
        }
        return layer.l1 * sizes + layer.l2 * squares;
    }

    // delta_ is the gradient of the last layer's values before its activation.
    void backward(const float* x) {
        for (std::size_t l = layers_.size(); l-- > first_dense_;) {
            const Layer& layer = layers_[l];
            if (layer.kind == Kind::dropout) {
                for (Index k = 0; k < job_.batch * layer.units; ++k) delta_[k] *= before_[l][k];
            } else {
                if (l + 1 < layers_.size())
                    activate_back(layer.activation, before_[l].data(), after_[l].data(), delta_.data(), job_.batch,
                                  layer.units);
                learn(layer, l > 0 ? after_[l - 1].data() : x, l > first_dense_);
            }
        }
    }

    // Update a dense layer with inputs x; delta_ becomes the gradient of x where that is wanted.
    void learn(const Layer& layer, const float* x, bool go_on) {
        const Index F = layer.inputs, U = layer.units, B = job_.batch;
        const Index rows_at_once = std::max<Index>(1, gradient_block / U);
        float* g = gradient_.data();
        for (Index first = 0; first < F; first += rows_at_once) {
            const Index last = std::min(F, first + rows_at_once), size = (last - first) * U;
            float* w = layer.kernel.value + first * U;
            if (go_on) gradient_of_inputs(w, first, last, F, U);
            std::fill(g, g + size, 0);
            if (U == 1) add_rows(g, last - first, delta_.data(), 1, x + first, F, B);
            else
                for (Index i = first; i < last; ++i) add_rows(g + (i - first) * U, U, x + i, F, delta_.data(), U, B);
            if (layer.l1 != 0 || layer.l2 != 0)
                for (Index k = 0; k < size; ++k) g[k] += layer.l1 * sign(w[k]) + 2 * layer.l2 * w[k];
            update(*job_.rule, updates_, layer.kernel, first * U, g, size);
        }
        if (layer.bias.value) {
            std::fill(g, g + U, 0);
            for (Index b = 0; b < B; ++b)
                for (Index j = 0; j < U; ++j) g[j] += delta_[b * U + j];
            update(*job_.rule, updates_, layer.bias, 0, g, U);
        }
        if (go_on) delta_.swap(below_);
    }

    // below_[b, i] = sum over j of w[i, j] * delta_[b, j] for inputs `first` to `last`
    void gradient_of_inputs(const float* w, Index first, Index last, Index F, Index U) {
        for (Index b = 0; b < job_.batch; ++b) {
            const float* d = &delta_[b * U];
            float* y = &below_[b * F];
            if (U == 1)
                for (Index i = first; i < last; ++i) y[i] = w[i - first] * *d;
            else
                dot_rows(y + first, w, last - first, d, U);
        }
    }

    const Job& job_;
    Index number_;
    double updates_ = 0;
    std::size_t first_dense_ = 0;
    std::vector<Layer> layers_;
    // Of each layer: values before the activation, or dropout's factors; what the layer gives.
    std::vector<std::vector<float>> before_, after_;
    std::vector<float> gradient_, delta_, below_;
};

}  // namespace

// All steps of one replica.
extern "C" void train(const Job* job, Index number) {
    Replica replica(*job, number);
    for (Index s = 0; s < job->steps; ++s) job->losses[number * job->steps + s] = replica.step(s * job->batch);
}
