"""nnrun from Python: what the commands do, as functions that print nothing.

    import nnrun

    run = nnrun.train("specs/boston.yaml", overrides={"epochs": 20})
    run.history          # a DataFrame, one row per epoch (per fold or seed)
    run.best             # column → value at the best epoch (of folds: the same for all)
    run.kept             # the same of the weights that were kept and predict (of folds: oof.csv)
    final = nnrun.final(run)
    final.test           # loss and metrics on the test set

Errors are those of `nnrun.errors`. `verbose=True` prints one line per epoch to stderr, as the command does.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnrun.errors import NnrunError, UsageError
from nnrun.paths import path_of_variable, user_path
from nnrun.spec.allowed_modules import allowing
from nnrun.spec.wording import with_std

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from nnrun.experiment.checking.check import CheckedData
    from nnrun.experiment.ejecting.eject import Ejected
    from nnrun.experiment.evaluating.evaluation import Evaluation
    from nnrun.experiment.finished.load_run import Access
    from nnrun.experiment.launching.launcher import Workers
    from nnrun.experiment.publishing.destination import Published
    from nnrun.experiment.running.job import Settings
    from nnrun.experiment.running.listener import Listener
    from nnrun.experiment.sweeping.rate_test_result import RateTest
    from nnrun.experiment.sweeping.size_curve_result import SizeCurve
    from nnrun.records import RunDirectory, SweepDirectory, SweepRecord
    from nnrun.records.importance_record import ImportanceRecord
    from nnrun.spec.reading.overrides import Override

Overrides = Mapping[str, Any] | str | Sequence[str]
PathLike = str | Path
SpecLike = str | os.PathLike[str] | Mapping[str, Any]
"""A spec: the path of its file, the YAML itself, or a dict of what the YAML would hold."""

SPEC_ENDINGS = (".yaml", ".yml")
Launcher = Literal["processes", "ray", "slurm"]

DEFAULT_RUNS_DIR = Path("runs")


@dataclass(frozen=True, repr=False)
class Run:
    """A run on disk. Everything is read on access, so a `Run` follows a run that is still training.

    Attributes:
        path: the run's folder.
    """

    path: Path

    @property
    def id(self) -> str:
        """The run's id: the name of its folder."""
        return self._directory.id

    @property
    def record(self) -> dict[str, Any]:
        """What run.json holds."""
        return self._directory.read_record().to_json()

    @property
    def status(self) -> str:
        """`running`, `completed`, `interrupted`, `failed` or `diverged`."""
        return str(self._directory.read_record().status)

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch (per fold or seed), with the columns of history.csv; floats bit for bit."""
        return self._directory.read_history()

    @property
    def history_mean(self) -> pd.DataFrame:
        """Of folds or seeds: one row per epoch, `<column>_mean` and `<column>_std` over them."""
        return self._directory.read_history_mean()

    @property
    def best_epoch(self) -> int | None:
        """The epoch (from 1) that validation chose; None where nothing was validated."""
        return self._directory.read_record().best_epoch

    @property
    def best(self) -> dict[str, float | None]:
        """Column → value at the best epoch (of several folds or seeds: their mean)."""
        return dict(self._directory.read_record().best)

    @property
    def kept(self) -> dict[str, float | None]:
        """Column → validation score of the weights that were kept and predict.

        Of several folds or seeds the mean, each at the epoch whose weights it kept: what oof.csv gives, fold
        by fold. `best` has them at one epoch for all.
        """
        return dict(self._directory.read_record().kept)

    @property
    def baseline(self) -> dict[str, float | None]:
        """Metric → the score of a predictor that ignores the inputs."""
        return dict(self._directory.read_record().baseline)

    @property
    def test(self) -> dict[str, float | None]:
        """Loss and metrics on the test set; empty where it was not used."""
        return dict(self._directory.read_record().test)

    def weights(
        self,
        *,
        fold: int | None = None,
        seed: int | None = None,
        which: Literal["last", "best"] = "last",
    ) -> dict[str, np.ndarray[Any, Any]]:
        """The weights (of one fold or seed) that training ended with, or those of the best epoch.

        `<i>.weight` has shape (out, in) and `<i>.bias` (out,), where `<i>` is the layer's place from 0.
        """
        from nnrun.experiment.finished.used_weights import read_used_weights
        from nnrun.records import Member

        if fold is not None and seed is not None:
            raise UsageError("weights: name a fold or a seed, not both.")
        fold, seed = _whole(fold, "fold"), _whole(seed, "seed")
        member = Member("fold", fold) if fold is not None else None
        member = Member("seed", seed) if seed is not None else member
        ((kept,), _) = read_used_weights(self._directory, [member], which)
        return kept.arrays

    def plot(
        self,
        metric: str | None = None,
        *,
        only: Literal["validation", "training"] | None = None,
        smooth: float = 0.0,
        skip: int = 0,
        log: bool = False,
    ) -> Figure:
        """The loss and the metrics by epoch, or one of them, as a figure of Matplotlib, without pyplot.

        Args:
            metric: only this measure: `loss`, `mae`, ...
            only: only the validation or only the training curves.
            smooth: weight of the previous point in each point: 0.9 gives a smooth curve.
            skip: leave out the first so many epochs.
            log: logarithmic axes for the measures.

        Raises:
            UsageError: there is no such measure, or nothing to draw.
            DataError: no epoch has ended.
        """
        from nnrun.experiment.describing.in_notebook import run_figure

        return run_figure(self._directory, metric=metric, only=only, smooth=smooth, skip=skip, log=log)

    def __repr__(self) -> str:
        try:
            record = self._directory.read_record()
        except NnrunError:
            return f"Run({os.fspath(self.path)!r})"
        shown = {**record.listed_scores, **{f"test {name}": value for name, value in record.test.items()}}
        scores = ", ".join(f"{name} {with_std(value)}" for name, value in shown.items())
        best = "" if record.best_epoch is None else f", best epoch {record.best_epoch}"
        return f"Run({os.fspath(self.path)!r}, {record.status}{best}{': ' if scores else ''}{scores})"

    def _repr_html_(self) -> str:
        """What a notebook shows: how it went, its scores and its first curves."""
        from nnrun.experiment.describing.in_notebook import run_html

        return run_html(self._directory)

    @property
    def _directory(self) -> RunDirectory:
        from nnrun.records import RunDirectory

        return RunDirectory(self.path)


def train(
    spec: SpecLike,
    *,
    data: Any = None,
    seeds: int | None = None,
    workers: int | None = None,
    launcher: Launcher = "processes",
    launcher_options: Mapping[str, Any] | None = None,
    overrides: Overrides = (),
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    device: str = "auto",
    smoke: bool = False,
    verbose: bool = False,
    allow_custom: Sequence[str] = (),
) -> Run:
    """Train what a spec declares: holdout, k-fold or without validation.

    Args:
        spec: the YAML file; or the YAML itself, or a dict of what it would hold.
        data: rows to learn from, in place of the file that the spec's `dataset` names, whose path may then be
            left out: a data frame; a pair of inputs (a frame, or an array (N, ...)) and targets (N,) or
            (N, K); or a dict of arrays, called as in an npz archive. They are kept as a file in `.data`
            beside the run, so that everything else finds them.
        seeds: train with this many seeds, counting up from the spec's seed, side by side.
        workers: have so many processes train the seeds, or the spec's folds; default: this one.
        launcher, launcher_options: who starts them, and its options for each, as `--launcher-set` has them.
        overrides: path → value (`{"epochs": 5, "layers[0].dense.units": 32}`), or texts as for `--set`.
        runs_dir: where the run's folder is made; default: NNRUN_RUNS_DIR, else `runs`.
        data_dir: where data files are looked for first; default: NNRUN_DATA_DIR.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        smoke: two epochs on a few hundred generated rows.
        verbose: print one line per epoch to stderr.
        allow_custom: your own modules that the spec names and that may run (`nnrun.spec.custom_objects`).

    Raises:
        SpecError, DataError, UsageError, DivergedError: see `nnrun.errors`.
    """
    from nnrun.experiment.running.job import Settings
    from nnrun.experiment.running.shared_run import train_shared
    from nnrun.experiment.running.train import run_experiment
    from nnrun.experiment.setup.groups import Selection
    from nnrun.spec.reading.load import load_spec

    seeds = _whole(seeds, "seeds", 1)
    changes = _changes(overrides, spec, data, runs_dir)
    selection = Selection(seeds=seeds)
    settings = Settings("train", _runs_dir(runs_dir), _data_dir(data_dir), device, smoke, selection)
    shared_by = _workers(workers, launcher, launcher_options)
    with allowing(allow_custom):
        loaded, listener = load_spec(spec, changes), _listener(verbose)
        if shared_by is not None:
            return Run(train_shared(loaded, settings, listener, shared_by).path)
        return Run(run_experiment(loaded, settings, listener).path)


def _workers(
    count: int | None,
    launcher: Launcher,
    options: Mapping[str, Any] | None,
) -> Workers | None:
    """The workers that were asked for; None where this process does the work."""
    from nnrun.experiment.launching.launcher import Workers

    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise UsageError(f"workers is {count!r}; it must be a whole number from 1.")
    return Workers(count, launcher, dict(options or {}))


@dataclass(frozen=True)
class Sweep:
    """A sweep on disk.

    Attributes:
        path: the sweep's folder.
    """

    path: Path

    @property
    def id(self) -> str:
        """The sweep's id: the name of its folder."""
        return self._directory.id

    @property
    def record(self) -> SweepRecord:
        """What sweep.json holds."""
        return self._directory.read_record()

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial: number, status, score, epoch, seconds, run, and a column for each swept key.

        And `stopped_by_time` where a time limit ended trials: the epoch after which it did; `outer_fold`
        where TPE searched within each; and `worker` where several trained them.
        """
        import pandas as pd

        rows = []
        for trial in self.record.trials:
            known = {name: value for name, value in vars(trial).items() if name not in ("values", "error")}
            for name in ("stopped_by_time", "outer_fold", "worker"):
                if known[name] is None:
                    del known[name]
            rows.append({**known, **trial.values})
        return pd.DataFrame(rows)

    @property
    def best(self) -> Run | None:
        """The run of the best trial; None where no trial has a score."""
        ranked = self.record.ranked()
        return Run(self._directory.run_of(ranked[0]).path) if self.record.has_best else None

    @property
    def best_spec(self) -> Path:
        """The best trial's spec, ready to train."""
        return self._directory.best_spec

    @property
    def _directory(self) -> SweepDirectory:
        from nnrun.records import SweepDirectory

        return SweepDirectory(self.path)


