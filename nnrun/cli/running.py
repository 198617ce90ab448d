"""What the commands that train have in common: progress, what is printed at the end, and `--resume`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnrun.cli.options import Resuming, Training
from nnrun.cli.output import live_screen, message, print_result
from nnrun.errors import EXIT_INTERRUPTED, Problem, UsageError

if TYPE_CHECKING:
    from nnrun.experiment.launching.launcher import Workers
    from nnrun.experiment.running.listener import Listener
    from nnrun.experiment.sweeping.sweep_listener import SweepListener
    from nnrun.records import RunDirectory, SweepDirectory
    from nnrun.spec.reading.load import LoadedSpec
    from nnrun.spec.reading.overrides import Overrides


def train_and_report(
    start: Callable[[Listener], RunDirectory], options: Training, warnings: Sequence[Problem] = ()
) -> int:
    """Run an experiment, show how it goes, and print its closing screen, or its record as JSON.

    Args:
        start: runs the experiment and reports to the listener.
        options: what is shown, and how.
        warnings: what is doubtful in the spec.

    Returns:
        0, or 130 where the user interrupted it.
    """
    from nnrun.cli.closing import closing_text
    from nnrun.experiment.running.recorder import RunInterrupted

    show_warnings(warnings, options)
    try:
        run, interrupted = start(listener_for(quiet=options.quiet, verbose=options.verbose)), False
    except RunInterrupted as interruption:
        run, interrupted = interruption.run, True
    record = run.read_record()
    with _perhaps_unread(interrupted):
        print_result(
            options.as_json,
            lambda: {**record.to_json(), "path": str(run.path)},
            lambda: closing_text(run, record, verbose=options.verbose),
        )
    return EXIT_INTERRUPTED if interrupted else 0


@contextlib.contextmanager
def _perhaps_unread(interrupted: bool) -> Iterator[None]:
    """Print to the end. A terminal that was closed asked for the end, and reads nothing."""
    with contextlib.suppress(*([OSError] if interrupted else [])):
        yield
        sys.stdout.flush()


def sweep_and_report(
    start: Callable[[SweepListener], SweepDirectory], options: Training, warnings: Sequence[Problem] = ()
) -> int:
    """Run a sweep, show how it goes, and print its closing screen, or its record as JSON.

    Args:
        start: runs the sweep and reports to the listener.
        options: what is shown, and how.
        warnings: what is doubtful in the spec.

    Returns:
        0; 1 where no trial has a score; 130 where the user interrupted it.
    """
    from nnrun.cli.closing import sweep_closing_text, sweep_document
    from nnrun.experiment.sweeping.at_work import SweepInterrupted

    show_warnings(warnings, options)
    try:
        sweep, interrupted = start(sweep_listener(options)), False
    except SweepInterrupted as interruption:
        sweep, interrupted = interruption.sweep, True
    record = sweep.read_record()
    with _perhaps_unread(interrupted):
        print_result(
            options.as_json, lambda: sweep_document(sweep, record), lambda: sweep_closing_text(sweep, record)
        )
    return EXIT_INTERRUPTED if interrupted else 0 if record.ranked() else 1


def resume_and_report(
    resuming: Resuming,
    options: Training,
    *,
    command: str = "train",
    spec: LoadedSpec | None = None,
    overrides: Overrides = (),
    not_with: Mapping[str, object] | None = None,
    workers: Workers | None = None,
) -> int:
    """Resume a run, show its progress, and print its closing screen, or its record as JSON.

    Args:
        resuming: names the run.
        options: `device` is `auto` for the run's; `compile_` is the run's always.
        command: that `--resume` was given to. `train` resumes a run of any command, others only their own.
        spec: the spec that was named as well; it must be the run's.
        overrides: what the command line changes in the run's spec where none was named.
        not_with: option → value of what was fixed already; none of it may be given.
        workers: who goes on with a run that workers share; default: as many as it has parts.

    Raises:
        UsageError: one of `not_with` was given, `--compile`, or a run of another command.
    """
    compile_ = None if options.compile_ == "auto" else options.compile_
    _refuse_what_was_fixed({**(not_with or {}), "--compile": compile_})

    from nnrun.experiment.running.nested import go_on_with_nested
    from nnrun.experiment.running.on_ranks import leading
    from nnrun.experiment.running.resume import resume_run
    from nnrun.experiment.running.shared_run import is_shared, resume_shared
    from nnrun.ranks import launched
    from nnrun.records import find_run

    run = find_run(resuming.resume or "", options.runs_dir, tell=message)
    _refuse_another_command(run, command)
    shared = is_shared(run)
    _refuse_by_workers(run, shared=shared, changed=bool(overrides) and spec is None, workers=workers)
    how: dict[str, Any] = {
        "spec": None if spec is None else spec.spec,
        "data_dir": options.data_dir,
        "device": None if options.device == "auto" else options.device,
    }

    def start(listener: Listener) -> RunDirectory:
        if shared:
            by = resume_shared(run, workers, listener=listener, **how)
            return go_on_with_nested(run, options.settings(command), listener, by)
        with leading(launched(), options.device) as ranks:
            how["overrides"] = () if spec is not None else overrides
            inexact = resuming.allow_inexact
            done = resume_run(run, allow_inexact=inexact, listener=listener, ranks=ranks, **how)
        outer = go_on_with_nested(run, options.settings(command), listener, workers)
        if not done and outer is run and (overrides or not options.quiet):  # what was asked for is not done
            message(f"{run.id} has ended: there is nothing to resume.{_what_would_go_on(run)}")
        return outer

    return train_and_report(start, options)


def _refuse_what_was_fixed(fixed: Mapping[str, object]) -> None:
    """Raise UsageError where one of the options was given: is neither None nor False."""
    given = [option for option, value in fixed.items() if value is not None and value is not False]
    if given:
        raise UsageError(f"{given[0]} was fixed when the run started; leave it out with --resume.")


def _refuse_by_workers(run: RunDirectory, *, shared: bool, changed: bool, workers: Workers | None) -> None:
    """Raise UsageError where a shared run shall be changed, or workers shall share one that has no parts."""
    from nnrun.experiment.running.nested import awaits_outer_run

    if shared and changed:
        raise UsageError(
            f"{run.id} was shared among workers, and goes on as it began: leave out the changes of its spec."
        )
    if workers is not None and not shared and not awaits_outer_run(run):
        raise UsageError(
            f"{run.id} has no parts that workers could go on with: it was not shared among any, or all parts "
            "have ended. Leave out --workers with --resume."
        )


def _what_would_go_on(run: RunDirectory) -> str:
    """What else there is to say of a run that has ended."""
    record = run.read_record()
    if record.stopped_by_time_at is not None:
        return " Its time limit ended it: with a longer one (--time) it goes on."
    if all(network.stopped_early for network in record.networks):
        which = "it" if len(record.networks) == 1 else f"all its {record.member_type}s"
        return f" Early stopping ended {which}: more epochs would change nothing."
    return ""


def _refuse_another_command(run: RunDirectory, command: str) -> None:
    """Raise UsageError where a run would be resumed as something that it is not, such as folds."""

    record = run.read_record()
    started = record.command or "train"
    same = command in ("train", started) or (command == "kfold" and record.member_type == "fold")
    if not same:
        raise UsageError(
            f"{run.id} was started by `nnrun {started}`, so `nnrun {command}` cannot resume it. Resume it "
            f"with: nnrun train --resume {run.word}"
        )


def listener_for(*, quiet: bool, verbose: bool) -> Listener:
    """The listener that shows progress: a live table on a terminal, plain lines elsewhere, none if quiet."""
    from nnrun.experiment.running.listener import LineListener, Listener

    if quiet:
        return Listener()
    if not live_screen():
        return LineListener(message, details=verbose)
    from rich.console import Console

    from nnrun.cli.live import LiveListener

    return LiveListener(Console(stderr=True), details=verbose)


def sweep_listener(options: Training, *, each: bool = True) -> SweepListener:
    """The same for a sweep: a live table of the best trials on a terminal.

    Elsewhere a line for each trial, or with details alone where `each` is not asked for.
    """
    from nnrun.experiment.sweeping.sweep_listener import SweepLines, SweepListener

    if options.quiet:
        return SweepListener()
    if not live_screen():
        return SweepLines(message, details=options.verbose, each=each)
    from rich.console import Console

    from nnrun.cli.live import LiveBoard

    return LiveBoard(Console(stderr=True), details=options.verbose)


def show_warnings(warnings: Sequence[Problem], options: Training) -> None:
    """Show what is doubtful in a spec, unless only results are wanted."""
    if not options.quiet:
        for warning in warnings:
            message(warning.render())
