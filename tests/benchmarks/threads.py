"""How much work a training step must be before a second CPU thread pays.

    python tests/benchmarks/threads.py

For dense networks of growing width it prints the multiplications of one forward step, and the time of a
training step on one thread and on all, as their ratio. `nnrun/training/device.py` keeps the border.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from nnrun.model.inputs import DenseInputs
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.training.backends.eager import EagerBackend
from nnrun.training.engine import Engine
from nnrun.training.losses import build_loss
from nnrun.training.optimizers import build_optimizer
from nnrun.training.problem import Head, TrainingProblem
from tests.support.networks import stack
from tests.support.streams import sources_of

ROWS, FEATURES, BATCH = 2048, 256, 256


def seconds_per_step(width: int, threads: int) -> float:
    torch.set_num_threads(threads)
    layers = [schema.Dense(units=width, activation="relu"), schema.Dense(units=width, activation="relu")]
    network = stack([*layers, schema.Dense(units=1)], FEATURES)
    inputs = DenseInputs(torch.randn(1, ROWS, FEATURES))
    head = Head(1, "linear", build_loss(schema.Mse()), torch.randn(1, ROWS, 1))
    optimizer = build_optimizer(schema.RmsProp())
    problem = TrainingProblem(network, optimizer, {INPUT: inputs}, {OUTPUT: head}, BATCH)
    engine = Engine(problem, network.initial_parameters(sources_of(0, [0])), EagerBackend(problem))
    best = float("inf")
    for epoch in range(1, 6):
        started = time.perf_counter()
        engine.train_epoch([np.arange(ROWS)], sources_of(0, [0]), epoch)
        best = min(best, time.perf_counter() - started)
    return best / (ROWS // BATCH)


def main() -> None:
    everything = torch.get_num_threads()
    print(
        f"{'width':>6} {'million multiplications':>24} {'1 thread':>10} "
        f"{f'{everything} threads':>10} {'gain':>6}"
    )
    for width in (32, 64, 128, 256, 512, 1024, 2048):
        work = BATCH * (FEATURES * width + width * width + width) / 1e6
        one, many = seconds_per_step(width, 1), seconds_per_step(width, everything)
        print(f"{width:>6} {work:>24.1f} {one * 1e3:>7.2f} ms {many * 1e3:>7.2f} ms {one / many:>6.2f}")


if __name__ == "__main__":
    main()