def sweep(
    spec: SpecLike,
    *,
    data: Any = None,
    over: Overrides = (),
    method: Literal["grid", "random", "tpe"] | None = None,
    trials: int | None = None,
    monitor: str | None = None,
    time_limit: str | float | None = None,
    nested: int | None = None,
    new: bool = False,
    workers: int | None = None,
    launcher: Launcher = "processes",
    launcher_options: Mapping[str, Any] | None = None,
    overrides: Overrides = (),
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    device: str = "auto",
    smoke: bool = False,
    verbose: bool = False,
    allow_custom: Sequence[str] = (),
) -> Sweep:
    """Try values for keys of a spec, each trial as its own run; continue the same sweep if there is one.

    Args:
        spec, data: as for `train`; the spec may have a sweep section.
        over: key → a list of values or a range (`{"log_uniform": [1e-4, 1e-2]}`), or texts as for `--over`.
        method, trials, monitor, time_limit: instead of what the sweep section says. A time limit (`"10m"`, or
            seconds) begins no trials that are not expected to end in time; the same sweep again goes on.
        nested: choose the trial anew within each of so many outer folds, and score it on the fold; the record
            has it as `nested`. The override `nested.members=folds` scores the inner networks, averaged.
        new: start over in any case.
        workers: have so many processes train the trials; default: this one.
        launcher, launcher_options: who starts them, and its options for each, as `--launcher-set` has them.
        overrides, runs_dir, data_dir, device, smoke, verbose, allow_custom: as for `train`.
    """
    from nnrun.experiment.running.job import Settings
    from nnrun.experiment.sweeping.sweep import run_sweep
    from nnrun.experiment.sweeping.sweep_listener import SweepLines, SweepListener
    from nnrun.spec.reading.overrides import Override
    from nnrun.spec.sweep_plan import load_sweep

    asked: dict[str, str | float | None] = {
        "method": method,
        "trials": trials,
        "monitor": monitor,
        "time_limit": time_limit,
    }
    changes = {key: value for key, value in asked.items() if value is not None}
    settings = Settings("sweep", _runs_dir(runs_dir), _data_dir(data_dir), device, smoke)
    listener = SweepLines(_write_line) if verbose else SweepListener()
    within = [] if nested is None else [Override.of_value("nested.k", nested, "nested", prevails=True)]
    shared_by = _workers(workers, launcher, launcher_options)
    plan = load_sweep(spec, [*_changes(overrides, spec, data, runs_dir), *within], over, changes, prefix="")
    with allowing(allow_custom):
        found = run_sweep(plan, settings, listener, new=new, workers=shared_by)
    return Sweep(found.path)


