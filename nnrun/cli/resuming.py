"""What `--resume` does, the same for every command that trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.cli.output import message
from nnrun.cli.running import train_and_report
from nnrun.errors import UsageError

if TYPE_CHECKING:
    from nnrun.experiment.running.listener import Listener
    from nnrun.records import RunDirectory
    from nnrun.spec.reading.load import LoadedSpec
    from nnrun.spec.reading.overrides import Overrides


def resume_and_report(
    name: str,
    *,
    spec: LoadedSpec | None = None,
    changes: Overrides = (),
    not_with: Mapping[str, object] | None = None,
    runs_dir: Path,
    data_dir: Path | None,
    device: str,
    allow_inexact: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Resume a run, show its progress, and print its closing screen, or its record as JSON.

    Args:
        name: the run, as the command line has it.
        spec: the spec that was named as well; it must be the run's.
        changes: what the command line changes in the run's spec where none was named.
        not_with: option → value of what was fixed already; none of it may be given.
        runs_dir, data_dir: as everywhere.
        device: `auto` for the run's.
        allow_inexact: continue even if the result may differ in the last digits.
        quiet, verbose, as_json: as for `train_and_report`.

    Raises:
        UsageError: one of `not_with` was given.
    """
    given = [option for option, value in (not_with or {}).items() if value not in (None, False)]
    if given:
        raise UsageError(f"{given[0]} was fixed when the run started; leave it out with --resume.")

    from nnrun.experiment.running.resume import resume_run
    from nnrun.records import find_run

    run = find_run(name, runs_dir)

    def start(listener: Listener) -> RunDirectory:
        done = resume_run(
            run,
            spec=None if spec is None else spec.spec,
            overrides=() if spec is not None else changes,
            data_dir=data_dir,
            device=None if device == "auto" else device,
            allow_inexact=allow_inexact,
            listener=listener,
        )
        if not done and not quiet:
            message(f"{run.id} has ended: there is nothing to resume.")
        return run

    return train_and_report(start, quiet=quiet, verbose=verbose, as_json=as_json)
