"""`nnrun train`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from nnrun.cli import options
from nnrun.cli.torchrun import follow_rank_0, only_follows

if TYPE_CHECKING:
    from nnrun.experiment.running.listener import Listener
    from nnrun.records import RunDirectory


def train(
    spec: options.SpecOrNone = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            min=1,
            metavar="N",
            help="Train one split with N seeds, counting up from the spec's; a spec with folds is refused.",
        ),
    ] = None,
    time: options.Time = None,
    *,
    resuming: options.Resuming,
    changes: options.Changes,
    training: options.Training,
) -> int:
    """Train what a spec declares: with a holdout, with folds, or without validation."""
    from nnrun.spec.reading.load import load_spec

    if only_follows():
        return follow_rank_0(training.device)
    overrides = [*changes.overrides(), *options.time_limit(time)]
    if resuming.resume is not None:
        from nnrun.cli.running import resume_and_report

        return resume_and_report(
            resuming,
            training,
            spec=None if spec is None else load_spec(spec, overrides),
            overrides=overrides,
            not_with={"--seeds": seeds, "--smoke": changes.smoke},
        )
    loaded = load_spec(options.required(spec), overrides)

    from nnrun.cli.running import train_and_report
    from nnrun.experiment.running.on_ranks import leading
    from nnrun.experiment.running.train import run_experiment
    from nnrun.experiment.setup.groups import Selection
    from nnrun.ranks import launched

    settings = training.settings("train", smoke=changes.smoke, selection=Selection(seeds=seeds))

    def start(listener: Listener) -> RunDirectory:
        with leading(launched(), training.device) as ranks:
            return run_experiment(loaded, replace(settings, ranks=ranks), listener)

    return train_and_report(start, training, loaded.warnings)
