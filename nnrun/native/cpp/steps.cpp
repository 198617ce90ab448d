// Training steps of a stack of dense and dropout layers, replica by replica, and its measurement. An embedding whose
// vectors are averaged may be the first of them.
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
#include "tasks.h"
#include "updates.h"
#include "words.h"

namespace {

// A number in [0, 1): SplitMix64 of a key and a counter.
inline float uniform(std::uint64_t key, std::uint64_t counter) {
    std::uint64_t z = key + (counter + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return float(z >> 40) * 0x1p-24f;
}

constexpr Index gradient_block = 65536;  // numbers of a gradient that are computed before they are used: 256 KB
constexpr Index small_kernels = 2 * gradient_block;  // numbers of all kernels whose gradients stay in the caches
constexpr Index most_kept = 4096;       // powers of the idle decay that are computed once
constexpr Index worth_a_thread = 16384;  // numbers of a sparse batch that are worth filling it on another CPU
constexpr Index steps_between_looks = 8;  // at the clock: a small step takes not much longer than a look
constexpr Index worth_a_look = 100000;    // products of a step beside which a look takes no time
constexpr Index worth_a_crew = 20000000;  // products of a step that are worth waking up threads twice: about 1 ms
constexpr Index batches_of_a_task = 8;    // of rows to measure: worth more than what a network's buffers cost
constexpr Index columns_at_once = 64;     // whose sums over a batch fit the first cache
constexpr Index few_rows = 4;           // below so many, products row by row are faster than in tiles
constexpr Index part_rows = packed_rows;  // of a batch that go through all layers together, and stay in the caches:
                                          // as many as a product takes at once where it adds them to a gradient
constexpr Index ahead_rows = 2;         // a row of the data is asked for so many rows before it is copied

// Rows of a kernel of so many units whose gradient is computed at a time: whole tiles of them.
inline Index gradient_rows(Index units) { return std::max<Index>(1, gradient_block / units / tile_rows) * tile_rows; }

// About half of an even share, so that no thread waits long for the last: whole tiles.
inline Index rows_to_share(Index rows, Index threads) {
    return std::max<Index>(4, rows / (2 * threads) / tile_rows + 1) * tile_rows;
}

// Some rows of a batch.
struct Rows {
    Index first, count;
};

// Some rows of a dense layer's kernel, and where their numbers begin in the gradients of all blocks.
struct Block {
    std::size_t layer;
    Index first, last, place;
};

class Replica {
  public:
    // Number `number` of all replicas, and the one at `place` among those of the job's rows.
    Replica(const Job& job, Index number, Index place, bool training, Index threads = 1)
        : job_(job), number_(number), place_(place), training_(training), layers_(job.layer, job.layer + job.layers),
          rows_at_once_(std::min(part_rows, threads == 1 ? job.batch : rows_to_share(job.batch, threads))),
          after_(job.layers), deltas_(job.layers), turned_(job.layers), packed_(job.layers), packed_turned_(job.layers),
          bias_sums_(job.layers), row_losses_(job.batch) {
        while (layers_[lowest_].kind == Kind::dropout) ++lowest_;
        Index kernels = 0, widest = 0;
        for (Layer& layer : layers_) {
            if (layer.seen) layer.seen += number * layer.inputs;
            move_to_own(layer.kernel, layer.inputs * layer.units);
            move_to_own(layer.bias, layer.units);
            if (layer.kind == Kind::dense) kernels += layer.inputs * layer.units;
            widest = std::max(widest, layer.units);
        }
        part_by_part_ = threads == 1 && !sparse() && (!training || kernels <= small_kernels);
        const Index kept_rows = part_by_part_ ? rows_at_once_ : job.batch;
        for (std::size_t l = sparse() ? lowest_ : 0; l < layers_.size(); ++l) {
            after_[l] = Buffer(kept_rows * layers_[l].units);
            if (training || l + 1 == layers_.size()) deltas_[l] = Buffer(kept_rows * layers_[l].units);
        }
        if (!sparse()) x_ = Buffer(kept_rows * layers_.front().inputs);
        for (Index k = 0; k < threads; ++k) before_.push_back(buffers_before());
        make_room_for_copies();
        if (!training) {
            prepare_kernels();  // which stay as they are
            return;
        }
        cut_into_blocks(threads);
        const Index numbers = part_by_part_ ? kernels : std::max(gradient_block, tile_rows * widest);
        for (Index k = 0; k < threads; ++k) gradients_.emplace_back(std::max(numbers, widest));
        if (!sparse()) return;
        if (job_.words) {
            table_.resize(lowest().inputs, lowest().units, lowest().place_squares);
            return;
        }
        sums_.resize(lowest().inputs, lowest().units, lowest().seen);
        if (lowest().seen) finder_.emplace(lowest().inputs);
    }

    // The batch starts at row `first` of the job's rows. Returns its loss. First every row goes forward and back
    // through all layers, then every block of a kernel follows its gradient: so two meetings of the threads do.
    // Where they are small, gradients grow part by part instead, of numbers that are in the caches still. That does
    // not change the order in which a gradient is summed.
    float step(Index first, Crew& crew) {
        batch_ = job_.batch;
        const Index place = place_ * job_.count + first, row = job_.first_row + first;
        if (sparse()) take_batch(place, row);
        prepare_kernels();
        crew.run(parts(), [&](Index k, Index thread) {
            const Rows rows = part(k);
            forward(rows, place, row, before_[thread]);
            losses(rows, place, before_[thread]);
            backward(rows, before_[thread]);
            if (part_by_part_)
                for (const Block& block : blocks_) add_gradient(block, rows, gradients_[0].data() + block.place);
        });
        const float loss = float(sum_of_losses() / batch_) + penalty();
        const double number_of_step = job_.updates[number_] += 1;
        const double ema_decay = job_.ema_decays ? job_.ema_decays[number_] : 1;
        const Update update(*job_.optimizer, job_.rates[number_], number_of_step, ema_decay);
        if (job_.words) learn_table(lowest(), update);
        else if (sparse()) learn_sparse(lowest(), update);
        crew.run(blocks_.size(), [&](Index k, Index thread) {
            float* g = gradients_[thread].data() + (part_by_part_ ? blocks_[k].place : 0);
            if (!part_by_part_) add_gradient(blocks_[k], {0, batch_}, g);
            learn(blocks_[k], update, g);
        });
        return loss;
    }

    // The sum of the losses of `count` of the job's rows.
    double measure(Index first, Index count) {
        batch_ = count;
        const Index place = place_ * job_.count + first;
        if (sparse()) take_batch(place, 0);
        for (Index k = 0; k < parts(); ++k) {
            forward(part(k), place, 0, before_[0]);
            losses(part(k), place, before_[0]);
        }
        return sum_of_losses();
    }

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

  private:
    // Of each layer what is needed within a part of the batch alone: the values before the activation, or dropout's
    // factors.
    using Before = std::vector<Buffer>;

    // Whether the lowest kernel is multiplied with columns, of which a row has some, or picked from by words.
    bool sparse() const { return job_.row_starts || job_.words; }

    // The first layer that has a kernel.
    const Layer& lowest() const { return layers_[lowest_]; }

    void move_to_own(Parameter& parameter, Index size) const {
        if (parameter.value) parameter.value += number_ * size;
        if (parameter.average) parameter.average += number_ * size;
        for (float*& slot : parameter.slots)
            if (slot) slot += number_ * size;
    }

    Before buffers_before() const {
        Before before;
        for (std::size_t l = 0; l < layers_.size(); ++l)
            before.emplace_back(keeps_before(l) ? rows_at_once_ * layers_[l].units : 0);
        return before;
    }

    // Whether the values before the activation stay beside those after it, which else take their place.
    bool keeps_before(std::size_t l) const {
        if (sparse() && l < lowest_) return false;
        const bool last = l + 1 == layers_.size();
        return last || layers_[l].kind == Kind::dropout || !needs_outputs_alone(layers_[l].activation);
    }

    // Kernels that several parts of a batch, or several batches, are multiplied with are copied once for all of them.
    void make_room_for_copies() {
        if (training_ && parts_of(job_.batch) == 1) return;
        for (std::size_t l = lowest_; l < layers_.size(); ++l) {
            const Index F = layers_[l].inputs, U = layers_[l].units;
            if (layers_[l].kind != Kind::dense || U == 1 || (sparse() && l == lowest_)) continue;
            if (packs(rows_at_once_, U, F)) packed_[l] = Buffer(packed_size(U, F));
            if (training_ && l > lowest_ && packs(rows_at_once_, F, U))
                packed_turned_[l] = Buffer(packed_size(F, U));
        }
    }

    void cut_into_blocks(Index threads) {
        Index place = 0;
        for (std::size_t l = lowest_; l < layers_.size(); ++l) {
            const Layer& layer = layers_[l];
            if (layer.kind != Kind::dense) continue;
            bias_sums_[l].resize(layer.units);
            if (sparse() && l == lowest_) continue;
            if (l > lowest_ && layer.units > 1) turned_[l] = Buffer(layer.inputs * layer.units);
            Index rows_at_once = gradient_rows(layer.units);
            if (threads > 1) rows_at_once = std::min(rows_at_once, rows_to_share(layer.inputs, threads));
            for (Index first = 0; first < layer.inputs; first += rows_at_once) {
                const Index last = std::min(layer.inputs, first + rows_at_once);
                blocks_.push_back({l, first, last, place});
                place += (last - first) * layer.units;
            }
        }
    }

    Index parts_of(Index rows) const { return (rows + rows_at_once_ - 1) / rows_at_once_; }

    Index parts() const { return parts_of(batch_); }

    Rows part(Index k) const { return {k * rows_at_once_, std::min(rows_at_once_, batch_ - k * rows_at_once_)}; }

    // Where the part begins in the buffers.
    Index kept(Rows part) const { return part_by_part_ ? 0 : part.first; }

    // --- forward: `place` is the batch's first row among those of the job, `row` among those of the epoch ---

    void forward(Rows part, Index place, Index row, Before& before) {
        if (!sparse()) take_rows(part, place);
        for (std::size_t l = sparse() ? lowest_ : 0; l < layers_.size(); ++l) {
            const Layer& layer = layers_[l];
            const float* x = below(l) + kept(part) * layer.inputs;
            float* y = after_[l].data() + kept(part) * layer.units;
            float* z = keeps_before(l) ? before[l].data() : y;
            if (layer.kind == Kind::dropout) {
                drop(layer, x, row + part.first, z, y, part.count);
                continue;
            }
            if (sparse() && l == lowest_) job_.words ? means(layer, part, z) : sparse_product(layer, part, z);
            else dense_product(l, x, z, part.count);
            activate(layer.activation, z, y, part.count, layer.units);
        }
    }

    // What layer l gets, of all rows that are kept; null for sparse rows.
    const float* below(std::size_t l) const { return l == 0 ? x_.data() : after_[l - 1].data(); }

    // Copy dense rows of the data, which lie anywhere in memory, side by side.
    void take_rows(Rows part, Index place) {
        const Index F = layers_.front().inputs;
        const std::int64_t* numbers = job_.rows + place + part.first;
        float* x = x_.data() + kept(part) * F;
        for (Index b = 0; b < part.count; ++b, x += F) {
            const Index coming = numbers[std::min(b + ahead_rows, part.count - 1)];
            if (job_.inputs) {
                for (Index j = 0; j < F; j += 16) __builtin_prefetch(job_.inputs + coming * F + j);
                std::copy_n(job_.inputs + numbers[b] * F, F, x);
            } else {
                for (Index j = 0; j < F; j += 64) __builtin_prefetch(job_.bytes + coming * F + j);
                look_up(job_.bytes + numbers[b] * F, x, F);
            }
        }
    }

    // What the bytes of a row become.
    void look_up(const std::uint8_t* row, float* x, Index F) const {
        const Index columns = job_.byte_columns;
        const float* values = job_.byte_values + (job_.own_byte_values ? place_ * columns * 256 : 0);
        if (columns == 1)
            for (Index j = 0; j < F; ++j) x[j] = values[row[j]];
        else
            for (Index j = 0; j < F; j += columns)
                for (Index c = 0; c < columns; ++c) x[j + c] = values[c * 256 + row[j + c]];
    }

    float factor(const Layer& layer, Index counter) const {
        return uniform(layer.keys[number_], counter) >= layer.rate ? layer.scale : 0;
    }

    void drop(const Layer& layer, const float* x, Index row, float* factors, float* y, Index rows) const {
        const Index size = rows * layer.units;
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
        if (job_.words) {
            for (Index b = 0; b < batch_; ++b)
                batch.rows.push_back({job_.words + job_.rows[place + b] * job_.places, nullptr, job_.places});
            return;
        }
        Index size = 0;
        for (Index b = 0; b < batch_; ++b) {
            const Index number = job_.rows[place + b], start = job_.row_starts[number];
            const Index count = job_.row_starts[number + 1] - start;
            batch.rows.push_back({job_.columns + start, job_.values ? job_.values + start : nullptr, count});
            size += count;
        }
        if (training_ && lowest_ > 0) {
            batch.dropped.resize(size);
            float* values = batch.dropped.data();
            for (Index b = 0; b < batch_; ++b) {
                SparseRow& of = batch.rows[b];
                for (Index k = 0; k < of.count; ++k) {
                    float value = of.values ? of.values[k] : 1;
                    for (std::size_t l = 0; l < lowest_; ++l)
                        value *= factor(layers_[l], (row + b) * layers_[l].units + of.columns[k]);
                    values[k] = value;
                }
                of.values = values;
                values += of.count;
            }
        }
        if (finder_) finder_->find(batch);
    }

    void sparse_product(const Layer& layer, Rows part, float* z) const {
        const Index U = layer.units;
        const float* kernel = layer.kernel.value;
        start_with_bias(layer, z, part.count);
        for (Index b = part.first; b < part.first + part.count; ++b, z += U) {
            const SparseRow& row = sparse_batch_.rows[b];
            strips(U, [&, z](auto strip, Index j) { add_picked(strip, z + j, row, kernel + j, U); });
        }
    }

    // Of each row the mean of its words' vectors.
    void means(const Layer& layer, Rows part, float* y) {
        const Index D = layer.units;
        for (Index b = part.first; b < part.first + part.count; ++b, y += D) {
            const SparseRow& row = sparse_batch_.rows[b];
            const std::uint8_t* counts = counting(layer, row);
            strips(D, [&, y](auto strip, Index j) {
                mean_of_row(strip, y + j, layer.kernel.value + j, D, row.columns, counts, row.count);
            });
        }
    }

    // Which places of a row of words count; null where all do.
    const std::uint8_t* counting(const Layer& layer, const SparseRow& row) {
        if (!layer.mask_zero) return nullptr;
        counts_.resize(row.count);
        for (Index t = 0; t < row.count; ++t) counts_[t] = row.columns[t] != 0;
        return counts_.data();
    }

    // How it is summed follows from the batch, never from how many of its rows are here.
    void dense_product(std::size_t l, const float* x, float* z, Index rows) const {
        const Layer& layer = layers_[l];
        const Index F = layer.inputs, U = layer.units;
        const float *kernel = layer.kernel.value, *bias = layer.bias.value;
        if (U == 1) {
            for (Index b = 0; b < rows; ++b) z[b] = (bias ? *bias : 0) + dot(x + b * F, kernel, F);
        } else if (batch_ < few_rows) {
            start_with_bias(layer, z, rows);
            for (Index b = 0; b < rows; ++b) add_rows(z + b * U, U, x + b * F, 1, kernel, U, F);
        } else if (packed_[l].data()) {
            product_of_packed(z, rows, U, same_row(bias), x, F, 1, packed_[l].data(), F);
        } else {
            product(z, rows, U, same_row(bias), x, F, 1, kernel, F);
        }
    }

    void start_with_bias(const Layer& layer, float* z, Index rows) const {
        const Index U = layer.units;
        if (!layer.bias.value) std::fill(z, z + rows * U, 0);
        else
            for (Index b = 0; b < rows; ++b) std::copy(layer.bias.value, layer.bias.value + U, z + b * U);
    }

    // --- losses -------------------------------------------------------------------------------------------

    // The loss of each row, and its part in the gradient of the batch's mean, of the values before the last
    // activation.
    void losses(Rows part, Index place, const Before& before) {
        const Layer& last = layers_.back();
        const Index K = last.units, size = part.count * K;
        const float *z = before.back().data(), *y = after_.back().data() + kept(part) * K;
        float* d = deltas_.back().data() + kept(part) * K;
        std::copy(z, z + size, job_.logits + (place + part.first) * K);
        for (Index b = 0; b < part.count; ++b) {
            const Index row = place + part.first + b;
            const float* t = job_.targets ? job_.targets + row * K : nullptr;
            const Index true_class = job_.classes ? job_.classes[row] : 0;
            float loss = row_loss(job_, last.activation, z + b * K, y + b * K, t, true_class, d + b * K, K);
            if (job_.weights) {
                const float weight = job_.weights[row];
                loss *= weight;
                for (Index j = 0; j < K; ++j) d[b * K + j] *= weight;
            }
            row_losses_[part.first + b] = loss;
        }
        if (!training_) return;
        for (Index k = 0; k < size; ++k) d[k] /= batch_;
        if (!on_logits(job_.loss)) activate_back(last.activation, z, y, d, part.count, K);
    }

    double sum_of_losses() const {
        double sum = 0;
        for (Index b = 0; b < batch_; ++b) sum += row_losses_[b];
        return sum;
    }

    float l1(const Layer& layer) const { return layer.l1 ? layer.l1[number_] : 0; }

    float l2(const Layer& layer) const { return layer.l2 ? layer.l2[number_] : 0; }

    // --- backward -----------------------------------------------------------------------------------------

    // deltas_ become the gradients of the values before each activation.
    void backward(Rows part, const Before& before) {
        for (std::size_t l = layers_.size(); l-- > lowest_;) {
            const Layer& layer = layers_[l];
            const Index skipped = kept(part) * layer.units, size = part.count * layer.units;
            float* d = deltas_[l].data() + skipped;
            const float *z = before[l].data(), *y = after_[l].data() + skipped;  // of dropout z are its factors
            float* d_below = l > lowest_ ? deltas_[l - 1].data() + kept(part) * layer.inputs : nullptr;
            if (layer.kind == Kind::dropout) {
                for (Index k = 0; k < size; ++k) d_below[k] = d[k] * z[k];
                continue;
            }
            if (l + 1 < layers_.size()) activate_back(layer.activation, z, y, d, part.count, layer.units);
            if (d_below) gradient_of_inputs(l, d, d_below, part.count);
        }
    }

    // Add to g what some rows of the batch contribute to the gradient of a block, with the first of all rows set it.
    // With the first block of a kernel the bias gets its share.
    void add_gradient(const Block& block, Rows part, float* g) {
        const Layer& layer = layers_[block.layer];
        const Index F = layer.inputs, U = layer.units, rows = block.last - block.first;
        const float* x = below(block.layer) + kept(part) * F + block.first;
        const float* d = deltas_[block.layer].data() + kept(part) * U;
        if (block.first == 0) add_to_bias(block.layer, part);
        if (U > 1 && batch_ >= few_rows) {
            product(g, rows, U, part.first == 0 ? same_row(nullptr) : Start{g, U, 1}, x, 1, F, d, part.count);
            return;
        }
        if (part.first == 0) std::fill(g, g + rows * U, 0);
        if (U == 1) add_rows(g, rows, d, 1, x, F, part.count);
        else
            for (Index i = 0; i < rows; ++i) add_rows(g + i * U, U, x + i, F, d, U, part.count);
    }

    // Update a block of a dense layer's kernel, and with the first of them its bias.
    void learn(const Block& block, const Update& update, float* g) const {
        const Layer& layer = layers_[block.layer];
        const Index first = block.first * layer.units, size = (block.last - block.first) * layer.units;
        regularize(layer, first, g, size);
        update(layer.kernel, first, g, size);
        if (block.first == 0) learn_bias(block.layer, update, g);
    }

    // The gradient of a bias is summed in double, as the losses are: many float32 numbers of one sign lose more and
    // more to a growing sum.
    void add_to_bias(std::size_t l, Rows part) {
        const Index U = layers_[l].units;
        std::vector<double>& sums = bias_sums_[l];
        if (part.first == 0) std::fill(sums.begin(), sums.end(), 0);
        const float* d = deltas_[l].data() + kept(part) * U;
        for (Index j = 0; j < U; j += columns_at_once)
            add_columns(&sums[j], d + j, std::min(columns_at_once, U - j), part.count, U);
    }

    // sum[j] += the sum of d[b, j] over some rows, of which each has `step` numbers.
    static void add_columns(double* sum, const float* d, Index columns, Index rows, Index step) {
        double own[columns_at_once] = {};
        std::copy(sum, sum + columns, own);
        for (Index b = 0; b < rows; ++b)
            for (Index j = 0; j < columns; ++j) own[j] += d[b * step + j];
        std::copy(own, own + columns, sum);
    }

    // `g` is room for its gradient.
    void learn_bias(std::size_t l, const Update& update, float* g) const {
        const Layer& layer = layers_[l];
        if (!layer.bias.value) return;
        std::copy(bias_sums_[l].begin(), bias_sums_[l].end(), g);
        update(layer.bias, 0, g, layer.units);
    }

    // g is the gradient of `size` numbers of the kernel, from `first` on: add that of the penalty.
    void regularize(const Layer& layer, Index first, float* g, Index size) const {
        const float sizes = l1(layer), squares = 2 * l2(layer), *w = layer.kernel.value + first;
        if (sizes != 0 || squares != 0)
            for (Index k = 0; k < size; ++k) g[k] += sizes * sign(w[k]) + squares * w[k];
    }

    // Copies of the kernels as products read them: turned to (U, F), where gradients go back through them.
    void prepare_kernels() {
        for (std::size_t l = lowest_; l < layers_.size(); ++l) {
            const Layer& layer = layers_[l];
            const Index F = layer.inputs, U = layer.units;
            if (packed_[l].data()) pack_all(packed_[l].data(), layer.kernel.value, U, F);
            if (!turned_[l].data() || job_.batch < few_rows) continue;
            transpose(turned_[l].data(), layer.kernel.value, F, U);
            if (packed_turned_[l].data()) pack_all(packed_turned_[l].data(), turned_[l].data(), F, U);
        }
    }

    // below[b, i] = sum over j of kernel[i, j] * d[b, j]
    void gradient_of_inputs(std::size_t l, const float* d, float* below, Index rows) const {
        const Index F = layers_[l].inputs, U = layers_[l].units;
        const float* w = layers_[l].kernel.value;
        if (U > 1 && batch_ < few_rows) {
            for (Index b = 0; b < rows; ++b) dot_rows(below + b * F, w, F, d + b * U, U);
            return;
        }
        if (packed_turned_[l].data())
            product_of_packed(below, rows, F, same_row(nullptr), d, U, 1, packed_turned_[l].data(), U);
        else product(below, rows, F, same_row(nullptr), d, U, 1, U > 1 ? turned_[l].data() : w, U);
    }

    void learn_table(const Layer& layer, const Update& update) {
        const Index V = layer.inputs, D = layer.units, rows_at_once = gradient_rows(D);
        for (Index b = 0; b < batch_; ++b) {
            const SparseRow& row = sparse_batch_.rows[b];
            table_.add(deltas_[lowest_].data() + b * D, row.columns, counting(layer, row), row.count);
        }
        for (Index first = 0; first < V; first += rows_at_once) {
            const Index rows = std::min(V - first, rows_at_once);
            const float *g = table_.at(first), *squares = table_.squares_at(first);
            if (squares) update.with_squares(layer.kernel, first * D, g, squares, rows * D);
            else update(layer.kernel, first * D, g, rows * D);
            table_.clear(first, rows);
        }
    }

    void learn_sparse(const Layer& layer, const Update& update) {
        sums_.sum(sparse_batch_, deltas_[lowest_].data());
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
        add_to_bias(lowest_, {0, batch_});
        learn_bias(lowest_, update, gradients_[0].data());
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
    std::size_t lowest_ = 0;
    std::vector<Layer> layers_;
    Index rows_at_once_;  // of a batch, forward and back
    bool part_by_part_;   // whether only so many rows are kept, and gradients grow with them
    Buffer x_;            // dense rows that are kept: all of the batch, or those of a part
    // Of each layer: what it gives for these rows; the gradient of their values before its activation; the kernel,
    // turned; both kernels as `product_of_packed` reads them, where that pays.
    std::vector<Buffer> after_, deltas_, turned_, packed_, packed_turned_;
    std::vector<std::vector<double>> bias_sums_;  // of each dense layer: the gradient of its bias
    std::vector<Before> before_;                  // of each thread
    std::vector<float> row_losses_;
    std::vector<Block> blocks_;      // of the kernels of dense rows
    std::vector<Buffer> gradients_;  // of each thread: the gradient of a block; part by part: those of all blocks
    std::vector<float> kept_;  // what is left of a slot after so many updates without a gradient
    SparseBatch sparse_batch_, next_batch_;
    std::optional<Finder> finder_;  // where rows of the kernel wait for their updates
    KernelGradient sums_;
    TableGradient table_;
    std::vector<std::uint8_t> counts_;  // of one row of words
    std::future<void> coming_;  // next_batch_ being filled; the last member, since it uses the others to its end
};

}  // namespace

// Products of a step of one network, forward.
inline Index products(const Job& job) {
    Index sum = 0;
    for (Index l = 0; l < job.layers; ++l)
        if (job.layer[l].kind == Kind::dense) sum += job.layer[l].inputs * job.layer[l].units;
        else if (job.layer[l].kind == Kind::embedding) sum += job.places * job.layer[l].units;
    return sum * job.batch;
}

// Steps of every replica until all are made or `seconds` have passed: Python answers no signal meanwhile. made[r] is
// how many steps replica r has made; where it stops changes no number, and neither does the number of threads.
// Several replicas are shared out among the threads; of a single one its steps are, if they are large and its rows
// dense.
extern "C" void train(const Job* job, Index replicas, Index* made, double seconds, Index threads) {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    const Index steps = job->count / job->batch;
    const Index between = products(*job) < worth_a_look ? steps_between_looks : 1;
    const bool shared = replicas == 1 && !job->row_starts && !job->words && products(*job) >= worth_a_crew;
    std::vector<Index> order(replicas);  // who is behind goes first
    for (Index r = 0; r < replicas; ++r) order[r] = r;
    std::stable_sort(order.begin(), order.end(), [=](Index a, Index b) { return made[a] < made[b]; });
    share_out(replicas, threads, [&](Index k) {
        const Index r = order[k];
        if (made[r] == steps) return;
        Crew crew(shared ? threads : 1);
        Replica replica(*job, r, r, true, crew.size());
        for (Index s = made[r]; s < steps;) {
            job->losses[r * steps + s] = replica.step(s * job->batch, crew);
            made[r] = ++s;
            if (s % between == 0 && Clock::now() >= end) return;
        }
    });
}

// The mean loss of each replica over the job's rows; fills in their logits. numbers[g] is the number of the job's
// g-th replica among all.
extern "C" void measure(const Job* job, Index replicas, const Index* numbers, double* means, Index threads) {
    const Index batches = (job->count + job->batch - 1) / job->batch;
    const Index parts = (batches + batches_of_a_task - 1) / batches_of_a_task;
    std::vector<double> sums(replicas * batches), penalties(replicas);
    share_out(replicas * parts, threads, [&](Index k) {
        const Index g = k / parts, first = k % parts * batches_of_a_task;
        Replica replica(*job, numbers[g], g, false);
        if (first == 0) penalties[g] = replica.penalty();
        for (Index b = first; b < std::min(batches, first + batches_of_a_task); ++b)
            sums[g * batches + b] = replica.measure(b * job->batch, std::min(job->batch, job->count - b * job->batch));
    });
    for (Index g = 0; g < replicas; ++g) {
        double sum = 0;
        for (Index b = 0; b < batches; ++b) sum += sums[g * batches + b];
        means[g] = sum / job->count + penalties[g];
    }
}
