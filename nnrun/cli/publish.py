"""`nnrun publish`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nnrun.cli import options
from nnrun.cli.output import message, print_result

if TYPE_CHECKING:
    from nnrun.experiment.publishing.destination import Published

Tracker = Literal["mlflow", "tensorboard", "wandb"]


def publish(
    runs: options.Runs,
    to: Annotated[Tracker, typer.Option("--to", help="The tracker; each is an extra of this name.")],
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="PLACE",
            help="MLflow's tracking address; TensorBoard's or W&B's folder. Default: MLFLOW_TRACKING_URI; "
            "tensorboard/; WANDB_DIR.",
            show_default=False,
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment",
            metavar="NAME",
            help="MLflow's experiment or W&B's project; default: the experiment's name.",
        ),
    ] = None,
    model: Annotated[
        bool, typer.Option("--model/--no-model", help="Also publish the networks (MLflow, W&B).")
    ] = True,
    weights: options.Weights = "last",
    allow_custom: options.AllowCustom = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Copy runs into MLflow, TensorBoard or W&B: scores by epoch, spec, figures, networks."""
    from nnrun.cli.running import listener_for
    from nnrun.experiment.finished.load_run import Access
    from nnrun.experiment.publishing.destination import Destination
    from nnrun.experiment.publishing.tracker import publish_runs
    from nnrun.records import find_runs

    listener = listener_for(quiet=quiet, verbose=False)
    destination = Destination(into, experiment, model, Access(weights=weights, listener=listener))
    done = publish_runs(find_runs(runs, runs_dir, tell=message), to, destination)
    print_result(
        as_json,
        lambda: {"published": [vars(each) for each in done]},
        lambda: "\n".join(_line(each) for each in done),
    )


def _line(published: Published) -> str:
    if not published.new:
        return f"{published.run}: is in {published.where} already, unchanged ({published.tracker_id})"
    model = " with its model" if published.model else ""
    return f"{published.run}: published in {published.where}{model} ({published.tracker_id})"
