"""The figures of what `nnrun importance` found."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.experiment.evaluating.importance_text import (
    bars_title,
    curve_note,
    heading,
    measured_on,
    predicted_text,
)
from nnrun.records import RunDirectory
from nnrun.records.importance_record import (
    ColumnImportance,
    DependenceCurve,
    ImportanceRecord,
    ImportanceTable,
)
from nnrun.records.run_directory import slug
from nnrun.validation.summary import interval_of_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_importance_figures(run: RunDirectory, record: ImportanceRecord) -> list[Path]:
    """Draw what was found into the run's folder of figures.

    Raises:
        NnrunError: a figure cannot be written.
    """
    from nnrun.figures.curve_figure import save

    made = importance_figures(record)
    paths = {run.figure(name): figure for name, figure in made.items()}
    for path, figure in paths.items():
        save(figure, path)
    return list(paths)


def importance_figure_name(table: ImportanceTable) -> str:
    """Of the bars of an output."""
    return _of_output(table.output, "importance")


def curve_figure_name(curve: DependenceCurve) -> str:
    """Of a curve. Columns whose names a file name holds only in part are told apart by a hash."""
    name = slug(curve.column)
    if name != curve.column:
        name += f"-{hashlib.sha256(curve.column.encode()).hexdigest()[:4]}"
    return _of_output(curve.output, f"curve-{name}")


def _of_output(output: str | None, name: str) -> str:
    return name if output is None else f"{output}_{name}"


def _interval(record: ImportanceRecord, column: ColumnImportance) -> tuple[float, float] | None:
    """The 95 % interval of the mean, which decides whether a column is within noise; None of one value."""
    if column.std is None:
        return None
    n = record.repeats if record.over == "repeats" else record.networks
    return interval_of_mean(column.importance, column.std, n)


def importance_figures(record: ImportanceRecord) -> dict[str, Figure]:
    """Name → figure: the bars of each output, and the curves."""
    from nnrun.figures import importance_figure as figures

    made: dict[str, Figure] = {}
    for table in record.tables:
        bars = [
            figures.Bar(c.column, c.importance, _interval(record, c), certain=not c.within_noise)
            for c in table.columns
        ]
        made[importance_figure_name(table)] = figures.bars_figure(
            bars, bars_title(table), heading(table), measured_on(record, "95 % interval of the mean")
        )
    for curve in record.curves:
        lines = [figures.Line(line.name, line.mean, line.std) for line in curve.lines]
        made[curve_figure_name(curve)] = figures.dependence_figure(
            curve.column, curve.values, lines, predicted_text(curve), curve_note(record, curve)
        )
    return made
