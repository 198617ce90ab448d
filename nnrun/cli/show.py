"""`nnrun show`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.output import aligned, message, print_result, shortened, terminal_width, wrapped
from nnrun.errors import UsageError, printable
from nnrun.spec.ports import INPUT

if TYPE_CHECKING:
    from nnrun.experiment.describing.describe_spec import Description, PlannedColumn
    from nnrun.records import LookCount, RunDirectory, RunRecord, SweepDirectory
    from nnrun.spec import schema
    from nnrun.spec.reading.load import LoadedSpec

_MOST_COLUMNS = 40
_LEAST_STEPS = 20
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def show(
    source: options.SpecOrRun,
    set_: options.Set = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    data_dir: options.DataDir = None,
    allow_custom: options.AllowCustom = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            parser=options.path,
            help="Only draw the network's layers: .png or .svg.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show a spec with all defaults filled in, its network and its data; for a run also its results.

    Of a sweep its trials, the best and what chose it are shown, and what was chosen within outer folds.
    """
    options.check_figure(plot, "--plot")

    from nnrun.spec.reading.load import load_spec

    run: RunDirectory | None = None
    if options.is_spec(source):
        loaded = load_spec(source, set_ or ())
    else:
        from nnrun.experiment.finished.load_run import load_run_spec
        from nnrun.records import SweepDirectory, find_run_or_sweep

        run_or_sweep = find_run_or_sweep(source, runs_dir, tell=message)
        if isinstance(run_or_sweep, SweepDirectory):
            _show_sweep(run_or_sweep, {"--set": set_, "--plot": plot}, as_json)
            return
        run = run_or_sweep
        loaded = load_run_spec(run, set_ or ())
    if plot is not None:
        _draw(loaded, data_dir, run, plot)
        _warn(loaded, as_json)
        print_result(as_json, lambda: {"figure": str(plot)}, lambda: str(plot))
        return
    description = _described(loaded, data_dir, run)
    _warn(loaded, as_json)
    print_result(
        as_json, lambda: _document(loaded, description, run), lambda: _text(loaded, description, run)
    )


def _show_sweep(sweep: SweepDirectory, not_with: Mapping[str, object], as_json: bool) -> None:
    """Print what a sweep's record tells."""
    from nnrun.cli.closing import sweep_closing_text, sweep_document

    for option, value in not_with.items():
        if value:
            raise UsageError(
                f"{option} is for a spec or a run, and {sweep.id} is a sweep. Leave it out; or name the run "
                f"of a trial, or the spec {sweep.best_spec}."
            )
    record, problem = sweep.read_sound_part()
    if problem is not None:
        message(printable(f"The record of {sweep.id} is damaged: {problem}. What could be read of it:"))
    print_result(
        as_json,
        lambda: sweep_document(sweep, record),
        lambda: sweep_closing_text(sweep, record, every=True),
    )


def _warn(loaded: LoadedSpec, as_json: bool) -> None:
    if not as_json:
        for warning in loaded.warnings:
            message(warning.render())


def _draw(loaded: LoadedSpec, data_dir: Path | None, run: RunDirectory | None, path: Path) -> None:
    """Write the picture of a network, and say it where its shapes are not known."""
    from nnrun.cli.running import listener_for
    from nnrun.experiment.describing.network_picture import network_figure, network_of_run, network_of_spec
    from nnrun.figures.curve_figure import save

    listener = listener_for(quiet=False, verbose=False)
    if run is None:
        known = network_of_spec(loaded.spec, data_dir, listener)
    else:
        known = network_of_run(run, loaded.spec, data_dir, listener)
    if known.network is None:
        message(printable(f"The picture has no shapes: {known.missing}"))
    save(network_figure(loaded.spec, known), path)


def _described(loaded: LoadedSpec, data_dir: Path | None, run: RunDirectory | None) -> Description:
    from nnrun.cli.running import listener_for
    from nnrun.experiment.describing.describe_spec import describe_spec
    from nnrun.experiment.finished.load_run import selection_of
    from nnrun.records import RunRecord

    record = RunRecord() if run is None else run.read_record()
    return describe_spec(
        loaded.spec,
        data_dir,
        listener_for(quiet=False, verbose=False),
        smoke=record.smoke,
        selection=selection_of(record),
    )


def _document(loaded: LoadedSpec, description: Description, run: RunDirectory | None) -> dict[str, Any]:
    from nnrun.spec.writing.dump import dump_value

    document = {"spec": dump_value(loaded.spec), **asdict(description)}
    if not description.inner_rows:
        del document["inner_rows"]
    if run is None:
        return document
    record = run.read_record()
    return {**document, "run": {**record.to_json(), "path": str(run.path), **_looks_document(run, record)}}


def _text(loaded: LoadedSpec, description: Description, run: RunDirectory | None) -> str:
    from nnrun.experiment.describing.describe_spec import rates_in_words
    from nnrun.spec.writing.dump import dump_spec

    width = terminal_width()
    blocks = [(dump_spec(loaded.spec) if width is None else dump_spec(loaded.spec, width)).rstrip()]
    if description.columns:
        blocks.append(_columns(description.columns))
    if description.layers:
        blocks.append(_network(description, loaded.spec.ensemble))
    blocks.append(_data(description))
    if rates := rates_in_words(loaded.spec):
        blocks.append(wrapped(rates, terminal_width()))
    if run is not None:
        from nnrun.cli.closing import closing_text

        record = run.read_record()
        blocks.append(closing_text(run, record, _looks(run, record), verbose=True))
    return printable("\n\n".join(blocks))


