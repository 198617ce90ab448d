"""The learning curves of runs, on one figure or on one for each measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
        best_epochs: which epoch to mark of each; default: the best of each measure.
        metric: only this measure.
        smooth: the share of the point before in each point.
        skip: leave out so many epochs at the start.

    Raises:
        UsageError: a run does not have the measure, or `skip` leaves nothing of it.
        DataError: a run has no history, or nothing in it.
    """
    labels = [run.id for run in runs] if labels is None else labels
    tables, kinds = zip(*(_table(run, skip) for run in runs), strict=True)
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
                table,
                measure,
                label,
                skip=skip,
                transform=lambda values: summary.smooth(values, smooth),
                best=lambda values, mode=mode: summary.best_epoch(values, mode),  # type: ignore[misc]
            )
            for label, table in zip(labels, tables, strict=True)
        ]
        if best_epochs is not None:
            pairs = zip(curves[measure], best_epochs, strict=True)
            curves[measure] = [replace(curve, best_epoch=epoch) for curve, epoch in pairs]
    remarks = []
    if kinds[0] is not None and len(runs) == 1:
        remarks = [f"mean of the {kinds[0]}s"]
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


def _table(run: RunDirectory, skip: int) -> tuple[pd.DataFrame, MemberKind | None]:
    """A run's history; where it has several folds or seeds, their mean and what they are."""
    history = run.read_history()
    if history.empty:
        raise DataError(f"{run.id} has no epochs yet: there is nothing to draw.")
    epochs = int(history["epoch"].max())
    if skip >= epochs:
        raise UsageError(f"--skip {skip} leaves nothing of {run.id}, which has {epochs} epochs.")
    kind = member_kind(history.columns)
    if kind is None:
        return history, None
    if history[kind].nunique() == 1:
        return history.drop(columns=kind), None
    return summary.history_mean(history), kind
