"""`nnrun diff`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cells import cell
from nnrun.cli import completing, options
from nnrun.cli.output import in_blocks, message, print_json, shortened, terminal_width
from nnrun.errors import UsageError, printable

if TYPE_CHECKING:
    from nnrun.spec.comparing.spec_differences import SpecDifference
    from nnrun.spec.schema import ExperimentSpec


def diff(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SPEC|RUN...",
            help="Spec files or runs: path, id, prefix, @last.",
            autocompletion=completing.specs_and_runs,
        ),
    ],
    as_csv: options.Csv = False,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    as_json: options.Json = False,
) -> None:
    """Show how specs differ, with all defaults filled in, by path as --set takes it."""
    check_format(as_json=as_json, as_csv=as_csv)
    if len(sources) < 2:
        raise UsageError(f"diff needs at least two specs or runs, but got only {sources[0]}.")
    read = [_read(source, runs_dir) for source in sources]
    print_differences([name for name, _ in read], [spec for _, spec in read], as_json=as_json, as_csv=as_csv)


def _read(source: str, runs_dir: Path) -> tuple[str, ExperimentSpec]:
    """What to call a spec, and the spec."""
    if options.is_spec(source):
        from nnrun.spec.reading.load import load_spec

        return source, load_spec(source).spec

    from nnrun.experiment.finished.run_scores import read_run_spec
    from nnrun.records import SweepDirectory, find_run_or_sweep

    run = find_run_or_sweep(source, runs_dir, tell=message)
    if isinstance(run, SweepDirectory):
        best = f"its best trial's, {run.best_spec}; " if run.best_spec.is_file() else ""
        raise UsageError(
            f"{run.id} is a sweep, which has many specs. Name one: {best}the one that repeats the sweep, "
            f"{run.resolved_spec}; or a trial's run (nnrun show {run.word})."
        )
    return run.id, read_run_spec(run)


_LONGEST_VALUE = 48
_SHORTEST_CUT = 16


def check_format(*, as_json: bool, as_csv: bool) -> None:
    """Refuse two formats at once."""
    if as_json and as_csv:
        raise UsageError("--json and --csv are two formats: choose one.")


def print_differences(
    names: Sequence[str], specs: Sequence[ExperimentSpec], *, as_json: bool, as_csv: bool
) -> None:
    """Print where specs differ, as a table, as CSV or as JSON."""
    from nnrun.spec.comparing.spec_differences import spec_differences
    from nnrun.spec.wording import letters

    differences = spec_differences(specs, align=True)
    if as_json:
        values = [{"path": difference.path, "values": difference.plain} for difference in differences]
        print_json({"specs": list(names), "spec_differences": values})
    elif as_csv:
        print_csv([["path", *names], *([difference.path, *difference.texts] for difference in differences)])
    else:
        labels = [letters(place) for place in range(len(names))]
        legend = "\n".join(f"{label}  {name}" for label, name in zip(labels, names, strict=True))
        print(printable(f"{legend}\n\n{differences_table(labels, differences, terminal_width())}"))


def differences_table(labels: Sequence[str], differences: Sequence[SpecDifference], width: int | None) -> str:
    """A row for each path, a column for each spec; long values cut."""
    if not differences:
        return "The specs are the same."
    longest = _LONGEST_VALUE
    if width is not None:  # as much as there is room for
        room = width - 2 - max(len(difference.path) for difference in differences)
        longest = min(longest, max(_SHORTEST_CUT, room // len(labels) - 2))
    rows = [["", *labels], *([d.path, *_cut(d.texts, longest)] for d in differences)]
    return in_blocks(rows, width)


def _cut(texts: Sequence[str], longest: int) -> list[str]:
    """Texts that fit, with what tells them apart: a long beginning that is common to all gives way first."""
    if all(len(text) <= longest for text in texts):
        return list(texts)
    places = enumerate(zip(*texts, strict=False))
    alike = next((place for place, letters in places if len(set(letters)) > 1), min(map(len, texts)))
    start = max(0, alike - longest // 3)
    beginning = "…" if start > 1 else ""
    return [shortened(beginning + text[start if beginning else 0 :], longest) for text in texts]


def print_csv(rows: Sequence[Sequence[Any]]) -> None:
    """Print rows as CSV; floats as they read back bit for bit, nothing for None."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([cell(value) for value in row] for row in rows)
    print(printable(text.getvalue()), end="")
