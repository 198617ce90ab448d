"""`nnrun train`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from nnrun.cli import options
from nnrun.cli.output import message
from nnrun.cli.torchrun import follow_rank_0, only_follows
from nnrun.errors import EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from nnrun.experiment.running.listener import Listener
    from nnrun.records import RunDirectory


_Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        min=1,
        metavar="N",
        help="Train one split with N seeds, counting up from the spec's; a spec with folds is refused.",
    ),
]
_Worker = Annotated[
    str | None,
    typer.Option(
        "--worker",
        metavar="RUN",
        help="Train folds or seeds of a run that trains with --workers, from any machine that sees it.",
    ),
]


def train(
    spec: options.SpecOrNone = None,
    seeds: _Seeds = None,
    time: options.Time = None,
    worker: _Worker = None,
    *,
    sharing: options.Sharing,
    resuming: options.Resuming,
    changes: options.Changes,
    training: options.Training,
) -> int:
    """Train what a spec declares: with a holdout, with folds, or without validation.

    With --workers N several processes train its folds or seeds, here or where the launcher starts them.
    """
    from nnrun.spec.reading.load import load_spec

    if only_follows():
        return follow_rank_0(training.device)
    overrides = [*changes.overrides(), *options.time_limit(time)]
    if worker is not None:
        if spec is not None or seeds or overrides or changes.smoke or resuming.resume or sharing.is_given:
            raise UsageError(
                "--worker RUN trains what the run says; only --device, --threads, --data-dir, --runs-dir and "
                "what is shown may be given with it. Leave out the other options."
            )
        return _work(worker, training)
    workers = sharing.workers()
    if resuming.resume is not None:
        from nnrun.cli.running import resume_and_report

        return resume_and_report(
            resuming,
            training,
            spec=None if spec is None else load_spec(spec, overrides),
            overrides=overrides,
            not_with={"--seeds": seeds, "--smoke": changes.smoke},
            workers=workers,
        )
    loaded = load_spec(options.required(spec), overrides)

    from nnrun.cli.running import train_and_report
    from nnrun.experiment.running.on_ranks import leading
    from nnrun.experiment.running.train import run_experiment
    from nnrun.experiment.setup.groups import Selection
    from nnrun.ranks import launched

    settings = training.settings("train", smoke=changes.smoke, selection=Selection(seeds=seeds))

    def start(listener: Listener) -> RunDirectory:
        if workers is not None:
            from nnrun.experiment.running.shared_run import train_shared

            return train_shared(loaded, settings, listener, workers)
        with leading(launched(), training.device) as ranks:
            return run_experiment(loaded, replace(settings, ranks=ranks), listener)

    return train_and_report(start, training, loaded.warnings)


def _work(reference: str, training: options.Training) -> int:
    """Train as one worker of a run, and say what this one did."""
    from nnrun.cli.output import print_result
    from nnrun.cli.running import listener_for
    from nnrun.experiment.running.part_worker import work_on_run
    from nnrun.records import find_run
    from nnrun.spec.wording import counted

    run = find_run(reference, training.runs_dir, tell=message)
    listener = listener_for(quiet=training.quiet, verbose=training.verbose)
    done = work_on_run(run, training.settings("train"), listener, stop_process=True)
    ended = f"{run.id} has been stopped" if done.stopped else f"{run.id} has nothing more to begin"
    print_result(
        training.as_json,
        lambda: {
            "run": run.id,
            "worker": done.worker,
            "members": list(done.members),
            "stopped": done.stopped,
        },
        lambda: f"{ended}; this worker has trained {counted(len(done.members), 'network')}.",
    )
    return EXIT_INTERRUPTED if done.stopped else 0
