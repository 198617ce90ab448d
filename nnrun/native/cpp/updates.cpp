// One update of a whole parameter of R replicas, as nnrun/training/optimizers.py makes it with PyTorch.

#include "tasks.h"
#include "updates.h"

// `size` numbers of each of R replicas follow their gradient. `squares` stands for the squares of the gradient, and
// may be null. Each replica has a rate and the number of its update, from 1.
extern "C" void update(const OptimizerConfig* rule, const Parameter* parameter, const float* gradient,
                       const float* squares, const double* rates, const double* steps, Index R, Index size,
                       Index threads) {
    constexpr Index part = 1 << 16;  // numbers that are worth a thread
    const Index parts = (size + part - 1) / part;
    share_out(R * parts, threads, [=](Index task) {
        const Index r = task / parts, first = task % parts * part, count = std::min(part, size - first);
        const Update change(*rule, rates[r], steps[r]);
        const Index place = r * size + first;
        if (squares) change.with_squares(*parameter, place, gradient + place, squares + place, count);
        else change(*parameter, place, gradient + place, count);
    });
}
