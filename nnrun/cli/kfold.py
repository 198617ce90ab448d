"""`nnrun kfold`."""

from __future__ import annotations

from typing import Annotated

import typer

from nnrun.cli import options


def kfold(
    spec: options.SpecOrNone = None,
    k: Annotated[
        int | None, typer.Option("--k", min=2, help="Number of folds; default: as the spec says, else 4.")
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            "--repeats", min=1, help="Number of repeats, each with another split; needs shuffle: true."
        ),
    ] = None,
    fold: Annotated[
        int | None, typer.Option("--fold", min=0, help="Train only this fold, counted from 0.")
    ] = None,
    time: options.Time = None,
    *,
    resuming: options.Resuming,
    changes: options.Changes,
    training: options.Training,
) -> int:
    """Train with k-fold validation, or with the spec's time-series folds; the folds train together."""
    from nnrun.experiment.setup.folds import load_for_kfold

    overrides = [*changes.overrides(), *options.time_limit(time)]
    if resuming.resume is not None:
        from nnrun.cli.running import resume_and_report

        return resume_and_report(
            resuming,
            training,
            command="kfold",
            spec=None if spec is None else load_for_kfold(spec, overrides, k=k, repeats=repeats, prefix="--"),
            overrides=overrides,
            not_with={"--fold": fold, "--smoke": changes.smoke}
            | ({"--k": k, "--repeats": repeats} if spec is None else {}),
        )
    loaded = load_for_kfold(options.required(spec), overrides, k=k, repeats=repeats, prefix="--")

    from nnrun.cli.running import train_and_report
    from nnrun.experiment.running.train import run_experiment
    from nnrun.experiment.setup.groups import Selection

    settings = training.settings("kfold", smoke=changes.smoke, selection=Selection(only_fold=fold))
    return train_and_report(
        lambda listener: run_experiment(loaded, settings, listener), training, loaded.warnings
    )