def lr(
    spec: SpecLike,
    *,
    data: Any = None,
    rates: tuple[float, float] | None = None,
    count: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    new: bool = False,
    overrides: Overrides = (),
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    device: str = "auto",
    smoke: bool = False,
    verbose: bool = False,
    allow_custom: Sequence[str] = (),
) -> RateTest:
    """Test learning rates, each trained for a short while from the same weights; `rate` is the one to take.

    Args:
        spec, data: as for `train`; the spec must have validation.
        rates: the lowest and the highest; default: 1e-5 and 1.
        count: how many, equally far apart on a logarithmic scale; default: 32.
        steps: train each for the fewest epochs that have so many steps; default: 200.
        epochs: train each for so many epochs, instead of `steps`.
        new: test again, even if the same test is there.
        overrides, runs_dir, data_dir, device, smoke, verbose, allow_custom: as for `train`.
    """
    from nnrun.experiment.running.job import Settings
    from nnrun.experiment.sweeping.rate_test import Length, RateRange, plan_rate_test, run_rate_test
    from nnrun.experiment.sweeping.rate_test_result import read_rate_test
    from nnrun.experiment.sweeping.sweep_listener import SweepLines, SweepListener

    if steps is not None and epochs is not None:
        raise UsageError("steps and epochs both say how long to train; leave out one.")
    low, high = rates or (None, None)
    asked: dict[str, Any] = {"low": low, "high": high, "count": count}
    length: dict[str, Any] = {"steps": steps, "epochs": epochs}
    settings = Settings("lr", _runs_dir(runs_dir), _data_dir(data_dir), device, smoke)
    listener = SweepLines(_write_line) if verbose else SweepListener()
    with allowing(allow_custom):
        planned = plan_rate_test(
            spec,
            settings,
            overrides=_changes(overrides, spec, data, runs_dir),
            rates=replace(RateRange(), **{name: value for name, value in asked.items() if value is not None}),
            length=replace(Length(), **{name: value for name, value in length.items() if value is not None}),
            listener=listener,
        )
        return read_rate_test(run_rate_test(planned, listener, new=new))


def curve(
    spec: SpecLike,
    *,
    data: Any = None,
    fractions: Sequence[float] | None = None,
    seeds: int | None = None,
    metric: str | None = None,
    same_epochs: bool = False,
    new: bool = False,
    overrides: Overrides = (),
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    device: str = "auto",
    smoke: bool = False,
    verbose: bool = False,
    allow_custom: Sequence[str] = (),
) -> SizeCurve:
    """Train on parts of the training rows: `points` are the scores of each, `helped` whether more rows did.

    Args:
        spec, data: as for `train`; the spec must have validation.
        fractions: of each fold's training rows; default: 1/8, 1/4, 1/2 and 1.
        seeds: networks for each fraction, where the spec has no folds; default: 5.
        metric: the score that is compared; default: the one that chooses the best epoch.
        same_epochs: train each for the spec's epochs, and not for as many steps as all rows.
        new: train again, even if the same curve is there.
        overrides, runs_dir, data_dir, device, smoke, verbose, allow_custom: as for `train`.
    """
    from nnrun.experiment.running.job import Settings
    from nnrun.experiment.sweeping.size_curve import CurveOptions, plan_curve, run_curve
    from nnrun.experiment.sweeping.size_curve_result import read_size_curve
    from nnrun.experiment.sweeping.sweep_listener import SweepLines, SweepListener

    asked: dict[str, Any] = {"fractions": fractions, "seeds": seeds, "metric": metric}
    given = {name: value for name, value in asked.items() if value is not None}
    settings = Settings("curve", _runs_dir(runs_dir), _data_dir(data_dir), device, smoke)
    listener = SweepLines(_write_line) if verbose else SweepListener()
    with allowing(allow_custom):
        planned = plan_curve(
            spec,
            settings,
            overrides=_changes(overrides, spec, data, runs_dir),
            options=CurveOptions(**given, same_epochs=same_epochs),
            listener=listener,
        )
        return read_size_curve(run_curve(planned, listener, new=new))


