"""`nnrun kfold`."""

from __future__ import annotations

from typing import Annotated

import typer

from nnrun.cli import options
from nnrun.cli.app import app


@app.command()
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
    resume: options.Resume = None,
    allow_inexact: options.AllowInexact = False,
    set_: options.Set = None,
    seed: options.Seed = None,
    epochs: options.Epochs = None,
    smoke: options.Smoke = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    compile_: options.Compile = options.CompilePolicy.auto,
    allow_custom: options.AllowCustom = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Train with k-fold validation, or with the spec's time-series folds; the folds train together."""
    from nnrun.experiment.setup.kfold_spec import load_for_kfold

    changes = options.changes_of(set_, seed=seed, epochs=epochs)
    if resume is not None:
        from nnrun.cli.resuming import resume_and_report

        return resume_and_report(
            resume,
            spec=None if spec is None else load_for_kfold(spec, changes, k=k, repeats=repeats, prefix="--"),
            changes=changes,
            not_with={"--fold": fold, "--smoke": smoke}
            | ({"--k": k, "--repeats": repeats} if spec is None else {}),
            runs_dir=runs_dir,
            data_dir=data_dir,
            device=device,
            allow_inexact=allow_inexact,
            quiet=quiet,
            verbose=verbose,
            as_json=as_json,
        )
    loaded = load_for_kfold(options.required(spec), changes, k=k, repeats=repeats, prefix="--")

    from nnrun.cli.running import train_and_report
    from nnrun.experiment.running.job import Settings
    from nnrun.experiment.running.run import run_experiment
    from nnrun.experiment.setup.groups import Selection

    selection = Selection(only_fold=fold)
    settings = Settings("kfold", runs_dir, data_dir, device, smoke, selection, compile=compile_.value)
    return train_and_report(
        lambda listener: run_experiment(loaded, settings, listener),
        warnings=loaded.warnings,
        quiet=quiet,
        verbose=verbose,
        as_json=as_json,
    )
