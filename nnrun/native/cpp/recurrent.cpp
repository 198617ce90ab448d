// LSTM and GRU over whole sequences, forward and backward, for R replicas.
//
// R: replicas, B: rows of a batch, T: steps, D: features of a step, U: units, G: gates.
// Rows are taken in blocks, and a block through all steps before the next one. What a block computes, and the
// order in which the gradients of blocks are added, do not depend on the number of threads.

#include <optional>

#include "functions.h"
#include "sums.h"
#include "tasks.h"

// What Python hands over: nnrun/model/kernels/recurrent.py has the same structure. What is "kept" is written by the
// forward pass and read by the backward pass; without `keep` it is not there. Of a block of rows it holds one step
// behind the other, each of all rows of the block.
struct Sequences {
    Index R, B, T, D, U, threads;
    std::int32_t all_steps;         // whether outputs are those of all steps, else of the last
    std::int32_t keep;
    const float* x;                 // (R, B, T, D)
    const float* input_kernel;      // (R, D, G * U)
    const float* recurrent_kernel;  // (R, U, G * U)
    const float* bias;              // (R, biases, G * U), or null
    const std::uint8_t* counts;     // (R, B, T): a step that does not count changes nothing; or null
    float* outputs;                 // (R, B, T, U) or (R, B, U)
    float* gates;                   // kept: (R, B, T, kept gates * U)
    float* given;                   // kept: (R, B, T + 1, U) what was given for each step, zeros before the first
    float* cells;                   // kept: the same of LSTM's cells; `given` of a GRU, which has none
    const float* d_outputs;         // the gradient of the outputs
    float* d_x;                     // those that are asked for, or null
    float* d_input_kernel;          // (R, blocks, ...), zeros: in the end the first block has the sum of all
    float* d_recurrent_kernel;
    float* d_bias;                  // or null
};

namespace {

constexpr Index block_rows = 64;

// A cell computes one number of each unit at a step. `x` and `h` are the parts of the step and of what was given
// before in its gates, U numbers apart; with `together` x has the sum of both. First `open` activates the gates that
// wait for nothing, of many rows, and then `step` computes the rest: each chain of instructions that wait for one
// another stays so short that the CPU is at several rows at a time.
struct Lstm {
    static constexpr Index gates = 4, kept = 4, biases = 1;
    static constexpr bool together = true;

    template <class T>
    static void open(const float* x, const float*, Index U, float* kept) {
        store<T>(kept, vector_sigmoid(load<T>(x)));
        store<T>(kept + U, vector_sigmoid(load<T>(x + U)));
        store<T>(kept + 2 * U, vector_tanh(load<T>(x + 2 * U)));
        store<T>(kept + 3 * U, vector_sigmoid(load<T>(x + 3 * U)));
    }

    template <class T>
    static void step(const float*, Index U, float* kept, const float*, const float* cell_before, float* given,
                     float* cell) {
        const T in = load<T>(kept), forget = load<T>(kept + U), fresh = load<T>(kept + 2 * U);
        const T c = forget * load<T>(cell_before) + in * fresh;
        store<T>(cell, c);
        store<T>(given, load<T>(kept + 3 * U) * vector_tanh(c));
    }

    // The gradients of what was given, d, and of the cell, d_cell, become those of the step before, but for what
    // comes through the gates, d_x.
    template <class T>
    static void back(const float* kept, Index U, const float*, const float* cell_before, const float* cell, float* d,
                     float* d_cell, float* d_x, float*) {
        const T in = load<T>(kept), forget = load<T>(kept + U), fresh = load<T>(kept + 2 * U);
        const T out = load<T>(kept + 3 * U), shown = vector_tanh(load<T>(cell)), d_given = load<T>(d);
        const T d_c = load<T>(d_cell) + d_given * out * (1 - shown * shown);
        store<T>(d_x, d_c * fresh * in * (1 - in));
        store<T>(d_x + U, d_c * load<T>(cell_before) * forget * (1 - forget));
        store<T>(d_x + 2 * U, d_c * in * (1 - fresh * fresh));
        store<T>(d_x + 3 * U, d_given * shown * out * (1 - out));
        store<T>(d_cell, d_c * forget);
        store<T>(d, T{});
    }
};

// With the reset gate after the recurrent product. Keeps beside the gates the candidate's recurrent part.
struct Gru {
    static constexpr Index gates = 3, kept = 4, biases = 2;
    static constexpr bool together = false;

