"""Where steps in C++ beat PyTorch's: both make the same epochs, in turn, for stacks of many sizes.

    python tests/benchmarks/native_step.py

Each line gives the multiplications of a step of one network, the microseconds of a step of all networks each
way, and their ratio: time on the CPU, in which other processes do not count. It must be above 1 everywhere,
since C++ trains at every size.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from nnrun.model.inputs import DenseInputs
from nnrun.native.library import THIS_CPU, load_library
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.training.backends.eager import EagerBackend
from nnrun.training.backends.native import NativeBackend
from nnrun.training.device import cpu_setup
from nnrun.training.engine import Engine
from nnrun.training.losses import build_loss
from nnrun.training.metrics import build_metrics
from nnrun.training.optimizers import build_optimizer
from nnrun.training.problem import Head, TrainingProblem
from tests.support.networks import stack
from tests.support.streams import sources_of

STEPS, REPEATS = 20, 7
SIZES = [(13, 64), (13, 256), (100, 256), (100, 512), (500, 512)]


def make_problem(features: int, units: int, batch_size: int) -> TrainingProblem:
    """Noise, two hidden layers, one output."""
    hidden = {"dense": {"units": units, "activation": "relu"}}
    spec = schema.ExperimentSpec.model_validate(
        {"dataset": {"npz": "unread.npz"}, "layers": [hidden, hidden, {"dense": 1}], "loss": "mse"}
    )
    network = stack(spec.layers, features)
    rng = np.random.default_rng(0)
    rows = STEPS * batch_size
    x = DenseInputs(torch.from_numpy(rng.normal(size=(1, rows, features)).astype(np.float32)))
    targets = torch.from_numpy(rng.normal(size=(1, rows, 1)).astype(np.float32))
    head = Head(1, "linear", build_loss(spec.loss), targets, build_metrics(spec.metrics, "linear"))
    optimizer = build_optimizer(spec.optimizer)
    return TrainingProblem(network, optimizer, {INPUT: x}, {OUTPUT: head}, batch_size, spec=spec)


def microseconds(
    features: int, units: int, batch_size: int, replicas: int, cpu: str = THIS_CPU
) -> tuple[float, float]:
    """Of a step of all networks, the least of some repeats in turn: PyTorch's, and that of C++ for a CPU."""
    problem = make_problem(features, units, batch_size)
    sources = sources_of(0, range(replicas))
    weights = problem.network.initial_parameters(sources)  # type: ignore[attr-defined]
    backends = [EagerBackend(problem), NativeBackend(problem, load_library(NativeBackend.library, cpu=cpu))]
    engines = [Engine(problem, weights, backend) for backend in backends]
    orders = [np.arange(STEPS * batch_size)] * replicas
    best = [float("inf")] * 2
    for repeat in range(REPEATS):
        for place, engine in enumerate(engines):
            started = time.thread_time()
            engine.train_epoch(orders, sources, repeat + 1)
            best[place] = min(best[place], (time.thread_time() - started) / STEPS * 1e6)
    return best[0], best[1]


def compare(features: int, units: int, batch_size: int, replicas: int) -> str:
    """One line of the table."""
    eager, own = microseconds(features, units, batch_size, replicas)
    work = batch_size * (features * units + units * units + units)
    size = f"{features:4} {units:4} {batch_size:6} {replicas:9} {work:12,}"
    return f"{size} {eager:8.0f} {own:8.0f} {eager / own:6.1f}"


def main() -> None:
    print("   F    U  batch  networks  products/net  PyTorch   native  ratio")
    with cpu_setup(1):
        for features, units in SIZES:
            for batch_size in (1, 8, 32, 128, 512):
                for replicas in (1, 4):
                    print(compare(features, units, batch_size, replicas), flush=True)


if __name__ == "__main__":
    main()
