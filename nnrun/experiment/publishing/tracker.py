"""Runs published in one of the trackers, each of which is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from nnrun.experiment.publishing.content import Content, content_of
from nnrun.experiment.publishing.destination import Destination, Published, Tracker
from nnrun.records import RunDirectory

_Publish: TypeAlias = Callable[[Content, Destination, Path], Published]


def publish_runs(runs: Sequence[RunDirectory], to: Tracker, destination: Destination) -> list[Published]:
    """Write runs into a tracker, from their records alone. What is there already, unchanged, stays as it is.

    Args:
        runs: that have ended.
        to: the tracker.
        destination: where.

    Raises:
        UsageError: the tracker's package is not installed, or a run is still training.
        DataError, SpecError: files of a run are missing or damaged.
        NnrunError: the tracker refused.
    """
    publish = _publisher(to)
    done = []
    for run in runs:
        with TemporaryDirectory(prefix="nnrun-publish-") as folder:
            done.append(publish(content_of(run), destination, Path(folder)))
    return done


def _publisher(to: Tracker) -> _Publish:
    if to == "mlflow":
        from nnrun.experiment.publishing.mlflow_runs import publish_to_mlflow

        return publish_to_mlflow
    if to == "tensorboard":
        from nnrun.experiment.publishing.tensorboard_runs import publish_to_tensorboard

        return publish_to_tensorboard
    from nnrun.experiment.publishing.wandb_runs import publish_to_wandb

    return publish_to_wandb