    template <class T>
    static void open(const float* x, const float* h, Index U, float* kept) {
        store<T>(kept, vector_sigmoid(T(load<T>(x) + load<T>(h))));
        store<T>(kept + U, vector_sigmoid(T(load<T>(x + U) + load<T>(h + U))));
        store<T>(kept + 3 * U, load<T>(h + 2 * U));
    }

    template <class T>
    static void step(const float* x, Index U, float* kept, const float* before, const float*, float* given, float*) {
        const T update = load<T>(kept), reset = load<T>(kept + U), recurrent = load<T>(kept + 3 * U);
        const T candidate = vector_tanh(T(load<T>(x + 2 * U) + reset * recurrent));
        store<T>(given, update * load<T>(before) + (1 - update) * candidate);
        store<T>(kept + 2 * U, candidate);
    }

    template <class T>
    static void back(const float* kept, Index U, const float* before, const float*, const float*, float* d, float*,
                     float* d_x, float* d_h) {
        const T update = load<T>(kept), reset = load<T>(kept + U), candidate = load<T>(kept + 2 * U);
        const T recurrent = load<T>(kept + 3 * U), d_given = load<T>(d);
        const T d_update = d_given * (load<T>(before) - candidate) * update * (1 - update);
        const T d_candidate = d_given * (1 - update) * (1 - candidate * candidate);
        const T d_reset = d_candidate * recurrent * reset * (1 - reset);
        store<T>(d_x, d_update), store<T>(d_x + U, d_reset), store<T>(d_x + 2 * U, d_candidate);
        store<T>(d_h, d_update), store<T>(d_h + U, d_reset), store<T>(d_h + 2 * U, d_candidate * reset);
        store<T>(d, d_given * update);
    }
};

// f(a T, the first unit of it) for all units: whole vectors of them, and then shorter ones.
template <class F>
inline void each_unit(Index U, F f) {
    strips_from(Strip<Widest, 1>{}, 0, U, [=](auto strip, Index j) { one_vector(strip, j, f); });
}

template <class T, class F>
inline void one_vector(Strip<T, 1>, Index j, F f) { f(T{}, j); }

// A kernel as products read it, copied once for all steps.
struct Packed {
    Buffer numbers;

    Packed(const float* kernel, Index rows, Index columns) : numbers(packed_size(columns, rows)) {
        pack_all(numbers.data(), kernel, columns, rows);
    }
};

// The rows of one replica that are taken through all steps together.
template <class Cell>
class Block {
  public:
    static constexpr Index G = Cell::gates, kept = Cell::kept;

    Block(const Sequences& all, Index task)
        : s(all), blocks((all.B + block_rows - 1) / block_rows), task_(task), r(task / blocks),
          first(task % blocks * block_rows), n(std::min(block_rows, all.B - first)), row(r * all.B + first),
          columns(G * all.U), input_kernel(all.input_kernel + r * all.D * columns),
          recurrent_kernel(all.recurrent_kernel + r * all.U * columns), of_x_(n * columns), of_h_(n * columns) {}

    void forward() {
        Buffer own;  // where nothing is kept: one step, which the next one overwrites
        Index step_of_gates = n * kept * s.U, step_of_state = n * s.U;
        float *gates, *given, *cells;
        if (s.keep) {
            gates = s.gates + row * s.T * kept * s.U;
            given = s.given + row * (s.T + 1) * s.U;
            cells = s.cells + row * (s.T + 1) * s.U;
        } else {
            own = Buffer(step_of_gates + 2 * step_of_state);
            gates = own.data(), given = gates + step_of_gates, cells = given + step_of_state;
            step_of_gates = step_of_state = 0;
        }
        std::fill_n(given, n * s.U, 0.0f);
        std::fill_n(cells, n * s.U, 0.0f);
        const Packed of_x(input_kernel, s.D, columns), of_h(recurrent_kernel, s.U, columns);
        for (Index t = 0; t < s.T; ++t) {
            project(of_x, of_h, t, given);
            take_step(t, gates, given, given + step_of_state, cells, cells + step_of_state);
            gates += step_of_gates, given += step_of_state, cells += step_of_state;
            if (s.all_steps)
                for (Index i = 0; i < n; ++i)
                    std::copy_n(given + i * s.U, s.U, s.outputs + ((row + i) * s.T + t) * s.U);
        }
        if (!s.all_steps) std::copy_n(given, n * s.U, s.outputs + row * s.U);
    }

