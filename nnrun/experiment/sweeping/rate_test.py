"""A learning-rate range test: a sweep over the learning rate alone, each rate trained for some hundred steps.

All rates have the same initial weights and the same order of rows, and train side by side where that is
faster. The records are those of a sweep: `runs/<name>-lr-sweep-...`, a run for each rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnrun.errors import UsageError
from nnrun.experiment.running.job import Settings
from nnrun.experiment.setup.folds import folds_of
from nnrun.experiment.setup.groups import Selection
from nnrun.experiment.sweeping.rate_test_result import COMMAND
from nnrun.experiment.sweeping.sweep import run_sweep
from nnrun.experiment.sweeping.sweep_data import Datasets
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.records import SweepDirectory
from nnrun.spec import schema
from nnrun.spec.reading.load import load_spec
from nnrun.spec.reading.overrides import Override, Overrides, overrides_of
from nnrun.spec.reading.sources import SpecSource
from nnrun.spec.sweep_plan import SweepPlan, load_sweep
from nnrun.spec.wording import listing

_COLUMN = "val_loss"
_LEFT_OUT: dict[str, Any] = {"learning_rate_schedule": [], "early_stopping": None, "nested": None}
_LARGEST_COUNT = 200


@dataclass(frozen=True)
class RateRange:
    """The rates that are tried.

    Attributes:
        low, high: the lowest and the highest.
        count: how many, equally far apart on a logarithmic scale.
    """

    low: float = 1e-5
    high: float = 1.0
    count: int = 32

    def rates(self) -> list[float]:
        """The rates, ascending, to three digits: what is tried is what the table shows and a spec can say.

        Raises:
            UsageError: there are no such rates.
        """
        if not 0 < self.low < self.high < math.inf:
            raise UsageError(
                f"The learning rates go from {self.low:g} to {self.high:g}; they must go from a positive "
                "number to a larger one."
            )
        if not 3 <= self.count <= _LARGEST_COUNT:
            raise UsageError(f"{self.count} learning rates: try at least 3 and at most {_LARGEST_COUNT}.")
        step = (math.log(self.high) - math.log(self.low)) / (self.count - 1)
        rates = [float(f"{math.exp(math.log(self.low) + n * step):.3g}") for n in range(self.count)]
        if len(set(rates)) < self.count:
            raise UsageError(
                f"{self.count} learning rates from {self.low:g} to {self.high:g} differ in less than three "
                "digits. Try fewer, or a wider range."
            )
        return rates


@dataclass(frozen=True)
class Length:
    """How long each rate is trained: whole epochs, the fewest that have so many steps; or so many epochs."""

    steps: int = 200
    epochs: int | None = None


@dataclass(frozen=True)
class PlannedRateTest:
    """A range test that can be run.

    Attributes:
        plan: the sweep.
        settings: how and where; of a spec with folds the first fold alone.
        datasets: the data, loaded.
        left_out: keys of the spec that the test leaves out.
    """

    plan: SweepPlan
    settings: Settings
    datasets: Datasets
    left_out: Sequence[str]


def plan_rate_test(
    path: SpecSource,
    settings: Settings,
    *,
    overrides: Overrides = (),
    rates: RateRange = RateRange(),
    length: Length = Length(),
    listener: SweepListener | None = None,
) -> PlannedRateTest:
    """Read the spec, load its data, and decide how many epochs each rate is trained.

    Left out are a learning-rate schedule (what is tested is a constant rate), early stopping and the spec's
    own sweep.

    Args:
        path: the spec file.
        settings: how and where; the command and the fold are set here.
        overrides: changes of the spec.
        rates: which rates.
        length: how long each is trained.
        listener: is told what happens.

    Raises:
        UsageError: there are no such rates, or the spec has no validation.
        SpecError, DataError: the spec or its data are not in order.
    """
    tried = rates.rates()
    spec = load_spec(path, overrides).spec
    if isinstance(spec.validation, schema.NoValidation):
        raise UsageError(
            "lr compares learning rates on validation rows, and the spec validates nothing. Add validation, "
            "such as --set validation=holdout."
        )
    fold = 0 if spec.validation.has_folds else None
    settings = replace(settings, command=COMMAND, selection=Selection(only_fold=fold))
    datasets = Datasets(settings, listener or SweepListener())
    without = spec.model_copy(update=_LEFT_OUT)  # without early stopping inner rows train, too
    epochs = length.epochs or _epochs_of(without, datasets, length.steps)
    key = f"optimizer.{spec.optimizer.kind}.learning_rate"
    section = {"over": {key: tried}, "monitor": _COLUMN, "together": len(tried)}
    changes = {**_LEFT_OUT, "name": f"{spec.name}-lr", "epochs": epochs, "sweep": section}
    of_test = [Override.of_value(name, value, COMMAND, prevails=True) for name, value in changes.items()]
    plan = load_sweep(path, [*overrides_of(overrides), *of_test])
    left_out = [name for name in (*_LEFT_OUT, "sweep") if getattr(spec, name)]
    return PlannedRateTest(plan, settings, datasets, left_out)


def _epochs_of(spec: schema.ExperimentSpec, datasets: Datasets, steps: int) -> int:
    """The fewest epochs that have so many steps."""
    rows = len(folds_of(spec, datasets.of(spec), spec.seed)[0].train_rows)
    return math.ceil(steps / math.ceil(rows / spec.batch_size))


def run_rate_test(
    planned: PlannedRateTest, listener: SweepListener | None = None, *, new: bool = False
) -> SweepDirectory:
    """Train what has not been trained yet; the same test again trains nothing. Raises as `run_sweep`."""
    return run_sweep(planned.plan, planned.settings, listener, new=new, datasets=planned.datasets)


def left_out_sentence(left_out: Sequence[str]) -> str:
    """What of the spec the test leaves out; empty where nothing is."""
    if not left_out:
        return ""
    verb = "is" if len(left_out) == 1 else "are"
    what = listing(left_out, "and")
    return f"{what} {verb} left out: each learning rate is constant, for all epochs of the test"
