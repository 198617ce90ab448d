"""A sweep by one process, by one worker and by two: `python tests/benchmarks/workers.py [--rounds 3]`.

On two CPUs that nothing else uses, each process with one thread, in turn, the order another in each round:

- one by one: one process, a trial after the other (`together: 1`), as workers train large networks;
- side by side: one process, up to 8 trials in a step, what nnrun does with such trials without workers;
- 1 worker and 2 workers, which train them one by one as well.

Printed are the seconds of each, of the whole command (the imports of each process included) and from the
first trial to the last, and the medians of the rounds' ratios. It takes about two minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SPEC = """
dataset: {npz: rows.npz}
layers: [dense: {units: 128, activation: relu}, dense: {units: 128, activation: relu}, dense: 1]
loss: mse
optimizer: adam
epochs: EPOCHS
batch_size: 64
validation: {holdout: {fraction: 0.2}}
sweep:
  method: random
  trials: TRIALS
  together: 1
  over: {optimizer.adam.learning_rate: {log_uniform: [1e-4, 1e-2]}}
"""

ONE_BY_ONE, SIDE_BY_SIDE, ONE, TWO = "one by one", "side by side", "1 worker", "2 workers"
KINDS = {
    ONE_BY_ONE: [],
    SIDE_BY_SIDE: ["--set", "sweep.together=8"],
    ONE: ["--workers", "1"],
    TWO: ["--workers", "2"],
}
PAIRS = [(ONE, TWO), (ONE_BY_ONE, TWO), (SIDE_BY_SIDE, TWO), (ONE_BY_ONE, ONE)]
CPUS = 2


def main() -> None:
    """Time the kinds, round by round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=60)
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CPUS])  # that of all processes from here
    rounds: list[dict[str, tuple[float, float]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        x = rng.normal(size=(4000, 32)).astype("float32")
        np.savez(folder / "rows.npz", x_train=x, y_train=(x[:, 0] * x[:, 1] + x[:, 2]).astype("float32"))
        text = SPEC.replace("TRIALS", str(asked.trials)).replace("EPOCHS", str(asked.epochs))
        (folder / "spec.yaml").write_text(text)
        _run(folder, "warm", ["--epochs", "1"])  # what is compiled and cached once
        histories = None
        for number in range(asked.rounds):
            found: dict[str, tuple[float, float]] = {}
            names = list(KINDS)
            for kind in names[number % len(names) :] + names[: number % len(names)]:
                runs = folder / f"{kind.replace(' ', '-')}-{number}"
                found[kind] = _run(folder, runs.name, KINDS[kind])
                whole, training = found[kind]
                print(f"{kind}: {whole:.1f} s, from the first trial to the last {training:.1f} s", flush=True)
                if kind != SIDE_BY_SIDE:  # sums are rounded by how many train in a step
                    assert histories in (None, _histories(runs)), "all train the same, bit for bit"
                    histories = _histories(runs)
            rounds.append(found)
    for slow, quick in PAIRS:
        ratios = [[found[slow][i] / found[quick][i] for found in rounds] for i in range(2)]
        whole, training = (f"{statistics.median(each):.2f}" for each in ratios)
        print(f"{slow} / {quick}: {whole} of the whole command, {training} from the first trial to the last")
    print(
        f"medians of {asked.rounds} rounds, {asked.trials} trials; load {os.getloadavg()[0]:.1f} at the end"
    )


def _run(folder: Path, runs: str, options: list[str]) -> tuple[float, float]:
    """Run the sweep: the seconds of the whole command, and from the first run's folder to the last record."""
    arguments = ["sweep", "spec.yaml", "--runs-dir", runs, "-q", "--device", "cpu", "--threads", "1"]
    command = [sys.executable, "-m", "nnrun", *arguments, *options]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    whole = time.perf_counter() - began
    trials = [path.parent for path in (folder / runs).glob("*/run.json")]
    first = min((trial / "spec.yaml").stat().st_mtime_ns for trial in trials)
    last = max((trial / "run.json").stat().st_mtime_ns for trial in trials)
    return whole, (last - first) / 1e9


def _histories(runs: Path) -> dict[int, list[str]]:
    """Trial → its history without the seconds."""
    found = {}
    for path in runs.glob("*/run.json"):
        lines = (path.parent / "history.csv").read_text().splitlines()
        number = json.loads(path.read_text())["trial"]["number"]
        found[number] = [line.rpartition(",")[0] for line in lines]
    return found


if __name__ == "__main__":
    main()
