"""`nnrun kfold`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from nnrun.cli import options

if TYPE_CHECKING:
    from nnrun.experiment.running.listener import Listener
    from nnrun.records import RunDirectory


_K = Annotated[
    int | None, typer.Option("--k", min=2, help="Number of folds; default: as the spec says, else 4.")
]
_Repeats = Annotated[
    int | None,
    typer.Option("--repeats", min=1, help="Number of repeats, each with another split; needs shuffle: true."),
]
_Nested = Annotated[
    int | None,
    typer.Option(
        "--nested",
        min=2,
        metavar="K",
        help="Choose the epoch anew within each of K outer folds, and score it on the fold.",
    ),
]


def kfold(
    spec: options.SpecOrNone = None,
    k: _K = None,
    repeats: _Repeats = None,
    fold: Annotated[
        int | None, typer.Option("--fold", min=0, help="Train only this fold, counted from 0.")
    ] = None,
    nested: _Nested = None,
    members: options.NestedMembers = None,
    time: options.Time = None,
    *,
    sharing: options.Sharing,
    resuming: options.Resuming,
    changes: options.Changes,
    training: options.Training,
) -> int:
    """Train with k-fold validation, or with the spec's time-series folds; the folds train together.

    With --nested, or a `nested` section, the spec's own validation chooses the epoch within each outer fold.
    With --workers N several processes train the folds, inner and outer; `nnrun train --worker RUN` joins.
    """
    from nnrun.experiment.setup.folds import load_for_kfold

    overrides = [*changes.overrides(), *options.time_limit(time)]
    overrides += options.outer_members(members, nested, spec, overrides)
    load = partial(load_for_kfold, overrides=overrides, k=k, repeats=repeats, nested=nested, prefix="--")
    whole: dict[str, object] = {"--fold": fold, "--smoke": changes.smoke}
    of_folds = {"--k": k, "--repeats": repeats, "--nested": nested, "--members": members}
    if resuming.resume is not None:
        from nnrun.cli.running import resume_and_report

        return resume_and_report(
            resuming,
            training,
            command="kfold",
            spec=None if spec is None else load(spec),
            overrides=overrides,
            workers=sharing.workers(),
            not_with={**whole, **(of_folds if spec is None else {})},
        )
    loaded = load(options.required(spec))

    from nnrun.cli.running import train_and_report
    from nnrun.experiment.running.nested import run_nested
    from nnrun.experiment.running.shared_run import train_shared
    from nnrun.experiment.running.train import run_experiment
    from nnrun.experiment.setup.groups import Selection

    settings = training.settings("kfold", smoke=changes.smoke, selection=Selection(only_fold=fold))
    workers = sharing.workers()

    def start(listener: Listener) -> RunDirectory:
        if loaded.spec.nested is not None:
            return run_nested(loaded, settings, listener, workers)
        if workers is not None:
            return train_shared(loaded, settings, listener, workers)
        return run_experiment(loaded, settings, listener)

    return train_and_report(start, training, loaded.warnings)