def kfold(
    spec: SpecLike,
    *,
    data: Any = None,
    k: int | None = None,
    repeats: int | None = None,
    fold: int | None = None,
    nested: int | None = None,
    workers: int | None = None,
    launcher: Launcher = "processes",
    launcher_options: Mapping[str, Any] | None = None,
    overrides: Overrides = (),
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    device: str = "auto",
    smoke: bool = False,
    verbose: bool = False,
    allow_custom: Sequence[str] = (),
) -> Run:
    """Train a spec with k-fold validation, or with its time-series folds; the folds train together.

    Args:
        spec, data: as for `train`.
        k: number of folds; default: as the spec says, else the schema's default.
        repeats: number of repeats, each with a different split; needs `shuffle: true`.
        fold: train only this fold, counted from 0.
        nested: choose the epoch anew within each of so many outer folds; the run is then that of what was
            chosen, scored on the outer folds. With the override `nested.members=folds` it is the run of the
            inner folds, whose networks' average is scored.
        workers, launcher, launcher_options: as for `train`.
        overrides, runs_dir, data_dir, device, smoke, verbose, allow_custom: as for `train`.
    """
    from nnrun.experiment.running.job import Settings
    from nnrun.experiment.running.nested import run_nested
    from nnrun.experiment.running.shared_run import train_shared
    from nnrun.experiment.running.train import run_experiment
    from nnrun.experiment.setup.folds import load_for_kfold
    from nnrun.experiment.setup.groups import Selection

    loaded = load_for_kfold(
        spec, _changes(overrides, spec, data, runs_dir), k=k, repeats=repeats, nested=nested
    )
    selection = Selection(only_fold=_whole(fold, "fold"))
    settings = Settings("kfold", _runs_dir(runs_dir), _data_dir(data_dir), device, smoke, selection)
    shared_by = _workers(workers, launcher, launcher_options)
    with allowing(allow_custom):
        listener = _listener(verbose)
        if loaded.spec.nested is not None:
            return Run(run_nested(loaded, settings, listener, shared_by).path)
        if shared_by is not None:
            return Run(train_shared(loaded, settings, listener, shared_by).path)
        return Run(run_experiment(loaded, settings, listener).path)


def final(
    source: Run | SpecLike,
    *,
    data: Any = None,
    epochs: int | Literal["best"] | None = None,
    members: Literal["folds", "seeds"] | None = None,
    seeds: int | None = None,
    weights: Literal["last", "best"] = "last",
    allow_unknown: bool = False,
    test: PathLike | None = None,
    overrides: Overrides = (),
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    device: str = "auto",
    smoke: bool = False,
    verbose: bool = False,
    allow_custom: Sequence[str] = (),
) -> Run:
    """Retrain from scratch on all training rows, then use the test set; this makes a new run.

    Args:
        source: a run, or what `load_run` takes, whose best epoch decides how long; or a spec.
        data: of a spec, as for `train`.
        epochs: number of epochs; default: `best` for a run, the spec's own for a spec.
        members: make the average of a run's folds or seeds the model; `overrides` then only locate its files.
        weights: of these networks the weights that training ended with, or only those of best epochs.
        seeds: train with this many seeds, two or more, from the spec's up: their average is the model.
        allow_unknown: use the test set even if most of its rows hold a value that no training row has.
        test: a file of test rows with the same columns, in place of the spec's test set.
        overrides, runs_dir, data_dir, device, smoke, verbose, allow_custom: as for `train`.
    """
    from nnrun.experiment.running.ensemble import final_of_members, refuse_what_trains
    from nnrun.experiment.running.final import final_of_run, final_of_spec
    from nnrun.experiment.running.job import Settings
    from nnrun.experiment.setup.groups import Selection
    from nnrun.spec.reading.load import load_spec

    selection, epochs = Selection(seeds=_whole(seeds, "seeds", 2, "an average takes")), _of_python(epochs)
    places = (_runs_dir(runs_dir), _data_dir(data_dir), device)
    settings = Settings("final", *places, smoke, selection, allow_unknown=allow_unknown)
    spec = None if isinstance(source, Run) or not is_spec_file(source) else source
    if members is not None:
        not_with = {"epochs": epochs, "seeds": seeds, "smoke": smoke}
        refuse_what_trains(f"members={members!r}", _called(spec), not_with)
    elif weights != "last":
        raise UsageError("weights is for members, whose networks are trained; leave it out.")
    if spec is None and data is not None:
        raise UsageError("data is for a spec; a run has its own rows. Leave it out.")
    changes = _changes(overrides, spec or "", data, runs_dir)
    how: dict[str, Any] = {"test": None if test is None else Path(test), "listener": _listener(verbose)}
    with allowing(allow_custom):
        if spec is not None:
            if epochs == "best":
                raise UsageError("epochs='best' needs a run with validation; give the run, or a number.")
            return Run(final_of_spec(load_spec(spec, changes), settings, epochs=epochs, **how).path)
        run, how = _run(source, runs_dir)._directory, {**how, "overrides": changes}
        if members is not None:
            return Run(final_of_members(run, settings, members, weights=weights, **how).path)
        return Run(final_of_run(run, settings, epochs="best" if epochs is None else epochs, **how).path)


