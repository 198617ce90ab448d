"""When compiling training steps pays: Boston's folds at batch size 1, step by step and compiled, in one run.

    python tests/benchmarks/compiled_step.py [--k 4]

Printed are the seconds that compiling takes (with an empty cache, then from it), the microseconds of a step
each way, and from how many steps on the compiled way is faster.
`nnrun/training/backends/choice.py` keeps the border.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from nnrun.data import load_dataset
from nnrun.experiment.setup.groups import make_problem, prepare_groups
from nnrun.experiment.setup.kfold_spec import load_for_kfold
from nnrun.training.backends.compiled import CompiledEngine
from nnrun.training.device import cpu_setup
from nnrun.training.engine import EagerEngine
from nnrun.training.epoch_plan import epoch_order

BOSTON = Path(__file__).parents[2] / "specs" / "boston.yaml"
EPOCHS = 5


def measure(k: int) -> tuple[float, float, float]:
    """Seconds of the first compiled epoch, and microseconds of a plain and of a compiled step."""
    spec = load_for_kfold(BOSTON, k=k).spec
    dataset = load_dataset(spec.dataset)
    (group,) = prepare_groups(spec, dataset)
    problem = make_problem(spec, group.network, group.fitted, dataset.train, torch.device("cpu"))
    sources = [member.source for member in group.members]
    weights = group.network.initial_parameters(sources)
    steps = max(len(fold.train_rows) for fold in group.folds)

    def seconds_of_epochs(engine: EagerEngine) -> list[float]:
        taken = []
        for epoch in range(1, EPOCHS + 1):
            orders = [
                epoch_order(m.fold.train_rows, shuffle=True, source=m.source, epoch=epoch)
                for m in group.members
            ]
            started = time.perf_counter()
            engine.train_epoch(orders, sources, epoch)
            taken.append(time.perf_counter() - started)
        return taken

    with cpu_setup(1):
        plain = seconds_of_epochs(EagerEngine(problem, weights))
        compiled = seconds_of_epochs(CompiledEngine(problem, weights, print))
    return compiled[0], min(plain) / steps * 1e6, min(compiled[1:]) / steps * 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--one", action="store_true")
    arguments = parser.parse_args()
    if arguments.one:
        print(*measure(arguments.k))
        return
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache}
        command = [sys.executable, __file__, "--one", "--k", str(arguments.k)]
        for name in ("empty cache", "from the cache"):
            output = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            ).stdout
            compiling, plain, compiled = map(float, output.splitlines()[-1].split())
            border = compiling / (plain - compiled) * 1e6
            print(
                f"{arguments.k} folds, {name}: compiling {compiling:.1f} s, a step {plain:.0f} µs plain and "
                f"{compiled:.0f} µs compiled ({compiled / arguments.k:.1f} µs a network); "
                f"it pays from {border:,.0f} steps on"
            )


if __name__ == "__main__":
    main()
