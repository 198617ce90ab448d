"""The learning curves of runs, on one figure or on one for each measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from nnrun.errors import DataError, UsageError
from nnrun.figures.curves import Curve, curve_of, curves_figure, save
from nnrun.records import MemberKind, RunDirectory, measures, member_kind, recorded_directions
from nnrun.validation import summary


@dataclass(frozen=True, eq=False)
class Panels:
    """What to draw.

    Attributes:
        curves: measure → the curve of each run, the runs in the same order.
        note: how the curves were made.
        left_out: measure → the places of the runs that lack it, for each that only some of the runs have.
    """

    curves: dict[str, list[Curve]]
    note: str
    left_out: dict[str, list[int]]

    def left_out_text(self, names: Sequence[str]) -> str:
        """What is not drawn and why, as a sentence; empty where everything is.

        Args:
            names: what to call the runs.
        """
        if not self.left_out:
            return ""
        parts = [f"{m} (not in {', '.join(names[i] for i in runs)})" for m, runs in self.left_out.items()]
        return f"Not drawn, since some runs lack it: {'; '.join(parts)}."


def make_panels(
    runs: Sequence[RunDirectory],
    *,
    labels: Sequence[str] | None = None,
    best_epochs: Sequence[int | None] | None = None,
    metric: str | None = None,
    smooth: float = 0.0,
    skip: int = 0,
) -> Panels:
    """The curves of each measure that all the runs have, or of one.

    Args:
        runs: each of several folds or seeds is drawn as their mean.
        labels: what the legend calls them; default: their ids.
        best_epochs: which epoch to mark of each; default: the best of each measure, among the epochs that
            all folds or seeds reached. Later ones are the mean of fewer, and no better for it.
        metric: only this measure.
        smooth: the share of the point before in each point.
        skip: leave out so many epochs at the start.

    Raises:
        UsageError: a run does not have the measure, or `skip` leaves nothing of it.
        DataError: a run has no history, or nothing in it.
    """
    labels = [run.id for run in runs] if labels is None else labels
    sources = [_source(run, skip) for run in runs]
    tables = [source.table for source in sources]
    have = [measures(table) for table in tables]
    every = list(dict.fromkeys(measure for names in have for measure in names))
    wanted = [measure for measure in every if all(measure in names for names in have)]
    left_out = {
        measure: [place for place, names in enumerate(have) if measure not in names]
        for measure in every
        if measure not in wanted
    }
    if metric is not None:
        wanted, left_out = [metric.removeprefix("val_")], {}
        for run, names in zip(runs, have, strict=True):
            if wanted[0] not in names:
                raise UsageError(f"{run.id} has no measure '{metric}'; it has {', '.join(names)}.")
    if not wanted:
        raise DataError(f"{runs[0].id} has no loss in its history: there is nothing to draw.")
    own: dict[str, bool] = {}
    for run in reversed(runs):
        own |= recorded_directions(run.read_record())
    curves: dict[str, list[Curve]] = {}
    for measure in wanted:
        mode = summary.monitor_mode(measure, own)
        curves[measure] = [
            curve_of(
                source.table,
                measure,
                label,
                skip=skip,
                transform=lambda values: summary.smooth(values, smooth),
                best=partial(_best_of_all, mode=mode, within=source.reached_by_all - skip),
            )
            for label, source in zip(labels, sources, strict=True)
        ]
        if best_epochs is not None:
            pairs = zip(curves[measure], best_epochs, strict=True)
            curves[measure] = [replace(curve, best_epoch=epoch) for curve, epoch in pairs]
    remarks = []
    (first, *_) = sources
    if first.kind is not None and len(runs) == 1:
        fewer = first.reached_by_all + 1
        remarks = [
            f"mean of the {first.kind}s",
            *([f"of fewer from epoch {fewer}"] if fewer <= len(first.table) else []),
        ]
    remarks += [f"smoothed ({smooth:g})"] if smooth else []
    remarks += [f"from epoch {skip + 1}"] if skip else []
    return Panels(curves, ", ".join(remarks), left_out)


def write_figure(panels: Panels, path: Path) -> Path:
    """Write one figure with all panels, and give back its path."""
    return _write(panels.curves, panels.note, path)


def write_figures(panels: Panels, folder: Path, *, prefix: str = "", suffix: str = "") -> list[Path]:
    """Write a figure for each measure to `<prefix><measure><suffix>.png` in a folder."""
    return [
        _write({measure: curves}, panels.note, folder / f"{prefix}{measure}{suffix}.png")
        for measure, curves in panels.curves.items()
    ]


def _write(curves: dict[str, list[Curve]], note: str, path: Path) -> Path:
    save(curves_figure(curves, note=note), path)
    return path


@dataclass(frozen=True, eq=False)
class _Source:
    """What a run's curves are drawn from.

    Attributes:
        table: a run's history; where it has several folds or seeds, their mean.
        kind: what they are; None where there is one network.
        reached_by_all: the last epoch that all of them reached.
    """

    table: pd.DataFrame
    kind: MemberKind | None
    reached_by_all: int


def _source(run: RunDirectory, skip: int) -> _Source:
    history = run.read_history()
    if history.empty:
        raise DataError(f"{run.id} has no epochs yet: there is nothing to draw.")
    epochs = int(history["epoch"].max())
    if skip >= epochs:
        raise UsageError(f"--skip {skip} leaves nothing of {run.id}, which has {epochs} epochs.")
    kind = member_kind(history.columns)
    if kind is None:
        return _Source(history, None, epochs)
    if history[kind].nunique() == 1:
        return _Source(history.drop(columns=kind), None, epochs)
    return _Source(summary.history_mean(history), kind, summary.reached_by_all(history, kind))


def _best_of_all(values: summary.Values, mode: summary.Mode, within: int) -> int | None:
    """The best of the first `within` values, counted from 1; None where there are none."""
    return summary.best_epoch(values[:within], mode) if within > 0 else None