def _of_python(value: Any) -> Any:
    """A number of NumPy's as Python has it; all else as it is."""
    return value.item() if hasattr(value, "dtype") else value


def _called(spec: SpecLike | None) -> str | None:
    """What a message calls a spec; None for none."""
    if spec is None:
        return None
    return os.fspath(spec) if isinstance(spec, (str, os.PathLike)) else "the dict"


def _whole(number: Any, name: str, least: int | None = None, rule: str = "it must be") -> int | None:
    """A whole number of Python's or NumPy's; None where none is given.

    Raises:
        UsageError: it is something else, or less than it may be.
    """
    if number is None:
        return None
    truth = isinstance(number, bool) or getattr(number, "dtype", "") == "bool"
    whole = None if truth or not hasattr(number, "__index__") else index(number)
    if whole is None or (least is not None and whole < least):
        least_words = "" if least is None else f" from {least}"
        raise UsageError(f"{name} is {number!r}; {rule} a whole number{least_words}.")
    return whole


@dataclass(frozen=True)
class Tuned:
    """A model for a file of data, and what led to it.

    Attributes:
        model: the run that is the model: the networks of the folds, averaged.
        folds: the run of the folds; None where the rows cannot be split into folds.
        sweep: what chose the sizes.
        spec, best_spec: the first spec, and that of the model, as files.
        report: the page about the model.
        commands: that do the same, step by step.
    """

    model: Run
    folds: Run | None
    sweep: Sweep
    spec: Path
    best_spec: Path
    report: Path
    commands: tuple[str, ...]


def tune(
    file: PathLike | pd.DataFrame | tuple[Any, Any],
    *,
    time_limit: str | float | None = None,
    target: str | Sequence[str] = (),
    task: Literal["classification", "regression"] | None = None,
    test: PathLike | None = None,
    spec: PathLike | None = None,
    seed: int | None = None,
    new: bool = False,
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    device: str = "auto",
    verbose: bool = False,
) -> Tuned:
    """Go from a file of data to a model: a first spec, a sweep around its sizes, folds averaged, a report.

    Called again it goes on where it was interrupted; what has ended is taken as it is.

    Args:
        file: the data, as `nnrun init` takes it; or a data frame, or a pair (X, y), which is kept in the
            folder of the runs.
        time_limit: for the whole (`"10m"`, or seconds); default: ten minutes.
        target: the column to predict, or several; default: the likeliest.
        task: predict classes or a number; default: what the target looks like.
        test: a file of test rows with the same columns.
        spec: where the first spec is written, if it is not there; default: the file's stem, of a frame
            `data.yaml`, in the current folder. The other files lie beside it.
        seed: in place of the spec's.
        new: start over.
        runs_dir, data_dir, device, verbose: as for `train`.
    """
    from nnrun.experiment.init.initial_spec import Wanted
    from nnrun.experiment.running.job import Settings
    from nnrun.experiment.setup.given_data import keep_rows
    from nnrun.experiment.tuning.tune import Request, TuneLines, TuneListener
    from nnrun.experiment.tuning.tune import tune as tune_file
    from nnrun.spec.duration import canonical_duration

    targets = (target,) if isinstance(target, str) else tuple(target)
    if isinstance(file, (str, os.PathLike)):
        path, default = Path(file), f"{Path(file).resolve().name.split('.')[0]}.yaml"
    else:
        given = keep_rows(file, _runs_dir(runs_dir), targets)
        path, targets, default = given.path, given.targets or targets, "data.yaml"
    wanted = Wanted(targets, task, None if test is None else Path(test))
    place = Path(default) if spec is None else Path(spec)
    settings = Settings("tune", _runs_dir(runs_dir), _data_dir(data_dir), device)
    request = Request(path, place, wanted=wanted, seed=seed, new=new, where=where_words(settings))
    if time_limit is not None:
        request = replace(request, time_limit=canonical_duration(time_limit))
    listener = TuneLines(_write_line) if verbose else TuneListener()
    found = tune_file(request, settings, report_writer(settings.data_dir), listener)
    model, folds = Run(found.model.path), None if found.folds is None else Run(found.folds.path)
    sweep_ = Sweep(found.sweep.path)
    return Tuned(model, folds, sweep_, place, found.best, found.report, found.commands)


def where_words(settings: Settings) -> list[str]:
    """The options of a command that say where runs and data are, where that is not the default."""
    runs_dir, data_dir = settings.runs_dir, settings.data_dir
    words = [] if runs_dir == _runs_dir(None) else ["--runs-dir", str(runs_dir)]
    return words + ([] if data_dir in (None, _data_dir(None)) else ["--data-dir", str(data_dir)])


def report_writer(data_dir: Path | None) -> Callable[[RunDirectory, Path], None]:
    """What writes the page about a run into a file."""

    def write(run: RunDirectory, output: Path) -> None:
        from nnrun.experiment.describing.report import write_report
        from nnrun.experiment.finished.load_run import Access

        write_report([run], output, Access(data_dir=data_dir))

    return write