def _looks_document(run: RunDirectory, record: RunRecord) -> dict[str, int | None]:
    looks = _looks(run, record)
    by_name, by_any = (None, None) if looks is None else (looks.by_name, looks.by_any)
    return {"looks": by_name, "looks_of_any": by_any}


def _looks(run: RunDirectory, record: RunRecord) -> LookCount | None:
    """How often the run's test set has been looked at; None where the run has not."""
    from nnrun.records import all_looks

    if not record.test_uses:
        return None
    looks = all_looks(run.runs_dir)
    if looks.problem is not None:
        message(printable(looks.problem))
    return looks.of_record(record)


def _columns(columns: Sequence[PlannedColumn]) -> str:
    """How each column of a table is prepared."""
    shown = columns[:_MOST_COLUMNS]
    rows = [["column", "type", "steps", "features"]]
    for column in shown:
        steps = ", ".join(column.steps) or "none"
        marked = f"{steps} (default)" if column.default else steps
        features = f"{column.features:,}{', sparse' if column.sparse else ''}"
        rows.append([shortened(column.name, 30), column.kind, marked, features])
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    width = terminal_width()
    if width is not None:  # long lists of steps go on below
        others = 8 + widths[0] + widths[1] + max(len(row[3]) for row in rows)
        widths[2] = min(widths[2], max(_LEAST_STEPS, width - others))
    lines = []
    for name, kind, steps, features in rows:
        first, *more = wrapped(steps, widths[2]).split("\n")
        for cells in ([name, kind, first, features], *(["", "", line, ""] for line in more)):
            padded = (cell.ljust(w) for cell, w in zip(cells, [*widths, 0], strict=True))
            lines.append(f"  {'  '.join(padded)}".rstrip())
    if len(columns) > len(shown):
        lines.append(f"  ... and {len(columns) - len(shown):,} more columns (--json has them all)")
    return "\n".join(lines)


def _network(description: Description, ensemble: schema.Ensemble | None) -> str:
    rows = [
        ["layer", "output", "parameters"],
        *([name, _shape(shape), ""] for name, shape in description.input_shapes.items()),
    ]
    if not description.input_shapes:
        rows.append(["inputs", _shape(description.row_shape or (description.features or 0,)), ""])
    if any(layer.takes for layer in description.layers):
        rows = [[*row, "" if i else "takes"] for i, row in enumerate(rows)]
    for layer in description.layers:
        learned = "shared" if layer.again else f"{layer.parameters:,}"
        row = [f"{layer.position}: {layer.description}", _shape(layer.outputs), learned]
        takes = ["inputs" if name == INPUT else name for name in layer.takes]
        rows.append([*row, ", ".join(takes)] if takes else row)
    networks = "" if description.replicas == 1 else f", in each of {description.replicas} networks"
    kept = f" and {description.state:,} moving statistics, which are not learned" if description.state else ""
    members = "" if ensemble is None else f" of {ensemble.members} members"
    return f"{aligned(rows)}\n  {description.parameters:,} parameters{kept}{members}{networks}"


def _shape(shape: tuple[int, ...]) -> str:
    """A single number as it is, several as `(8, 8, 32)`."""
    return f"{shape[0]:,}" if len(shape) == 1 else f"({', '.join(map(str, shape))})"


def _data(description: Description) -> str:
    if description.missing is not None:
        return wrapped(f"The data could not be read: {description.missing}", terminal_width())
    validated = f"{description.validation_rows:,}" if description.validation_rows else "none"
    inner = f"{description.inner_rows:,} inner ones to stop by, " if description.inner_rows else ""
    rows = f"{description.train_rows:,} rows to train on, {inner}{validated} to validate on"
    rows += f", each {description.kind}" if description.replicas > 1 else ""
    rows += f"; {description.test_rows:,} test rows" if description.test_rows else "; no test set"
    held = f"{_size(description.bytes)} in memory"
    if description.ones is not None:
        entries = "ones" if description.all_ones else "entries"
        held = f"{description.ones:,} {entries} in {held} (as dense rows: {_size(description.dense_bytes)})"
    memory = description.memory
    if memory is None:
        return wrapped(f"{rows}\n{held}", terminal_width())
    parts = {
        "reading": memory.reading,
        "then data": memory.data,
        "rows": memory.rows,
        "networks": memory.networks,
        "work": memory.work,
    }
    told = ", ".join(f"{name} {_size(number)}" for name, number in parts.items())
    peak = f"about {_size(memory.peak)} at the peak, in addition to Python and PyTorch themselves"
    return wrapped(f"{rows}\n{held}\n{peak}: {told}", terminal_width())


def _size(number: int | None) -> str:
    """A number of bytes with at most four digits."""
    value, unit = float(number or 0), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"
