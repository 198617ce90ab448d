"""`nnrun train`."""

from __future__ import annotations

from typing import Annotated

import typer

from nnrun.cli import options


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
    from nnrun.experiment.running.train import run_experiment
    from nnrun.experiment.setup.groups import Selection

    settings = training.settings("train", smoke=changes.smoke, selection=Selection(seeds=seeds))
    return train_and_report(
        lambda listener: run_experiment(loaded, settings, listener), training, loaded.warnings
    )
