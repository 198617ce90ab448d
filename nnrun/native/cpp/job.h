// What Python hands over: nnrun/training/backends/native_job.py holds the same structures and the same order of names.
// R: replicas, n: rows of each in a job, B: rows of a batch, F: inputs of a layer, U: its units, K: outputs. Of an
// embedding F are the words and U the columns of its table.

#pragma once

#include <cstdint>

using Index = std::int64_t;

enum class Kind : std::int32_t { dense, dropout, embedding };

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
    float* average;            // of the values, updated after every step; or null
    std::int32_t decays;       // whether the optimizer's weight decay is for it
};

struct Layer {
    Index inputs, units;
    const std::int64_t* keys;  // dropout: (R,)
    const float* l1;           // dense: (R,) the strengths of its penalty; null where all are 0
    const float* l2;
    float* seen;               // (R, F) the update that met each row of the kernel last, where rows wait; or null
    Parameter kernel, bias;    // of all replicas, one behind the other; a null bias for none; the table is a kernel
    Kind kind;
    Activation activation;
    float rate, scale;         // dropout
    std::int32_t mask_zero;    // embedding, whose vectors are averaged over a row: whether word 0 does not count
    std::int32_t place_squares;//   whether the optimizer adds up the squares of the places' gradients
};

// What the schema says of an optimizer; what it does not have is 0.
struct OptimizerConfig {
    double rho, beta_1, beta_2, momentum, epsilon, weight_decay;
    double idle_decay;  // what an update without a gradient multiplies the slots by, where rows wait
    Optimizer kind;
    std::int32_t centered, nesterov, amsgrad;
};

// Some rows for each of several replicas, to learn from or to be measured on.
struct Job {
    Index count, batch, layers;    // n; B, at most; how many layers
    Index first_row;               // where in the epoch's order the rows start
    const Layer* layer;
    const OptimizerConfig* optimizer;
    const std::int64_t* rows;      // (R, n) which rows of the data:
    const float* inputs;           // dense: (., F); or null
    const std::uint8_t* bytes;     // dense, in bytes: (., F); or null
    const float* byte_values;      //   (C, 256) what each byte of a column becomes, F being a multiple of C columns,
    Index byte_columns;            //   C,
    Index own_byte_values;         //   and whether each replica has its own, (R, C, 256)
    const std::int64_t* row_starts;// sparse: where each row of the matrix starts; null where rows are dense
    const std::int32_t* columns;   //   the columns of its numbers,
    const float* values;           //   and the numbers, or null where all are 1
    const std::int32_t* words;     // (., T) for an embedding; or null
    Index places;                  //   T
    const float* targets;          // (R, n, K), or null
    const std::int64_t* classes;   // (R, n), or null
    const float* weights;          // (R, n) what the loss of each row counts, or null
    const double* rates;           // (R,) learning rates
    double* updates;               // (R,) made so far
    const double* ema_decays;      // (R,) the largest decays of the averages, or null where there are none
    float* losses;                 // training: (R, n / B) the mean over a batch, and the penalty
    float* logits;                 // (R, n, K) values before the last activation
    Loss loss;
    float delta;                   // of huber
};
