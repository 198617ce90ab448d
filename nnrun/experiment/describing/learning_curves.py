"""The learning curves of runs, on one figure or on one for each measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnrun.errors import DataError, UsageError
from nnrun.experiment.finished.verdict import best_of_run
from nnrun.figures.curve_figure import Curve, Phase, curve_of, curves_figure, outputs_among, save
from nnrun.history_table import HistoryTable
from nnrun.records import MemberType, RunDirectory, measures, member_type_of
from nnrun.spec.score_columns import INNER
from nnrun.validation import summary


@dataclass(frozen=True, eq=False)
class Panels:
    """What to draw.

    Attributes:
        curves: measure → the curve of each run, the runs in the same order.
        note: how the curves were made.
        left_out: measure → the places of the runs that lack it, for each that only some of the runs have.
        empty: measure → the places of the runs that have no finite value of it, for each of which some run
            has none. What no run has is not among `curves`, of which there may be none at all.
        log: whether the vertical axes are logarithmic.
        outputs: the names of the outputs of the runs.
    """

    curves: dict[str, list[Curve]]
    note: str
    left_out: dict[str, list[int]]
    empty: dict[str, list[int]] = field(default_factory=dict)
    log: bool = False
    outputs: tuple[str, ...] = ()

    def left_out_text(self, names: Sequence[str]) -> str:
        """What is not drawn and why, as sentences; empty where everything is.

        Args:
            names: what to call the runs.
        """
        sentences = []
        if self.left_out:
            parts = [f"{m} (not in {', '.join(names[i] for i in runs)})" for m, runs in self.left_out.items()]
            sentences.append(f"Not drawn, since some runs lack it: {'; '.join(parts)}.")
        if self.empty:
            parts = [
                f"{measure} ({', '.join(names[i] for i in runs)})" if len(names) > 1 else measure
                for measure, runs in self.empty.items()
            ]
            where = " on a logarithmic axis, which needs values above 0" if self.log else ""
            sentences.append(f"There is no finite value to draw{where}: {', '.join(parts)}.")
        return " ".join(sentences)


def make_panels(
    runs: Sequence[RunDirectory],
    *,
    labels: Sequence[str] | None = None,
    metric: str | None = None,
    only: Phase | None = None,
    smooth: float = 0.0,
    skip: int = 0,
    log: bool = False,
) -> Panels:
    """The curves of each measure that all the runs have, or of one.

    The best epoch of a run is marked on the curve of the column that chose it, and on no other.

    Args:
        runs: each of several folds or seeds is drawn as their mean.
        labels: what the legend calls them; default: their ids.
        metric: only this measure.
        only: only the training or only the validation curves.
        smooth: the share of the point before in each point.
        skip: leave out so many epochs at the start.
        log: for logarithmic axes, where what is not above 0 is a gap.

    Raises:
        UsageError: a run does not have the measure or the phase, or `skip` leaves nothing of it.
        DataError: a run has no history, or nothing in it.
    """
    _refuse_what_lacks_the_phase(runs, only)
    labels = [run.id for run in runs] if labels is None else labels
    sources = [_source(run, skip) for run in runs]
    have = [measures(source.table.columns) for source in sources]
    wanted, left_out = _wanted(runs, have, metric)
    curves: dict[str, list[Curve]] = {}
    empty: dict[str, list[int]] = {}
    for measure in wanted:
        own_columns = (f"val_{measure}", INNER + measure)
        drawn = [
            curve_of(
                source.table,
                measure,
                label,
                skip=skip,
                transform=lambda values: summary.smooth(values, smooth),
                only=only,
                log=log,
                best_epoch=source.best_epoch if source.chosen_by in own_columns else None,
            )
            for label, source in zip(labels, sources, strict=True)
        ]
        without = [place for place, curve in enumerate(drawn) if curve.is_empty]
        if without:
            empty[measure] = without
        if len(without) < len(drawn):
            curves[measure] = drawn
    remarks = _remarks(sources, smooth=smooth, skip=skip, log=log)
    outputs = tuple(dict.fromkeys(name for names in have for name in outputs_among(names)))
    return Panels(curves, ", ".join(remarks), left_out, empty, log, outputs)


def _remarks(sources: Sequence[_Source], *, smooth: float, skip: int, log: bool) -> list[str]:
    """What is to be known of the curves."""
    remarks = list(sources[0].remarks) if len(sources) == 1 else []
    if len(sources) > 1 and any(source.last < source.epochs for source in sources):
        remarks.append("means end with the first of their folds or seeds")
    remarks += [f"smoothed ({smooth:g})"] if smooth else []
    remarks += [f"from epoch {skip + 1}"] if skip else []
    remarks += ["logarithmic"] if log else []
    return remarks


def _wanted(
    runs: Sequence[RunDirectory], have: Sequence[Sequence[str]], metric: str | None
) -> tuple[list[str], dict[str, list[int]]]:
    """The measures that all runs have, or the one that is asked for; and of each other one who lacks it."""
    every = list(dict.fromkeys(measure for names in have for measure in names))
    lack = {m: [place for place, names in enumerate(have) if m not in names] for m in every}
    wanted = [measure for measure in every if not lack[measure]]
    if metric is not None:
        wanted = [metric.removeprefix("val_")]
        for run, names in zip(runs, have, strict=True):
            if wanted[0] not in names:
                raise UsageError(f"{run.id} has no measure '{metric}'; it has {', '.join(names)}.")
        return wanted, {}
    if not wanted:
        raise DataError(f"{runs[0].id} has no loss in its history: there is nothing to draw.")
    return wanted, {measure: places for measure, places in lack.items() if places}


def write_figure(panels: Panels, path: Path) -> Path:
    """Write one figure with all panels, and give back its path."""
    return _write(panels, panels.curves, path)


def write_figures(panels: Panels, folder: Path, *, prefix: str = "", suffix: str = "") -> list[Path]:
    """Write a figure for each measure to `<prefix><measure><suffix>.png` in a folder."""
    return [
        _write(panels, {measure: curves}, folder / f"{prefix}{measure}{suffix}.png")
        for measure, curves in panels.curves.items()
    ]


def _write(panels: Panels, curves: dict[str, list[Curve]], path: Path) -> Path:
    save(curves_figure(curves, note=panels.note, log=panels.log, outputs=panels.outputs), path)
    return path


@dataclass(frozen=True, eq=False)
class _Source:
    """What a run's curves are drawn from.

    Attributes:
        table: a run's history; where it has several folds or seeds, their mean, up to the last epoch that
            all of them reached: later it would jump wherever one ended.
        kind: what they are; None where there is one network.
        epochs: the last epoch that any of them reached.
        chosen_by: the column that chose the best epoch; None where nothing was validated.
        best_epoch: the epoch that it chose; None where the run averages networks that another trained.
        parent: the run that trained them then, of which the curves are.
    """

    table: HistoryTable
    kind: MemberType | None
    epochs: int
    chosen_by: str | None
    best_epoch: int | None
    parent: str | None = None

    @property
    def remarks(self) -> list[str]:
        """Over which folds or seeds the mean is, and where it ends before the last of them."""
        if self.kind is None:
            return []
        ends = [f"to epoch {self.last}, the last that all reached"] if self.last < self.epochs else []
        whose = "" if self.parent is None else f" of {self.parent}, which trained them"
        return [f"mean of the {self.kind}s{whose}", *ends]

    @property
    def last(self) -> int:
        """The last epoch that is drawn."""
        return int(self.table["epoch"].max())


def _source(run: RunDirectory, skip: int) -> _Source:
    history = run.read_history_table()
    if history.empty:
        raise DataError(f"{run.id} has no epochs yet: there is nothing to draw.")
    epochs, kind = int(history["epoch"].max()), member_type_of(history.columns)
    reached = epochs if kind is None else summary.reached_by_all(history, kind)
    if skip >= reached:
        of_all = "" if reached == epochs else f" that all {kind}s reached"
        raise UsageError(f"--skip {skip} leaves nothing of {run.id}, which has {reached} epochs{of_all}.")
    record = run.read_record()
    chosen_by, best_epoch = best_of_run(record, history)
    parent = record.parent if record.trained_elsewhere else None
    if parent is not None:  # each network has weights of its own epoch
        best_epoch = None
    if kind is None:
        return _Source(history, None, epochs, chosen_by, best_epoch)
    if len(set(history[kind].tolist())) == 1:
        return _Source(history.without(kind), None, epochs, chosen_by, best_epoch)
    return _Source(summary.mean_of_all(history, kind), kind, epochs, chosen_by, best_epoch, parent)


def _refuse_what_lacks_the_phase(runs: Sequence[RunDirectory], only: Phase | None) -> None:
    """Raise UsageError where a phase is asked for that a run does not have."""
    if only != "validation":
        return
    columns = {run.id: run.read_history_table().columns for run in runs}
    without = [id_ for id_, names in columns.items() if not any(name.startswith("val_") for name in names)]
    if without:
        raise UsageError(
            f"{', '.join(without)} had no validation: there is no validation curve to draw. Leave out --only."
        )
