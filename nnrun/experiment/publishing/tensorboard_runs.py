"""A run as TensorBoard's event files: `<folder>/<id>`, each fold or seed in a folder of its own below."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.atomic_files import make_folder, write_text, writing
from nnrun.errors import UsageError
from nnrun.experiment.publishing.content import Content, Series
from nnrun.experiment.publishing.destination import Destination, Published
from nnrun.extras import require

_DEFAULT = "tensorboard"
_DIGEST = "nnrun-digest.txt"


def publish_to_tensorboard(content: Content, destination: Destination, folder: Path) -> Published:
    """Write event files: first into a folder of another name, so that the run is there as a whole or not.

    Args:
        content: the run.
        destination: the folder of all runs; its model is not published, TensorBoard has no place for it.
        folder: for files that are gone afterwards.

    Raises:
        UsageError: there is no TensorBoard, or what is there is none of nnrun's.
    """
    require("tensorboard", {"tensorboard": "TensorBoard"}, "--to tensorboard")
    runs = Path(destination.place or _DEFAULT)
    target = runs / content.run.id
    kept = target / _DIGEST
    if target.exists() and not kept.is_file():
        raise UsageError(f"{target} is there, and nnrun publish did not write it. Name another --into.")
    if kept.is_file() and kept.read_text(encoding="utf-8").strip() == content.digest:
        return Published(content.run.id, str(runs), content.run.id, new=False, model=False)
    making = runs / f".{content.run.id}.making"
    shutil.rmtree(making, ignore_errors=True)
    make_folder(runs)
    with writing(target):
        _write(content, making, content.files(folder), content.figures(folder))
    write_text(making / _DIGEST, f"{content.digest}\n")
    shutil.rmtree(target, ignore_errors=True)
    os.replace(making, target)
    return Published(content.run.id, str(runs), content.run.id, new=True, model=False)


def _write(content: Content, folder: Path, files: Sequence[Path], figures: Sequence[Path]) -> None:
    from PIL import Image
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        _add_series(writer, content.series)
        for name, value in content.summary.items():
            writer.add_scalar(f"summary/{name}", value, 0, walltime=content.ended)
        for title, values in (("params", content.params), ("tags", content.tags)):
            writer.add_text(title, _as_table(values), 0, walltime=content.started)
        for file in files:
            if file.suffix == ".yaml":
                writer.add_text(
                    file.name, f"```\n{file.read_text(encoding='utf-8')}\n```", 0, content.started
                )
        for figure in figures:
            pixels = np.asarray(Image.open(figure).convert("RGB"))
            writer.add_image(figure.stem, pixels, 0, walltime=content.ended, dataformats="HWC")
    for name, series in content.networks.items():
        with SummaryWriter(str(folder / name)) as writer:
            _add_series(writer, series)


def _add_series(writer: Any, series: Series) -> None:
    for name, epoch, time, value in series.points():
        writer.add_scalar(name, value, epoch, walltime=time)


def _as_table(values: Any) -> str:
    """Markdown, which TensorBoard shows."""
    rows = [f"| {key} | {_cell(str(value))} |" for key, value in values.items()]
    return "\n".join(["| key | value |", "|---|---|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