def evaluate(
    run: Run | PathLike,
    *,
    split: Literal["test", "validation"] = "test",
    weights: Literal["last", "best"] = "last",
    interval: float | None = None,
    allow_unknown: bool = False,
    overrides: Overrides = (),
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    device: str = "auto",
    allow_custom: Sequence[str] = (),
) -> Evaluation:
    """Measure a run's networks on the test set (counted in its record) or its validation rows.

    Args:
        run: the run, or what `load_run` takes: a path, an id, a name, `@last`.
        split: which rows.
        weights: those that training ended with, or those of the best epoch. The result says which they are.
        interval: the share of rows, such as 0.9, that intervals of numbers and sets of classes are to cover,
            from rows that the networks did not train on; `coverage` says how many test rows they do.
        overrides: where the files of the run's spec are now, such as `{"dataset.csv.path": "t.csv"}`.
        runs_dir: where the run is looked for, if it is named.
        data_dir, device, allow_custom: as for `train`.
    """
    from nnrun.experiment.evaluating.evaluate import evaluate_run

    with allowing(allow_custom):
        return evaluate_run(
            _run(run, runs_dir)._directory,
            _access(weights, overrides, data_dir, device, allow_unknown),
            split=split,
            interval=interval,
        )


def importance(
    run: Run | PathLike,
    *,
    metric: str | None = None,
    output: str | None = None,
    repeats: int | None = None,
    seed: int | None = None,
    curves: Sequence[str] = (),
    split: Literal["test", "validation"] = "validation",
    weights: Literal["last", "best"] = "last",
    allow_unknown: bool = False,
    overrides: Overrides = (),
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    device: str = "auto",
    allow_custom: Sequence[str] = (),
) -> ImportanceRecord:
    """How much each input column matters: how much worse a score gets when the column is shuffled.

    Args:
        run: the run, or what `load_run` takes: a path, an id, a name, `@last`.
        metric: `loss` or one of the spec's metrics; default: each output's first metric, or the loss.
        output: one of several outputs.
        repeats: how often each column is shuffled, 5 by default.
        seed: of the permutations; default: the spec's.
        curves: columns of which the result also has what is predicted on average for each value.
        split: validation rows, of folds each network's own; or the test set, which is counted in the record.
        weights, allow_unknown, overrides, runs_dir, data_dir, device, allow_custom: as for `evaluate`.
    """
    from nnrun.experiment.evaluating.importance import ImportanceSettings, measure_importance

    repeats, seed = _whole(repeats, "repeats"), _whole(seed, "seed")
    given = {"repeats": repeats} if repeats is not None else {}
    with allowing(allow_custom):
        return measure_importance(
            _run(run, runs_dir)._directory,
            _access(weights, overrides, data_dir, device, allow_unknown),
            ImportanceSettings(metric, output, seed=seed, split=split, curves=curves, **given),
        )


def check_data(
    what: Run | SpecLike | pd.DataFrame | tuple[Any, Any],
    *,
    data: Any = None,
    target: str | Sequence[str] = (),
    task: Literal["classification", "regression"] | None = None,
    test: PathLike | None = None,
    overrides: Overrides = (),
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    verbose: bool = False,
    allow_custom: Sequence[str] = (),
) -> CheckedData:
    """What is wrong with data: `findings`, the serious ones first, each with its evidence and what to do.

    Args:
        what: a spec; a file or folder of data, checked by the spec that `nnrun init` writes for it; or a run,
            whose own out-of-fold predictions judge the labels. Or a data frame, or a pair (X, y), as a file:
            findings name its rows as `file_row`, from 0.
        data: the rows of a spec, as for `train`.
        target, task, test: of a file or frame, as for `nnrun init`.
        overrides, runs_dir, data_dir, verbose, allow_custom: as for `train`, of a spec or a run.
    """
    from nnrun.experiment.checking.check import check_file, check_run, check_spec, file_of
    from nnrun.experiment.finished.load_run import Access
    from nnrun.experiment.init.initial_spec import Wanted
    from nnrun.experiment.setup.given_data import keep_rows
    from nnrun.spec.reading.load import load_spec

    listener, place = _listener(verbose), _data_dir(data_dir)
    targets = (target,) if isinstance(target, str) else tuple(target)
    test_file = None if test is None else Path(test)
    if not isinstance(what, (Run, Mapping, str, os.PathLike)):
        with tempfile.TemporaryDirectory() as folder:
            given = keep_rows(what, Path(folder), targets)
            wanted = Wanted(given.targets or targets, task, test_file)
            return check_file(given.path, wanted, listener.message)
    with allowing(allow_custom):
        is_text = isinstance(what, (str, os.PathLike))
        file = file_of(str(what), place) if is_text and data is None else None
        if file is not None:
            return check_file(file, Wanted(targets, task, test_file), listener.message)
        if not isinstance(what, Run) and is_spec_file(what):
            changes = _changes(overrides, what, data, runs_dir)
            return check_spec(load_spec(what, changes).spec, place, listener.message)
        if data is not None:
            raise UsageError("check_data: data are the rows of a spec; a run has its own.")
        access = Access(overrides=_changes(overrides), data_dir=place, listener=listener)
        return check_run(_run(what, runs_dir)._directory, access)


