"""`nnrun final`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nnrun.cli import options
from nnrun.cli.output import message
from nnrun.errors import UsageError

if TYPE_CHECKING:
    from nnrun.spec.reading.overrides import Overrides

_BEST = "best"


Epochs = Annotated[
    str | None,
    typer.Option(
        "--epochs",
        metavar="N|best",
        help="How long to train; `best`, the default for a run, is the epoch that its validation chose.",
    ),
]


MembersName = Literal["folds", "seeds"]
Members = Annotated[
    MembersName | None,
    typer.Option(
        "--members",
        help="Make the networks that RUN has, of its folds or its seeds, averaged, the model: no training.",
    ),
]


Weights = Annotated[
    options.WeightsName | None,
    typer.Option(
        "--weights",
        help="With --members: the weights that training ended with (last), or those of best epochs (best).",
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        min=2,
        metavar="N",
        help="Train N networks, with seeds counting up from the spec's: their average is the model.",
    ),
]


def final(
    source: options.SpecOrRunOrNone = None,
    epochs: Epochs = None,
    members: Members = None,
    seeds: Seeds = None,
    weights: Weights = None,
    test: Annotated[
        Path | None,
        options.test_file("A file of test rows with the same columns, in place of the spec's test set."),
    ] = None,
    *,
    resuming: options.Resuming,
    set_: options.Set = None,
    seed: options.Seed = None,
    smoke: options.Smoke = False,
    allow_unknown: options.AllowUnknown = False,
    training: options.Training,
) -> int:
    """Retrain from scratch on all training rows, then use the test set: the last step of an experiment.

    With --seeds several networks are trained, whose average is the model.
    With --members nothing is trained: the networks that a run of folds or seeds has, averaged, are the model.
    """
    number = _number_of_epochs(epochs)
    changes = options.changes_of(set_, seed=seed, epochs=number)
    if resuming.resume is not None:
        from nnrun.cli.running import resume_and_report

        return resume_and_report(
            resuming,
            training,
            command="final",
            overrides=changes,
            not_with={
                "SPEC|RUN": source,
                "--smoke": smoke,
                "--test": test,
                "--members": members,
                "--seeds": seeds,
                "--weights": weights,
                "--epochs best": epochs == _BEST,
                "--allow-unknown": allow_unknown,
            },
        )
    if source is None:
        raise UsageError("A spec or a run is missing. Name one, or a run to resume: --resume RUN.")
    if options.is_spec(source) and epochs == _BEST:
        raise UsageError("--epochs best needs a run with validation; name the run, or give a number.")
    if members is None:
        if weights is not None:
            raise UsageError("--weights is for --members, whose networks are trained; leave it out.")
        return _train(source, training, changes, number, test, smoke, allow_unknown, seeds)
    not_with = {"--epochs": epochs, "--seeds": seeds, "--seed": seed, "--smoke": smoke}
    return _average(source, training, changes, members, weights, test, allow_unknown, not_with)


def _train(
    source: str,
    training: options.Training,
    changes: Overrides,
    epochs: int | None,
    test: Path | None,
    smoke: bool,
    allow_unknown: bool,
    seeds: int | None,
) -> int:
    """Train a spec, or that of a run, on all training rows."""
    from nnrun.spec.reading.load import load_spec

    loaded = load_spec(source, changes) if options.is_spec(source) else None

    from nnrun.cli.running import train_and_report
    from nnrun.experiment.running.final import final_of_run, final_of_spec
    from nnrun.experiment.setup.groups import Selection
    from nnrun.records import find_run

    settings = training.settings(
        "final", smoke=smoke, allow_unknown=allow_unknown, selection=Selection(seeds=seeds)
    )
    if loaded is not None:
        return train_and_report(
            lambda listener: final_of_spec(loaded, settings, epochs=epochs, test=test, listener=listener),
            training,
            loaded.warnings,
        )
    parent = find_run(source, training.runs_dir, tell=message)
    return train_and_report(
        lambda listener: final_of_run(
            parent, settings, epochs=epochs or "best", overrides=changes, test=test, listener=listener
        ),
        training,
    )


def _average(
    source: str,
    training: options.Training,
    changes: Overrides,
    members: MembersName,
    weights: options.WeightsName | None,
    test: Path | None,
    allow_unknown: bool,
    not_with: Mapping[str, object],
) -> int:
    """Make the average of a run's networks the model."""
    from nnrun.cli.running import train_and_report
    from nnrun.experiment.running.ensemble import final_of_members, refuse_what_trains
    from nnrun.records import find_run

    refuse_what_trains(f"--members {members}", source if options.is_spec(source) else None, not_with)
    settings = training.settings("final", allow_unknown=allow_unknown)
    parent = find_run(source, training.runs_dir, tell=message)
    return train_and_report(
        lambda listener: final_of_members(
            parent,
            settings,
            members,
            overrides=changes,
            test=test,
            weights=weights or "last",
            listener=listener,
        ),
        training,
    )


def _number_of_epochs(text: str | None) -> int | None:
    """The number that --epochs names, or None."""
    if text is None or text == _BEST:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--epochs is {text!r}; it must be a whole number from 1, or {_BEST}.")
    return int(text)
