"""`nnrun train`."""

from __future__ import annotations

from typing import Annotated

import typer

from nnrun.cli import options
from nnrun.cli.app import app


@app.command()
def train(
    spec: options.SpecOrNone = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", min=1, metavar="N", help="Train with N seeds, counting up from the spec's seed."
        ),
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
    """Train what a spec declares: with a holdout, with folds, or without validation."""
    from nnrun.spec.reading.load import load_spec

    changes = options.changes_of(set_, seed=seed, epochs=epochs)
    if resume is not None:
        from nnrun.cli.resuming import resume_and_report

        return resume_and_report(
            resume,
            spec=None if spec is None else load_spec(spec, changes),
            changes=changes,
            not_with={"--seeds": seeds, "--smoke": smoke},
            runs_dir=runs_dir,
            data_dir=data_dir,
            device=device,
            allow_inexact=allow_inexact,
            quiet=quiet,
            verbose=verbose,
            as_json=as_json,
        )
    loaded = load_spec(options.required(spec), changes)

    from nnrun.cli.running import train_and_report
    from nnrun.experiment.running.job import Settings
    from nnrun.experiment.running.run import run_experiment
    from nnrun.experiment.setup.groups import Selection

    selection = Selection(seeds=seeds)
    settings = Settings("train", runs_dir, data_dir, device, smoke, selection, compile=compile_.value)
    return train_and_report(
        lambda listener: run_experiment(loaded, settings, listener),
        warnings=loaded.warnings,
        quiet=quiet,
        verbose=verbose,
        as_json=as_json,
    )