    void backward() {
        Buffer d_buffer(n * s.U), d_cell_buffer(n * s.U), d_x(n * s.D);
        float *d = d_buffer.data(), *d_cell = d_cell_buffer.data();
        std::fill_n(d, n * s.U, 0.0f);
        std::fill_n(d_cell, n * s.U, 0.0f);
        if (!s.all_steps) std::copy_n(s.d_outputs + row * s.U, n * s.U, d);
        const Packed of_h = turned(recurrent_kernel, s.U);
        const std::optional<Packed> of_x = s.d_x ? std::optional(turned(input_kernel, s.D)) : std::nullopt;
        const float* d_of_h = Cell::together ? of_x_.data() : of_h_.data();
        for (Index t = s.T; t-- > 0;) {
            const float* before = s.given + (row * (s.T + 1) + t * n) * s.U;
            if (s.all_steps)
                for (Index i = 0; i < n; ++i) {
                    const float* d_output = s.d_outputs + ((row + i) * s.T + t) * s.U;
                    for (Index j = 0; j < s.U; ++j) d[i * s.U + j] += d_output[j];
                }
            back_of_step(t, before, d, d_cell);
            add_gradients(t, before, d_of_h);
            product_of_packed(d, n, s.U, {d, s.U, 1}, d_of_h, columns, 1, of_h.numbers.data(), columns);
            if (!of_x) continue;
            product_of_packed(d_x.data(), n, s.D, same_row(nullptr), of_x_.data(), columns, 1, of_x->numbers.data(),
                              columns);
            for (Index i = 0; i < n; ++i)
                std::copy_n(d_x.data() + i * s.D, s.D, s.d_x + ((row + i) * s.T + t) * s.D);
        }
    }

  private:
    // A kernel of (inputs, columns), turned.
    Packed turned(const float* kernel, Index inputs) const {
        Buffer whole(inputs * columns);
        transpose(whole.data(), kernel, inputs, columns);
        return {whole.data(), columns, inputs};
    }

    // The features of a step of all rows, which lie `between_rows` numbers apart.
    const float* x_of_step(Index t) const { return s.x + (row * s.T + t) * s.D; }

    Index between_rows() const { return s.T * s.D; }

    Start bias(Index which) const {
        return same_row(s.bias ? s.bias + (r * Cell::biases + which) * columns : nullptr);
    }

    // What the step, and what was given before, contribute to the gates.
    void project(const Packed& of_x, const Packed& of_h, Index t, const float* before) {
        product_of_packed(of_x_.data(), n, columns, bias(0), x_of_step(t), between_rows(), 1, of_x.numbers.data(), s.D);
        float* y = Cell::together ? of_x_.data() : of_h_.data();
        product_of_packed(y, n, columns, Cell::together ? Start{y, columns, 1} : bias(1), before, s.U, 1,
                          of_h.numbers.data(), s.U);
    }

    bool counts(Index t, Index i) const { return !s.counts || s.counts[(row + i) * s.T + t]; }

    // The gates of a row that does not count are never read.
    void take_step(Index t, float* gates, const float* before, float* given, const float* cells_before, float* cells) {
        const Index U = s.U;
        const float *x = of_x_.data(), *h = of_h_.data();
        each_unit(U, [=](auto like, Index j) {
            for (Index i = 0; i < n; ++i)
                Cell::template open<decltype(like)>(x + i * columns + j, h + i * columns + j, U,
                                                    gates + i * kept * U + j);
        });
        each_unit(U, [=](auto like, Index j) {
            using T = decltype(like);
            for (Index i = 0; i < n; ++i) {
                const Index at = i * U + j;
                if (counts(t, i)) {
                    Cell::template step<T>(x + i * columns + j, U, gates + i * kept * U + j, before + at,
                                           cells_before + at, given + at, cells + at);
                } else {
                    store<T>(given + at, load<T>(before + at));
                    store<T>(cells + at, load<T>(cells_before + at));
                }
            }
        });
    }

