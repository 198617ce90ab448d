// Training steps of a stack of dense and dropout layers, replica by replica, and its measurement.
//
// What is computed is what nnrun/training/backends/eager.py computes with PyTorch, in another order of
// summation: the losses are those of losses.py, the updates those of optimizers.py, the noise that of
// model/rng.py. A row of a kernel is updated as soon as its gradient is known, so that few gradients are kept.
//
// Compiled without -ffast-math: that would let a NaN pass for a number, and change how the whole process
// rounds.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <future>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "activations.h"
#include "job.h"
#include "losses.h"
#include "sparse.h"
#include "sums.h"
#include "updates.h"

namespace {

// A number in [0, 1): SplitMix64 of a key and a counter.
inline float uniform(std::uint64_t key, std::uint64_t counter) {
    std::uint64_t z = key + (counter + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return float(z >> 40) * 0x1p-24f;
}

constexpr Index gradient_block = 12288;  // numbers of a gradient that are computed before they are used: 48 KB
constexpr Index most_kept = 4096;       // powers of the idle decay that are computed once
constexpr Index worth_a_thread = 16384;  // numbers of a sparse batch that are worth filling it on another CPU
constexpr Index steps_between_looks = 8;  // at the clock: a small step takes not much longer than a look
constexpr Index few_rows = 4;           // below so many, products row by row are faster than in tiles

// Rows of a kernel of so many units whose gradient is computed at a time: whole tiles of them.
inline Index gradient_rows(Index units) { return std::max<Index>(1, gradient_block / units / tile_rows) * tile_rows; }

class Replica {
  public:
    // Number `number` of all replicas, and the one at `place` among those of the job's rows.
    Replica(const Job& job, Index number, Index place, bool training)
        : job_(job), number_(number), place_(place), training_(training), layers_(job.layer, job.layer + job.layers),
          before_(job.layers), after_(job.layers) {
        while (layers_[first_dense_].kind != Kind::dense) ++first_dense_;
        Index widest = 0;
        for (Index l = 0; l < job.layers; ++l) {
            Layer& layer = layers_[l];
            if (layer.seen) layer.seen += number * layer.inputs;
            move_to_own(layer.kernel, layer.inputs * layer.units);
            move_to_own(layer.bias, layer.units);
            if (sparse() && l < Index(first_dense_)) continue;
            before_[l].resize(job.batch * layer.units);
            after_[l].resize(job.batch * layer.units);
            widest = std::max(widest, layer.units);
        }
        gradient_.resize(std::max(gradient_block, tile_rows * widest));
        delta_.resize(job.batch * widest);
        if (!training) return;
        below_.resize(job.batch * widest);
        if (!sparse()) return;
        sums_.resize(first_dense().inputs, first_dense().units, first_dense().seen);
        if (first_dense().seen) finder_.emplace(first_dense().inputs);
    }

    // The batch starts at row `first` of the job's rows. Returns its loss.
    float step(Index first) {
        batch_ = job_.batch;
        const Index place = place_ * job_.count + first;
        forward(place, job_.first_row + first);
        const float loss = losses(place) / batch_ + penalty();
        for (Index k = 0; k < batch_ * layers_.back().units; ++k) delta_[k] /= batch_;
        if (!on_logits(job_.loss))
            activate_back(layers_.back().activation, before_.back().data(), after_.back().data(), delta_.data(),
                          batch_, layers_.back().units);
        backward(Update(*job_.optimizer, job_.rates[number_], job_.updates[number_] += 1));
        return loss;
    }

    // The mean loss over all of the job's rows.
    double measure() {
        double sum = 0;
        for (Index first = 0; first < job_.count; first += job_.batch) {
            batch_ = std::min(job_.batch, job_.count - first);
            const Index place = place_ * job_.count + first;
            forward(place, 0);
            sum += losses(place);
        }
        return sum / job_.count + penalty();
    }

  private:
    bool sparse() const { return job_.rows; }

    const Layer& first_dense() const { return layers_[first_dense_]; }

    void move_to_own(Parameter& parameter, Index size) const {
        if (parameter.value) parameter.value += number_ * size;
        for (float*& slot : parameter.slots)
            if (slot) slot += number_ * size;
    }

    // --- forward: `place` is the batch's first row among those of the job, `row` among those of the epoch ---

    void forward(Index place, Index row) {
        std::size_t l = 0;
        x_ = job_.inputs + place * layers_.front().inputs;
        if (sparse()) {
            take_batch(place, row);
            l = first_dense_;
        }
        const float* x = x_;
        for (; l < layers_.size(); ++l) {
            const Layer& layer = layers_[l];
            float *z = before_[l].data(), *y = after_[l].data();
            if (layer.kind == Kind::dropout) {
                drop(layer, x, row, z, y);
            } else {
                start_with_bias(layer, z);
                if (sparse() && l == first_dense_) add_sparse_product(layer, z);
                else add_dense_product(layer, x, z);
                activate(layer.activation, z, y, batch_, layer.units);
            }
            x = y;
        }
    }

    float factor(const Layer& layer, Index counter) const {
        return uniform(layer.keys[number_], counter) >= layer.rate ? layer.scale : 0;
    }

    void drop(const Layer& layer, const float* x, Index row, float* factors, float* y) const {
        const Index size = batch_ * layer.units;
        if (!training_) {
            std::copy(x, x + size, y);
            return;
        }
        for (Index k = 0; k < size; ++k) {
            factors[k] = factor(layer, row * layer.units + k);
            y[k] = x[k] * factors[k];
        }
    }

    // The present batch, and the next one begun where that is much work: it waits for no weights.
    void take_batch(Index place, Index row) {
        if (coming_.valid()) {
            coming_.get();
            std::swap(sparse_batch_, next_batch_);
        } else {
            fill(sparse_batch_, place, row);
        }
        const bool last = row + 2 * batch_ > job_.first_row + job_.count;
        if (last || Index(sparse_batch_.places.size()) < worth_a_thread || std::thread::hardware_concurrency() < 2)
            return;
        try {
            coming_ = std::async(std::launch::async, [=] { fill(next_batch_, place + batch_, row + batch_); });
        } catch (const std::system_error&) {
            // There are no threads to be had: the next batch is filled when its turn comes.
        }
    }

    // Sparse rows, with the dropout of the layers before the first dense one.
    void fill(SparseBatch& batch, Index place, Index row) {
        batch.rows.clear();
        Index size = 0;
        for (Index b = 0; b < batch_; ++b) {
            const Index number = job_.rows[place + b], start = job_.row_starts[number];
            const Index count = job_.row_starts[number + 1] - start;
            batch.rows.push_back({job_.columns + start, job_.values ? job_.values + start : nullptr, count});
            size += count;
        }
        if (training_ && first_dense_ > 0) {
            batch.dropped.resize(size);
            float* values = batch.dropped.data();
            for (Index b = 0; b < batch_; ++b) {
                SparseRow& of = batch.rows[b];
                for (Index k = 0; k < of.count; ++k) {
                    float value = of.values ? of.values[k] : 1;
                    for (std::size_t l = 0; l < first_dense_; ++l)
                        value *= factor(layers_[l], (row + b) * layers_[l].units + of.columns[k]);
                    values[k] = value;
                }
                of.values = values;
                values += of.count;
            }
        }
        if (finder_) finder_->find(batch);
    }

    void start_with_bias(const Layer& layer, float* z) const {
        const Index U = layer.units;
        if (!layer.bias.value) std::fill(z, z + batch_ * U, 0);
        else
            for (Index b = 0; b < batch_; ++b) std::copy(layer.bias.value, layer.bias.value + U, z + b * U);
    }

    void add_sparse_product(const Layer& layer, float* z) const {
        const Index U = layer.units;
        const float* kernel = layer.kernel.value;
        for (Index b = 0; b < batch_; ++b, z += U) {
            const SparseRow& row = sparse_batch_.rows[b];
            strips(U, [&, z](auto strip, Index j) { add_picked(strip, z + j, row, kernel + j, U); });
        }
    }

    void add_dense_product(const Layer& layer, const float* x, float* z) const {
        const Index F = layer.inputs, U = layer.units;
        const float* kernel = layer.kernel.value;
        if (U == 1) {
            for (Index b = 0; b < batch_; ++b) z[b] += dot(x + b * F, kernel, F);
        } else if (batch_ < few_rows) {
            for (Index b = 0; b < batch_; ++b) add_rows(z + b * U, U, x + b * F, 1, kernel, U, F);
        } else {
            add_product(z, batch_, U, x, F, 1, kernel, F);
        }
    }

    // --- losses -------------------------------------------------------------------------------------------

    // The sum over the batch; delta_ becomes the gradient of each row's loss.
    float losses(Index place) {
        const Index K = layers_.back().units;
        const float *z = before_.back().data(), *y = after_.back().data();
        std::copy(z, z + batch_ * K, job_.logits + place * K);
        float sum = 0;
        for (Index b = 0; b < batch_; ++b) {
            const float* t = job_.targets ? job_.targets + (place + b) * K : nullptr;
            const Index true_class = job_.classes ? job_.classes[place + b] : 0;
            float* d = &delta_[b * K];
            float loss = row_loss(job_, layers_.back().activation, z + b * K, y + b * K, t, true_class, d, K);
            if (job_.weights) {
                const float weight = job_.weights[place + b];
                loss *= weight;
                for (Index j = 0; j < K; ++j) d[j] *= weight;
            }
            sum += loss;
        }
        return sum;
    }

    float l1(const Layer& layer) const { return layer.l1 ? layer.l1[number_] : 0; }

    float l2(const Layer& layer) const { return layer.l2 ? layer.l2[number_] : 0; }

    float penalty() const {
        float sum = 0;
        for (const Layer& layer : layers_) {
            if (l1(layer) == 0 && l2(layer) == 0) continue;
            const float* w = layer.kernel.value;
            float sizes = 0, squares = 0;
#pragma omp simd reduction(+ : sizes, squares)
            for (Index k = 0; k < layer.inputs * layer.units; ++k) {
                sizes += std::fabs(w[k]);
                squares += w[k] * w[k];
            }
            sum += l1(layer) * sizes + l2(layer) * squares;
        }
        return sum;
    }

    // --- backward -----------------------------------------------------------------------------------------

    // delta_ is the gradient of the last layer's values before its activation.
    void backward(const Update& update) {
        for (std::size_t l = layers_.size(); l-- > first_dense_;) {
            const Layer& layer = layers_[l];
            if (layer.kind == Kind::dropout) {
                for (Index k = 0; k < batch_ * layer.units; ++k) delta_[k] *= before_[l][k];
                continue;
            }
            if (l + 1 < layers_.size())
                activate_back(layer.activation, before_[l].data(), after_[l].data(), delta_.data(), batch_,
                              layer.units);
            if (sparse() && l == first_dense_) learn_sparse(layer, update);
            else learn(layer, update, l > 0 ? after_[l - 1].data() : x_, l > first_dense_);
        }
    }

    // Update a dense layer with inputs x; delta_ becomes the gradient of x where that is wanted.
    void learn(const Layer& layer, const Update& update, const float* x, bool go_on) {
        const Index F = layer.inputs, U = layer.units, B = batch_;
        const Index rows_at_once = gradient_rows(U);
        float* g = gradient_.data();
        if (go_on) gradient_of_inputs(layer);
        for (Index first = 0; first < F; first += rows_at_once) {
            const Index last = std::min(F, first + rows_at_once), size = (last - first) * U;
            std::fill(g, g + size, 0);
            if (U == 1) add_rows(g, last - first, delta_.data(), 1, x + first, F, B);
            else if (B < few_rows)
                for (Index i = first; i < last; ++i) add_rows(g + (i - first) * U, U, x + i, F, delta_.data(), U, B);
            else add_product(g, last - first, U, x + first, 1, F, delta_.data(), B);
            regularize(layer, first * U, g, size);
            update(layer.kernel, first * U, g, size);
        }
        learn_bias(layer, update);
        if (go_on) delta_.swap(below_);
    }

    void learn_bias(const Layer& layer, const Update& update) {
        if (!layer.bias.value) return;
        const Index U = layer.units;
        float* g = gradient_.data();
        std::fill(g, g + U, 0);
        for (Index b = 0; b < batch_; ++b)
            for (Index j = 0; j < U; ++j) g[j] += delta_[b * U + j];
        update(layer.bias, 0, g, U);
    }

    // g is the gradient of `size` numbers of the kernel, from `first` on: add that of the penalty.
    void regularize(const Layer& layer, Index first, float* g, Index size) const {
        const float sizes = l1(layer), squares = 2 * l2(layer), *w = layer.kernel.value + first;
        if (sizes != 0 || squares != 0)
            for (Index k = 0; k < size; ++k) g[k] += sizes * sign(w[k]) + squares * w[k];
    }

    // below_[b, i] = sum over j of kernel[i, j] * delta_[b, j]
    void gradient_of_inputs(const Layer& layer) {
        const Index F = layer.inputs, U = layer.units;
        const float* w = layer.kernel.value;
        if (U > 1 && batch_ < few_rows) {
            for (Index b = 0; b < batch_; ++b) dot_rows(&below_[b * F], w, F, &delta_[b * U], U);
            return;
        }
        if (U > 1) {
            turned_.resize(F * U);
            transpose(turned_.data(), w, F, U);
            w = turned_.data();
        }
        std::fill(below_.begin(), below_.begin() + batch_ * F, 0);
        add_product(below_.data(), batch_, F, delta_.data(), U, 1, w, U);
    }

    void learn_sparse(const Layer& layer, const Update& update) {
        sums_.sum(sparse_batch_, delta_.data());
        if (layer.seen) {
            const std::vector<std::int32_t>& met = sparse_batch_.met;
            for (std::size_t place = 0; place < met.size(); ++place) {
                ask_for_row(layer, met[std::min(place + ahead, met.size() - 1)]);
                update_met_row(layer, update, met[place], sums_.at(place));
            }
        } else {
            const Index F = layer.inputs, U = layer.units, rows_at_once = gradient_rows(U);
            for (Index first = 0; first < F; first += rows_at_once) {
                const Index size = std::min(F - first, rows_at_once) * U;
                float* g = sums_.at(first);
                regularize(layer, first * U, g, size);
                update(layer.kernel, first * U, g, size);
                std::fill(g, g + size, 0);
            }
        }
        learn_bias(layer, update);
    }

    static void ask_for_row(const Layer& layer, Index row) {
        __builtin_prefetch(layer.seen + row);
        for (Index j = 0; j < layer.units; j += 16) {
            __builtin_prefetch(layer.kernel.value + row * layer.units + j);
            if (layer.kernel.slots[0]) __builtin_prefetch(layer.kernel.slots[0] + row * layer.units + j);
        }
    }

    // A row that waited is first brought to where updates without a gradient would have led it.
    void update_met_row(const Layer& layer, const Update& update, Index row, const float* g) {
        const Index U = layer.units;
        const float now = job_.updates[number_];
        const Index waited = now - layer.seen[row] - 1;
        if (job_.optimizer->idle_decay != 1) {
            const float kept = kept_after(waited);
            for (float* slot : layer.kernel.slots)
                if (slot)
                    for (Index j = 0; j < U; ++j) slot[row * U + j] *= kept;
        }
        update(layer.kernel, row * U, g, U);
        layer.seen[row] = now;
    }

    float kept_after(Index waited) {
        if (waited >= Index(kept_.size())) {
            if (waited >= most_kept) return std::pow(job_.optimizer->idle_decay, double(waited));
            for (Index k = kept_.size(); k <= waited; ++k) kept_.push_back(std::pow(job_.optimizer->idle_decay, double(k)));
        }
        return kept_[waited];
    }

    const Job& job_;
    const Index number_, place_;
    const bool training_;
    Index batch_ = 0;  // rows of the present batch
    const float* x_ = nullptr;
    std::size_t first_dense_ = 0;
    std::vector<Layer> layers_;
    // Of each layer: values before the activation, or dropout's factors; what the layer gives.
    std::vector<std::vector<float>> before_, after_;
    std::vector<float> gradient_, delta_, below_, turned_;
    std::vector<float> kept_;  // what is left of a slot after so many updates without a gradient
    SparseBatch sparse_batch_, next_batch_;
    std::optional<Finder> finder_;  // where rows of the kernel wait for their updates
    KernelGradient sums_;
    std::future<void> coming_;  // next_batch_ being filled; the last member, since it uses the others to its end
};

}  // namespace

// Steps of one replica, from number `first` on, until all are made or `seconds` have passed: Python answers no
// signal meanwhile. Returns the number of the step to go on with; where it stops changes no number.
extern "C" Index train(const Job* job, Index number, Index first, double seconds) {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    Replica replica(*job, number, number, true);
    const Index steps = job->count / job->batch;
    Index s = first;
    while (s < steps) {
        job->losses[number * steps + s] = replica.step(s * job->batch);
        if (++s % steps_between_looks == 0 && Clock::now() >= end) break;
    }
    return s;
}

// The mean loss of one replica over the job's rows; fills in its logits.
extern "C" double measure(const Job* job, Index number, Index place) {
    return Replica(*job, number, place, false).measure();
}
