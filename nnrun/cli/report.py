"""`nnrun report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from nnrun.cli import options
from nnrun.cli.output import message, print_result
from nnrun.errors import UsageError


def report(
    runs: options.Runs,
    output: Annotated[
        Path | None,
        options.output_file("FILE.html", "Default: in the first run's folder."),
    ] = None,
    weights: options.Weights = "last",
    set_: options.SetPaths = None,
    allow_custom: options.AllowCustom = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write an HTML page about one run or several: scores, curves, mistakes, spec, data.

    The page about a sweep has its trials, the figure, the best and what chose it.
    """
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"-o must name a .html file, but got {output}.")

    from nnrun.cli.running import listener_for
    from nnrun.experiment.describing.report import write_report
    from nnrun.experiment.finished.load_run import Access
    from nnrun.records import SweepDirectory, find_run_or_sweep, find_runs, is_pattern

    # One alone may be a sweep; several, and patterns, are runs.
    meant = (
        find_run_or_sweep(runs[0], runs_dir, tell=message)
        if len(runs) == 1 and not is_pattern(runs[0])
        else None
    )
    if isinstance(meant, SweepDirectory):
        from nnrun.experiment.describing.sweep_report import write_sweep_report

        page = write_sweep_report(meant, output)
        print_result(as_json, lambda: {"report": str(page)}, lambda: str(page))
        return
    found = find_runs(runs, runs_dir, tell=message) if meant is None else [meant]
    listener = listener_for(quiet=quiet, verbose=False)
    access = Access(weights=weights, overrides=set_ or (), data_dir=data_dir, listener=listener)
    path = write_report(found, output, access)
    print_result(as_json, lambda: {"report": str(path)}, lambda: str(path))