def predict(
    run: Run | PathLike,
    inputs: Any = None,
    *,
    split: Literal["train", "validation", "test"] | None = None,
    member: str | None = None,
    weights: Literal["last", "best"] = "last",
    probabilities: bool = True,
    spread: bool = False,
    interval: float | None = None,
    overrides: Overrides = (),
    allow_unknown: bool = False,
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    device: str = "auto",
    allow_custom: Sequence[str] = (),
) -> pd.DataFrame:
    """Predict new rows with a run's networks, which needs only the run; or rows of its data set (`split`).

    Args:
        run: the run, or what `load_run` takes. The outputs of several networks are averaged.
        inputs: an array (N, F), a data frame with the features' names, or a list of rows; for IMDB and
            Reuters a list of texts, or of token lists. Where a spec names its inputs, of a table a data frame
            with the columns of all of them, of an npz a dict with the array of each input by its name.
        split: instead of inputs, rows of the run's own data set. Of folds each validation row is predicted by
            the network that did not train on it. A look at the test set is counted in the run's record.
        member: one of several networks: `fold-2`, `seed-7`.
        weights: those that training ended with, or those of the best epoch.
        probabilities: whether the probability of each class has a column.
        spread: whether numbers and probabilities have their standard deviation over networks, `<column>_std`.
        interval: the share of rows, such as 0.9, that an interval of each number (`<column>_lower` and
            `<column>_upper`), or a set of classes (`<column>_set`), is to cover. It comes from rows that the
            networks did not train on, so the run's data are read. For inputs and for test rows.
        overrides, allow_unknown: with `split`, as for `evaluate`.
        runs_dir, device, allow_custom: as for `train`.
        data_dir: where a word index is looked for, where the run kept no vocabulary.

    Returns:
        One row for each row of the inputs: `prediction` (a class by its name, or a number in the target's own
        units) and, for classes, `probability` and `probability_<class>` of each. With `split` also `target`,
        the true one, and `file_row`, its row of a table (`pandas.read_csv(FILE).iloc[file_row]`), or `file`,
        of a folder; the index is its number in the training or test set. Of named outputs each has
        `<output>`, for classes `<output>_probability` and `<output>_<class>`, and `<output>_target`.
    """
    from nnrun.experiment.predicting.predict import load_predictor, predict_values
    from nnrun.experiment.predicting.predict_split import predict_split

    if (inputs is None) == (split is None):
        raise UsageError("predict: give inputs, or split='train', 'validation' or 'test', and not both.")
    access = _access(weights, overrides, data_dir, device, allow_unknown, member)
    with allowing(allow_custom):
        directory = _run(run, runs_dir)._directory
        if split is None:
            predictor = load_predictor(directory, access, spread=spread, interval=interval)
            return predict_values(predictor, inputs, probabilities=probabilities)
        found = predict_split(
            directory, split, access, probabilities=probabilities, spread=spread, interval=interval
        )
        return found.table(probabilities=probabilities)


def eject(
    spec: SpecLike,
    to: Literal["pytorch", "keras"],
    output: PathLike | None = None,
    *,
    overrides: Overrides = (),
    data_dir: PathLike | None = None,
    allow_custom: Sequence[str] = (),
) -> Ejected:
    """Write the training of a spec as a script for PyTorch or Keras, which needs no nnrun.

    Args:
        spec: a path, YAML or a dict.
        to: what the script trains with.
        output: the script; default: the spec's name in the working directory.
        overrides, data_dir, allow_custom: as for `train`.

    Raises:
        UsageError: something of the spec cannot be written; the message names it.
    """
    from nnrun.experiment.ejecting.eject import eject as eject_spec
    from nnrun.spec.reading.load import load_spec

    path = None if output is None else user_path(output, "output")
    with allowing(allow_custom):
        return eject_spec(load_spec(spec, _changes(overrides)), to, path, data_dir=_data_dir(data_dir))


def card(
    run: Run | PathLike,
    to: PathLike | None = None,
    *,
    license: str | None = None,
    overwrite: bool = False,
    weights: Literal["last", "best"] = "last",
    runs_dir: PathLike | None = None,
    device: str = "auto",
    allow_custom: Sequence[str] = (),
) -> Path:
    """Write a run's model card: what it predicts, its scores beside baselines, its data and its limits.

    Args:
        run: the run, or what `load_run` takes: a path, an id, a name, `@last`.
        to: a folder for the card and all that predicting needs, which `load_run` reads, and which the Hugging
            Face Hub takes as a repository; default: only the card, in the run's own folder.
        license: the model's, as the Hub calls it: `mit`, `apache-2.0`.
        overwrite: whether a README.md with another text is replaced.
        weights, runs_dir, device, allow_custom: as for `predict`.

    Returns:
        the card's path.
    """
    from nnrun.experiment.finished.load_run import Access
    from nnrun.experiment.sharing.share import share_run

    with allowing(allow_custom):
        return share_run(
            _run(run, runs_dir)._directory,
            None if to is None else user_path(to, "to"),
            Access(weights=weights, device=device),
            license_=license,
            overwrite=overwrite,
        ).card


