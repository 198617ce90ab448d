"""What `--resume` does, the same for every command that trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.cli.output import message
from nnrun.cli.running import train_and_report
from nnrun.errors import UsageError

if TYPE_CHECKING:
    from nnrun.experiment.listener import Listener
    from nnrun.records import RunDirectory
    from nnrun.spec.load import LoadedSpec
    from nnrun.spec.overrides import Overrides


def resume_and_report(
    name: str,
    *,
    command: str = "train",
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
        command: that `--resume` was given to. `train` resumes a run of any command, others only their own.
        spec: the spec that was named as well; it must be the run's.
        changes: what the command line changes in the run's spec where none was named.
        not_with: option → value of what was fixed already; none of it may be given.
        runs_dir, data_dir: as everywhere.
        device: `auto` for the run's.
        allow_inexact: continue even if the result may differ in the last digits.
        quiet, verbose, as_json: as for `train_and_report`.

    Raises:
        UsageError: one of `not_with` was given, or the run is one of another command.
    """
    given = [option for option, value in (not_with or {}).items() if value not in (None, False)]
    if given:
        raise UsageError(f"{given[0]} was fixed when the run started; leave it out with --resume.")

    from nnrun.experiment.resume import resume_run
    from nnrun.records import find_run

    run = find_run(name, runs_dir)
    _refuse_another_command(run, command)

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


def _refuse_another_command(run: RunDirectory, command: str) -> None:
    """Raise UsageError where a run would be resumed as something that it is not, such as folds."""
    from nnrun.records import members_of_record

    record = run.read_record()
    started = record.get("command") or "train"
    same = command in ("train", started) or (command == "kfold" and members_of_record(record)[0] == "fold")
    if not same:
        raise UsageError(
            f"{run.id} was started by `nnrun {started}`, so `nnrun {command}` cannot resume it. Resume it "
            f"with: nnrun train --resume {run.path}"
        )
