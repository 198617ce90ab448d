"""Where runs are published, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nnrun.experiment.finished.load_run import DEFAULT_ACCESS, Access

Tracker = Literal["mlflow", "tensorboard", "wandb"]


@dataclass(frozen=True)
class Published:
    """A run in a tracker.

    Attributes:
        run: its id.
        where: what the tracker calls the place: an address, a folder.
        tracker_id: what the tracker calls the run.
        new: whether it was written now; else the same had been published before.
        model: whether its networks are there too.
    """

    run: str
    where: str
    tracker_id: str
    new: bool
    model: bool


@dataclass(frozen=True)
class Destination:
    """Where to publish.

    Attributes:
        place: MLflow's tracking address, TensorBoard's or W&B's folder; None for what the tracker's own
            settings say.
        experiment: by which the tracker groups runs; default: the experiment's name.
        model: whether networks are published too.
        access: how runs are opened for that.
    """

    place: str | None = None
    experiment: str | None = None
    model: bool = True
    access: Access = DEFAULT_ACCESS
