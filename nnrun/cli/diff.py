"""`nnrun diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnrun.cli import options
from nnrun.cli.differences_table import check_format, print_differences
from nnrun.errors import UsageError

if TYPE_CHECKING:
    from nnrun.spec.schema import ExperimentSpec


def diff(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SPEC|RUN...", help="Spec files or runs: path, id, prefix, @last."),
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
    from nnrun.records import find_run

    run = find_run(source, runs_dir)
    return run.id, read_run_spec(run)
