"""What a learning-rate range test found: a loss for each rate, the rate to take, and the figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.errors import DataError
from nnrun.records import SweepDirectory, TrialStatus
from nnrun.spec.wording import counted
from nnrun.validation.rate_choice import RateChoice, choose_rate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nnrun.figures.curve_figure import Curve

COMMAND = "lr"
"""What the records of a range test say of the command that made them."""


@dataclass(frozen=True)
class RateTrial:
    """What came of one rate.

    Attributes:
        rate: the learning rate.
        status: `completed`, `diverged`, ...
        loss, val_loss: at the epoch with the lowest validation loss; None where it has no score.
        epoch: that epoch.
    """

    rate: float
    status: TrialStatus
    loss: float | None
    val_loss: float | None
    epoch: int | None


@dataclass(frozen=True)
class RateTest:
    """What a range test found.

    Attributes:
        sweep: its folder.
        key: of the spec, the learning rate.
        epochs: that each rate trained.
        only_fold: the fold that was trained, of a spec with folds.
        trials: one for each rate, rates ascending.
        choice: which rate to take; None where all diverged.
    """

    sweep: SweepDirectory
    key: str
    epochs: int
    only_fold: int | None
    trials: Sequence[RateTrial]
    choice: RateChoice | None

    @property
    def rate(self) -> float | None:
        """The rate to take."""
        return None if self.choice is None else self.trials[self.choice.place].rate

    @property
    def override(self) -> str | None:
        """The rate to take, as `--set` takes it."""
        return None if self.rate is None else f"{self.key}={self.rate:g}"

    @property
    def at_edge(self) -> str | None:
        """`lowest` or `highest` where the best rates reach that end: rates beyond it may be better."""
        if self.choice is None:
            return None
        if self.choice.high == len(self.trials) - 1:
            return "highest"
        return "lowest" if self.choice.low == 0 else None


def read_rate_test(sweep: SweepDirectory) -> RateTest:
    """What a range test found, from its records.

    Raises:
        DataError: they are damaged, or those of another sweep.
    """
    record = sweep.read_record()
    if record.command != COMMAND or not record.trials:
        raise DataError(f"{sweep.path} is not a learning-rate range test.")
    trials, epochs, folds = [], 0, None
    for trial in record.trials:
        loss = None
        if trial.run is not None:
            run = sweep.run_of(trial).read_record()
            loss = run.best.get("loss") if trial.score is not None else None
            epochs, folds = run.epochs or epochs, run.folds
        ((key, rate),) = trial.values.items()
        trials.append(RateTrial(float(rate), trial.status, loss, trial.score, trial.epoch))
    only_fold = folds[0] if folds else None
    choice = choose_rate([t.rate for t in trials], [t.val_loss for t in trials])
    return RateTest(sweep, key, epochs, only_fold, trials, choice)


def rate_curve(test: RateTest) -> Curve:
    """The losses against the logarithm of the rates; NaN for a rate that diverged, or nearly did."""
    import numpy as np

    from nnrun.figures.curve_figure import Curve
    from nnrun.figures.rate_figure import shown_limit

    training, validation = _losses(test)
    limit = math.inf if test.choice is None else shown_limit([*training, *validation], test.choice.start)
    cut = [np.where(losses <= limit, losses, math.nan) for losses in (training, validation)]
    return Curve("", np.log10([trial.rate for trial in test.trials]), cut[0], cut[1])


def draw_rate_test(test: RateTest, path: Path) -> None:
    """Draw the losses against the rates into a file, .png or .svg."""
    from nnrun.figures.curve_figure import save  # they bring Matplotlib, which takes half a second
    from nnrun.figures.rate_figure import rate_figure

    choice, rates = test.choice, [trial.rate for trial in test.trials]
    training, validation = _losses(test)
    figure = rate_figure(
        rates,
        training,
        validation,
        plateau=None if choice is None else (rates[choice.low], rates[choice.high]),
        chosen=test.rate,
        start=math.nan if choice is None else choice.start,
        caption=f"{len(rates)} learning rates, the best of {counted(test.epochs, 'epoch')} of each",
    )
    save(figure, path)


def _losses(test: RateTest) -> list[npt.NDArray[np.float64]]:
    """The training and the validation losses, NaN where there is none."""
    import numpy as np

    of_losses = [[t.loss for t in test.trials], [t.val_loss for t in test.trials]]
    return [np.array([math.nan if loss is None else loss for loss in losses]) for losses in of_losses]
