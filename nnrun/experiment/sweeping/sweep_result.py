"""The result of a sweep: the best trial's spec, and a figure of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnrun.experiment.sweeping.rate_test_result import COMMAND as RATE_TEST
from nnrun.experiment.sweeping.rate_test_result import draw_rate_test, read_rate_test
from nnrun.experiment.sweeping.size_curve_result import COMMAND as CURVE
from nnrun.experiment.sweeping.size_curve_result import draw_size_curve, read_size_curve
from nnrun.records import SweepDirectory, SweepRecord
from nnrun.spec import schema
from nnrun.spec.writing.dump import dump_spec
from nnrun.spec.writing.value_labels import key_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def best_text(sweep: SweepDirectory, record: SweepRecord, spec: schema.ExperimentSpec) -> str:
    """The best trial's spec, as a file that says where it comes from."""
    best = record.ranked()[0]
    return (
        f"# The best so far of {sweep.id}: trial {best.number} of {record.total}, run {best.run},\n"
        f"# {record.monitor} {best.score:.6g} at epoch {best.epoch}. The best of many validation scores is "
        "optimistic:\n# only rows that were not used to choose it can measure it (nnrun final).\n"
        f"{dump_spec(spec)}"
    )


def draw_sweep(sweep: SweepDirectory, record: SweepRecord, section: schema.Sweep) -> None:
    """Draw the figure of a sweep: its trials' scores against each key; of a range test the losses; of
    a learning curve the scores against the rows."""
    sweep.make_plots()
    if record.command == RATE_TEST:
        draw_rate_test(read_rate_test(sweep), sweep.figure)
        return
    if record.command == CURVE:
        draw_size_curve(read_size_curve(sweep), sweep.figure)
        return
    from nnrun.figures.curve_figure import save  # it brings Matplotlib, which takes half a second

    save(figure_of(record, section), sweep.figure)


def figure_of(record: SweepRecord, section: schema.Sweep) -> Figure:
    """The figure of a sweep that has scores: those of its trials against each key."""
    from nnrun.figures.sweep_figure import panel_of, sweep_figure

    scored = sorted(record.ranked(), key=lambda trial: trial.number)
    labels = key_labels(list(section.over))
    panels = [
        panel_of(
            labels[key],
            [trial.values[key] for trial in scored],
            log=isinstance(tried, schema.LogUniform),
            order=tried if isinstance(tried, list) else (),
        )
        for key, tried in section.over.items()
    ]
    return sweep_figure(
        panels,
        [trial.score or 0.0 for trial in scored],
        record.monitor,
        best=scored.index(record.ranked()[0]),
    )