    // From d and d_cell the gradients of the gates; d and d_cell become those of the step before, but for what comes
    // through the gates. The gradients of the biases grow with them, row by row.
    void back_of_step(Index t, const float* before, float* d, float* d_cell) {
        const Index U = s.U;
        const float* gates = s.gates + (row * s.T + t * n) * kept * U;
        const float *cells_before = s.cells + (row * (s.T + 1) + t * n) * U, *cells = cells_before + n * U;
        float *d_of_x = of_x_.data(), *d_of_h = of_h_.data();
        float* d_bias = s.d_bias ? s.d_bias + task_ * Cell::biases * columns : nullptr;
        each_unit(U, [=](auto like, Index j) {
            using T = decltype(like);
            T sums[Cell::biases * G] = {};
            for (Index g = 0; d_bias && g < Cell::biases * G; ++g) sums[g] = load<T>(d_bias + g * U + j);
            for (Index i = 0; i < n; ++i) {
                const Index at = i * U + j;
                float *d_x = d_of_x + i * columns + j, *d_h = d_of_h + i * columns + j;
                const float* of_row = gates + i * kept * U + j;
                if (counts(t, i)) {
                    Cell::template back<T>(of_row, U, before + at, cells_before + at, cells + at, d + at, d_cell + at,
                                           d_x, d_h);
                } else {  // d and d_cell are those of the step before, too
                    for (Index g = 0; g < G; ++g) store<T>(d_x + g * U, T{}), store<T>(d_h + g * U, T{});
                }
                for (Index g = 0; g < G; ++g) sums[g] += load<T>(d_x + g * U);
                for (Index g = 0; g < (Cell::biases - 1) * G; ++g) sums[G + g] += load<T>(d_h + g * U);
            }
            for (Index g = 0; d_bias && g < Cell::biases * G; ++g) store<T>(d_bias + g * U + j, sums[g]);
        });
    }

    // Those of the kernels, from those of the gates.
    void add_gradients(Index t, const float* before, const float* d_of_h) {
        add_product(s.d_input_kernel + task_ * s.D * columns, s.D, columns, x_of_step(t), 1, between_rows(),
                    of_x_.data(), n);
        add_product(s.d_recurrent_kernel + task_ * s.U * columns, s.U, columns, before, 1, s.U, d_of_h, n);
    }

    const Sequences& s;
    const Index blocks, task_, r, first, n, row, columns;
    const float *input_kernel, *recurrent_kernel;
    Buffer of_x_, of_h_;  // of one step; in the backward pass their gradients
};

// The gradients of all blocks of each replica are added to those of the first.
void add_blocks(float* gradient, Index R, Index blocks, Index size) {
    if (!gradient) return;
    for (Index r = 0; r < R; ++r)
        for (Index block = 1; block < blocks; ++block) {
            float* __restrict sum = gradient + r * blocks * size;
            const float* __restrict part = sum + block * size;
            for (Index k = 0; k < size; ++k) sum[k] += part[k];
        }
}

template <class Cell>
void forward(const Sequences& all) {
    const Index blocks = (all.B + block_rows - 1) / block_rows;
    share_out(all.R * blocks, all.threads, [&](Index task) { Block<Cell>(all, task).forward(); });
}

template <class Cell>
void backward(const Sequences& all) {
    const Index blocks = (all.B + block_rows - 1) / block_rows, columns = Cell::gates * all.U;
    share_out(all.R * blocks, all.threads, [&](Index task) { Block<Cell>(all, task).backward(); });
    add_blocks(all.d_input_kernel, all.R, blocks, all.D * columns);
    add_blocks(all.d_recurrent_kernel, all.R, blocks, all.U * columns);
    add_blocks(all.d_bias, all.R, blocks, Cell::biases * columns);
}

}  // namespace

extern "C" {

// Rows of a block, which the caller needs to know how many gradients there are.
Index rows_of_block() { return block_rows; }

void lstm_forward(const Sequences* all) { forward<Lstm>(*all); }
void lstm_backward(const Sequences* all) { backward<Lstm>(*all); }
void gru_forward(const Sequences* all) { forward<Gru>(*all); }
void gru_backward(const Sequences* all) { backward<Gru>(*all); }
}
