"""A run as a run of Weights & Biases; its folds or seeds are further runs of the same group."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nnrun.atomic_files import make_folder, write_text
from nnrun.errors import NnrunError
from nnrun.experiment.publishing.content import Content, Series
from nnrun.experiment.publishing.destination import Destination, Published
from nnrun.experiment.sharing.share import share_run
from nnrun.extras import require

_SETTINGS: Final[Mapping[str, Any]] = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "x_disable_meta": True,  # the name of this machine, and its folders
}
_DONE = "nnrun-published.txt"
"""In W&B's own folder: which runs were published, as lines of run, digest."""


def publish_to_wandb(content: Content, destination: Destination, folder: Path) -> Published:
    """Log a run, online or, with WANDB_MODE=offline, into a folder that `wandb sync` sends later.

    W&B's id of the run follows from what is published, so that the same again is the same run there too.

    Args:
        content: the run.
        destination: the folder in which W&B keeps its own; default: WANDB_DIR, else the current folder.
        folder: for files that are gone afterwards.

    Raises:
        UsageError: there is no W&B.
        NnrunError: W&B refused, for example without an account.
    """
    require("wandb", {"wandb": "W&B (wandb)"}, "--to wandb")
    import wandb

    place = Path(destination.place or os.environ.get("WANDB_DIR") or ".")
    done, line = place / "wandb" / _DONE, f"{content.run.id} {content.digest}"
    id_ = _id(line)
    before = done.read_text(encoding="utf-8") if done.is_file() else ""
    has_model = destination.model and content.has_model
    if line in before.splitlines():
        return Published(content.run.id, str(place), id_, new=False, model=has_model)
    make_folder(place)
    options: dict[str, Any] = {
        "dir": str(place),
        "project": destination.experiment or content.experiment,
        "group": content.run.id,
        "settings": wandb.Settings(**_SETTINGS),
    }
    try:
        _log_run(wandb, content, id_, options, has_model, destination, folder)
        for name, series in content.networks.items():
            with wandb.init(id=_id(f"{line} {name}"), name=name, job_type="network", **options) as child:
                _log_series(child, series)
    except wandb.errors.Error as error:
        said = str(error).rstrip(".")
        raise NnrunError(f"W&B refused {content.run.id}: {said}. {_advice(said)}") from None
    write_text(done, f"{before}{line}\n")
    return Published(content.run.id, str(place), id_, new=True, model=has_model)


def _advice(said: str) -> str:
    """What to do about an error of W&B."""
    if "project name" in said.lower():
        return "Name another project with --experiment."
    return "`wandb login` signs in; WANDB_MODE=offline writes a folder that `wandb sync` sends later."


def _log_run(
    wandb: Any,
    content: Content,
    id_: str,
    options: Mapping[str, Any],
    has_model: bool,
    destination: Destination,
    folder: Path,
) -> None:
    config = {**content.params, "nnrun": dict(content.tags)}
    kind = content.record.command or "train"
    with wandb.init(
        id=id_,
        name=content.run.id,
        job_type=kind,
        config=config,
        notes=content.spec.description or None,
        tags=[kind, content.record.status or ""],
        **options,
    ) as run:
        _log_series(run, content.series)
        run.summary.update(dict(content.summary))
        for figure in content.figures(folder):
            run.log({f"figures/{figure.stem}": wandb.Image(str(figure))})
        record = wandb.Artifact(f"{content.run.id}-record", type="record")
        for file in content.files(folder):
            record.add_file(str(file), name=file.name)
        run.log_artifact(record)
        if has_model:
            shared = share_run(content.run, folder / "model", destination.access)
            model = wandb.Artifact(f"{content.run.id}-model", type="model")
            model.add_dir(str(shared.folder))
            run.log_artifact(model)


def _log_series(run: Any, series: Series) -> None:
    by_epoch: dict[int, dict[str, float]] = {}
    for name, epoch, time, value in series.points():
        by_epoch.setdefault(epoch, {"epoch": epoch, "_timestamp": time})[name] = value
    run.define_metric("*", step_metric="epoch")
    for values in by_epoch.values():
        run.log(values)


def _id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
