"""`nnrun final`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nnrun.cli import options
from nnrun.errors import UsageError

if TYPE_CHECKING:
    from nnrun.experiment.running.listener import Listener
    from nnrun.records import RunDirectory

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
            },
        )
    if source is None:
        raise UsageError("A spec or a run is missing. Name one, or a run to resume: --resume RUN.")
    of_spec = options.is_spec(source)
    if of_spec and epochs == _BEST:
        raise UsageError("--epochs best needs a run with validation; name the run, or give a number.")

    if weights is not None and members is None:
        raise UsageError("--weights is for --members, whose networks are trained; leave it out.")
    if members is not None:
        from nnrun.experiment.running.ensemble import refuse_what_trains

        given = {"--epochs": epochs, "--seeds": seeds, "--seed": seed, "--smoke": smoke}
        refuse_what_trains(f"--members {members}", source if of_spec else None, given)

    from nnrun.spec.reading.load import load_spec

    loaded = load_spec(source, changes) if of_spec else None

    from nnrun.cli.running import train_and_report
    from nnrun.experiment.running.ensemble import final_of_members
    from nnrun.experiment.running.final import final_of_run, final_of_spec
    from nnrun.experiment.setup.groups import Selection
    from nnrun.records import find_run

    settings = training.settings(
        "final", smoke=smoke, allow_unknown=allow_unknown, selection=Selection(seeds=seeds)
    )
    parent = None if of_spec else find_run(source, training.runs_dir)

    def start(listener: Listener) -> RunDirectory:
        if loaded is not None:
            return final_of_spec(loaded, settings, epochs=number, test=test, listener=listener)
        assert parent is not None, "the source is a spec or a run"
        if members is not None:
            return final_of_members(
                parent,
                settings,
                members,
                overrides=changes,
                test=test,
                weights=weights or "last",
                listener=listener,
            )
        return final_of_run(
            parent, settings, epochs=number or "best", overrides=changes, test=test, listener=listener
        )

    return train_and_report(start, training, () if loaded is None else loaded.warnings)


def _number_of_epochs(text: str | None) -> int | None:
    """The number that --epochs names, or None."""
    if text is None or text == _BEST:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--epochs is {text!r}; it must be a whole number from 1, or {_BEST}.")
    return int(text)
