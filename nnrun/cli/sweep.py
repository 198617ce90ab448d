"""`nnrun sweep`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nnrun.cli import completing, options
from nnrun.errors import EXIT_INTERRUPTED, UsageError

Method = Literal["grid", "random", "tpe"]


if TYPE_CHECKING:
    from nnrun.records import SweepDirectory

Over = Annotated[
    list[str] | None,
    typer.Option(
        "--over",
        metavar="KEY=V1,V2,...",
        help="Try these values for a key of the spec; each is read as YAML.",
    ),
]
ByMethod = Annotated[
    Method | None, typer.Option("--method", help="Every combination, at random, or Optuna's TPE.")
]
Trials = Annotated[
    int | None, typer.Option("--trials", min=1, metavar="N", help="How many trials, at random or by TPE.")
]
Monitor = Annotated[
    str | None,
    typer.Option(
        "--monitor", metavar="COLUMN", help="Score to compare trials by: val_loss, val_accuracy, ..."
    ),
]
New = Annotated[bool, typer.Option("--new", help="Start over, even if the same sweep was started before.")]
Nested = Annotated[
    int | None,
    typer.Option(
        "--nested",
        min=2,
        metavar="K",
        help="Choose the trial anew within each of K outer folds, and score it on the fold.",
    ),
]
ResumeSweep = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="SWEEP",
        help="Resume a sweep: path, id, @last.",
        autocompletion=completing.sweeps,
    ),
]

Worker = Annotated[
    str | None,
    typer.Option(
        "--worker",
        metavar="SWEEP",
        help="Train trials of a sweep that runs with --workers, from any machine that sees its folder.",
        autocompletion=completing.sweeps,
    ),
]


def sweep(
    spec: options.SpecOrNone = None,
    over: Over = None,
    method: ByMethod = None,
    trials: Trials = None,
    monitor: Monitor = None,
    new: New = False,
    resume: ResumeSweep = None,
    time: options.Time = None,
    nested: Nested = None,
    members: options.NestedMembers = None,
    worker: Worker = None,
    *,
    sharing: options.Sharing,
    changes: options.Changes,
    training: options.Training,
) -> int:
    """Try values for keys of a spec, each trial as its own run, and report the best.

    A sweep that was stopped or killed, or ended by --time, continues when it is started again, with its spec
    or with --resume. With --nested, or a `nested` section, trials are compared within each outer fold, and
    the one that is chosen there is scored on the fold, whose rows no choice has seen. With --workers N
    several processes train its trials, here or where the launcher starts them.
    """
    from nnrun.spec.sweep_plan import load_sweep

    asked = {"method": method, "trials": trials, "monitor": monitor, "time_limit": time}
    given = {key: value for key, value in asked.items() if value is not None}
    begun, smoke, runs_dir = None, changes.smoke, training.runs_dir
    own = changes.overrides()
    of_spec = [*own, *options.outer_folds(nested), *options.outer_members(members, nested, spec, own)]
    if worker is not None:
        if spec is not None or over or given or of_spec or smoke or new or resume or sharing.is_given:
            raise UsageError(
                "--worker SWEEP trains what the sweep says; only --device, --threads, --data-dir, --runs-dir "
                "and what is shown may be given with it. Leave out the other options."
            )
        return _work(worker, training)
    workers = sharing.workers()
    if resume is not None:
        if spec is not None or over or set(given) - {"trials", "time_limit"} or of_spec or smoke or new:
            raise UsageError(
                "--resume SWEEP continues a sweep as it was started; only --trials may change, to add "
                "trials, and --time. Leave out the other options, or start its spec with them as a new sweep."
            )
        begun = _begun(resume, runs_dir, trials)
        record, _ = begun.read_sound_part()
        spec, smoke, runs_dir = begun.resolved_spec, record.smoke, begun.path.parent
    plan = load_sweep(options.required(spec, "sweep"), of_spec, over or (), given)

    from nnrun.cli.running import sweep_and_report
    from nnrun.experiment.sweeping.sweep import run_sweep

    settings = replace(training, runs_dir=runs_dir).settings("sweep", smoke=smoke)
    return sweep_and_report(
        lambda listener: run_sweep(plan, settings, listener, new=new, resume=begun, workers=workers),
        training,
        plan.warnings,
    )


def _begun(reference: str, runs_dir: Path, trials: int | None) -> SweepDirectory:
    """The sweep to go on with.

    Raises:
        UsageError: another command made it, or more `trials` are asked for and it cannot have them.
    """
    from nnrun.records import find_sweep

    begun = find_sweep(reference, runs_dir)
    record, _ = begun.read_sound_part()
    if record.command is not None:
        raise UsageError(
            f"{begun.id} was started by `nnrun {record.command}`. Type that command again: it goes on."
        )
    if trials is not None and record.method == "grid":
        raise UsageError(
            f"--trials {trials}: {begun.id} is a grid, which tries every combination of its values. To "
            "add trials, start a new sweep of its spec with more values (--over)."
        )
    if trials is not None and any(trial.outer_fold is not None for trial in record.trials):
        raise UsageError(
            f"--trials {trials}: {begun.id} searches within each outer fold, with as many trials in each "
            "as it was started with. For more, start a new sweep of its spec."
        )
    return begun


def _work(reference: str, training: options.Training) -> int:
    """Train as one worker of a sweep, and say what this one did."""
    from nnrun.cli.output import print_result
    from nnrun.cli.running import sweep_listener
    from nnrun.experiment.sweeping.worker import work_on_sweep
    from nnrun.records import find_sweep
    from nnrun.spec.sweep_plan import load_sweep
    from nnrun.spec.wording import counted

    sweep = find_sweep(reference, training.runs_dir)
    record, _ = sweep.read_sound_part()
    plan = load_sweep(sweep.resolved_spec)
    settings = replace(training, runs_dir=sweep.path.parent).settings(
        record.command or "sweep", smoke=record.smoke
    )
    done = work_on_sweep(sweep, plan, settings, sweep_listener(training), stop_process=True)
    did = f"ended {counted(len(done.trials), 'trial')}"
    if done.outer_folds:
        did = f"trained what was chosen within {counted(len(done.outer_folds), 'outer fold')}"
    ended = f"{sweep.id} has been stopped" if done.stopped else f"{sweep.id} has no more trials to begin"
    print_result(
        training.as_json,
        lambda: {
            "sweep": sweep.id,
            "worker": done.worker,
            "trials": list(done.trials),
            "outer_folds": list(done.outer_folds),
            "stopped": done.stopped,
        },
        lambda: f"{ended}; this worker has {did}.",
    )
    return EXIT_INTERRUPTED if done.stopped else 0
