"""`nnrun card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnrun.cli import options
from nnrun.cli.output import message, print_result

To = Annotated[
    Path | None,
    typer.Option(
        "--to",
        metavar="FOLDER",
        parser=options.path,
        help="Write the card there, with all that predicting needs. Default: the card into the run's folder.",
        show_default=False,
    ),
]
License = Annotated[
    str | None,
    typer.Option(
        "--license",
        metavar="ID",
        help="The model's license, as the Hugging Face Hub calls it: mit, apache-2.0, cc-by-4.0.",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a card with another text.")]


def card(
    run: options.Run,
    to: To = None,
    license_: License = None,
    overwrite: Overwrite = False,
    weights: options.Weights = "last",
    device: options.Device = "auto",
    allow_custom: options.AllowCustom = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a model card (README.md) of a run, and a folder with the model for others, such as the Hub.

    The card tells what the run predicts, its scores beside baselines, its looks at the test set, its limits.
    """
    from nnrun.cli.running import listener_for
    from nnrun.experiment.finished.load_run import Access
    from nnrun.experiment.sharing.share import share_run
    from nnrun.records import find_run

    listener = listener_for(quiet=quiet, verbose=False)
    access = Access(weights=weights, device=device, listener=listener)
    shared = share_run(
        find_run(run, runs_dir, tell=message), to, access, license_=license_, overwrite=overwrite
    )
    if license_ is None and not quiet:
        message("the card names no license, without which others may not use the model: --license ID")
    print_result(
        as_json, lambda: {"card": str(shared.card), "folder": str(shared.folder)}, lambda: str(shared.card)
    )