def serve(
    run: Run | PathLike,
    *,
    host: str | None = None,
    port: int | None = None,
    probabilities: bool = False,
    spread: bool = False,
    interval: float | None = None,
    member: str | None = None,
    weights: Literal["last", "best"] = "last",
    overrides: Overrides = (),
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    device: str = "auto",
    verbose: bool = False,
    allow_custom: Sequence[str] = (),
) -> int:
    """Answer rows over HTTP with a run's networks until the process is asked to stop (Ctrl-C, SIGTERM).

    It needs the extra `serve`, the main thread, and no event loop that runs already, as in a notebook.

    Args:
        run: the run, or what `load_run` takes: a path, an id, a name, `@last`.
        host: an address of this machine; default: 127.0.0.1, which no other machine reaches.
        port: 8000 by default; 0 for one that is free (`verbose` says which).
        probabilities, interval: as for `predict`: what an answer has where its request does not say.
        spread, member, weights, overrides, runs_dir, data_dir, device, allow_custom: as for `predict`.
        verbose: whether it says on stderr where it is reached, and what is to be known of the run.

    Returns:
        how many requests were answered.
    """
    from nnrun.experiment.finished.load_run import Access
    from nnrun.experiment.serving.requests import Options
    from nnrun.experiment.serving.server import Served, place_of, serve_run

    listener = _listener(verbose)

    def started(served: Served) -> None:
        listener.message(f"{served.predictor.run.id} answers at {served.url}")

    access = Access(member, weights, _changes(overrides), _data_dir(data_dir), device, listener=listener)
    with allowing(allow_custom):
        return serve_run(
            _run(run, runs_dir)._directory,
            access,
            place_of(host, port),
            usual=Options(probabilities, interval),
            spread=spread,
            started=started,
        )


def publish(
    runs: Run | PathLike | Sequence[Run | PathLike],
    *,
    to: Literal["mlflow", "tensorboard", "wandb"],
    into: PathLike | None = None,
    experiment: str | None = None,
    model: bool = True,
    weights: Literal["last", "best"] = "last",
    runs_dir: PathLike | None = None,
    allow_custom: Sequence[str] = (),
) -> list[Published]:
    """Copy runs into a tracker of experiments, from their records alone. The same again changes nothing.

    Args:
        runs: one or several, or what `load_run` takes.
        to: the tracker, each an extra of this name.
        into: MLflow's tracking address; TensorBoard's or W&B's folder. Default: what the tracker's own
            settings say (MLFLOW_TRACKING_URI, WANDB_DIR), and `tensorboard`.
        experiment: MLflow's experiment or W&B's project; default: the experiment's name.
        model: whether the networks go along (not to TensorBoard).
        weights: which, those that training ended with or those of the best epoch.
        runs_dir: where runs are looked for, if they are named.
        allow_custom: as for `train`.

    Raises:
        UsageError: the extra is not installed, or a run is still training.
        NnrunError: the tracker refused.
    """
    from nnrun.experiment.finished.load_run import Access
    from nnrun.experiment.publishing.destination import Destination
    from nnrun.experiment.publishing.tracker import publish_runs

    several = [runs] if isinstance(runs, Run | str | os.PathLike) else runs
    found = [_run(each, runs_dir)._directory for each in several]
    place = None if into is None else str(into)
    with allowing(allow_custom):
        return publish_runs(found, to, Destination(place, experiment, model, Access(weights=weights)))


def _run(reference: Run | SpecLike, runs_dir: PathLike | None) -> Run:
    """The run that is given, or found as commands find it."""
    if isinstance(reference, Run):
        return reference
    if not isinstance(reference, (str, os.PathLike)):
        raise UsageError(f"a run is a Run, a path, an id, a name or '@last'; found {reference!r}.")
    return load_run(os.fspath(reference), runs_dir)


def load_run(reference: PathLike, runs_dir: PathLike | None = None) -> Run:
    """The run that a path, an id, a unique prefix of an id, or `@last` means.

    The path may be that of a folder which `nnrun card --to` wrote, also as downloaded from the Hub.
    """
    from nnrun.records import find_run

    def tell(text: str) -> None:
        warnings.warn(text, stacklevel=4)

    return Run(find_run(os.fspath(reference), _runs_dir(runs_dir), tell=tell).path)


def _changes(
    overrides: Overrides, spec: SpecLike = "", data: Any = None, runs_dir: PathLike | None = None
) -> list[Override]:
    """Overrides as messages to Python call them. Of rows in memory, which are kept, one names their file."""
    from nnrun.spec.reading.overrides import IN_PYTHON, overrides_of

    changes = overrides_of(overrides, IN_PYTHON)
    if data is None:
        return changes
    from nnrun.experiment.setup.given_data import data_overrides

    return [*changes, *data_overrides(spec, changes, data, _runs_dir(runs_dir))]


def _access(
    weights: Literal["last", "best"],
    overrides: Overrides,
    data_dir: PathLike | None,
    device: str,
    allow_unknown: bool,
    member: str | None = None,
) -> Access:
    """How a run is opened."""
    from nnrun.experiment.finished.load_run import Access

    return Access(member, weights, _changes(overrides), _data_dir(data_dir), device, allow_unknown)


def is_spec_file(text: SpecLike) -> bool:
    """Whether what may be a spec or name a run is a spec."""
    from nnrun.spec.reading.sources import text_of

    if isinstance(text, Mapping) or text_of(text) is not None:
        return True
    return Path(text).suffix.lower() in SPEC_ENDINGS or os.path.isfile(text)


def _runs_dir(path: PathLike | None) -> Path:
    if path is not None:
        return user_path(path, "runs_dir")
    return path_of_variable("NNRUN_RUNS_DIR") or DEFAULT_RUNS_DIR


def _data_dir(path: PathLike | None) -> Path | None:
    return user_path(path, "data_dir") if path is not None else path_of_variable("NNRUN_DATA_DIR")


def _listener(verbose: bool) -> Listener:
    from nnrun.experiment.running.listener import LineListener, Listener

    return LineListener(_write_line) if verbose else Listener()


def _write_line(line: str) -> None:
    sys.stderr.write(f"{line}\n")
