"""Pieces of clothing (Xiao, Rasul and Vollgraf 2017), as Keras publishes them: four packed files of bytes.

A file in the format idx begins with a number that tells its type and axes, then the size of each axis
(big-endian, 32 bits); the bytes of all images, or the labels, follow.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from nnrun.data.archives.download import FASHION_MNIST, RemoteFile, fetch, is_published
from nnrun.data.dataset import Dataset, Samples, SourceFile
from nnrun.data.sources.context import LoadContext
from nnrun.data.sources.generated_rows import generated
from nnrun.data.sources.image_arrays import checked_images
from nnrun.errors import DataError
from nnrun.spec import schema

CLASS_NAMES: Final = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_SPLITS: Final[tuple[Literal["train", "test"], ...]] = ("train", "test")
_MOST_BYTES: Final = 100 * 2**20  # of a file, unpacked; the largest published one has 47 million


def load(spec: schema.FashionMnist, context: LoadContext) -> Dataset:
    """The images as `keras.datasets.fashion_mnist.load_data` gives them: 60,000 and 10,000 of 28 by 28 bytes.

    Raises:
        DataError: a file is missing or damaged, or does not hold such images.
    """
    if context.smoke:
        return generated("fashion_mnist", spec.facts, class_names=CLASS_NAMES)
    parts: list[Samples] = []
    sources: list[SourceFile] = []
    for split, (images, labels) in zip(_SPLITS, (FASHION_MNIST[:2], FASHION_MNIST[2:]), strict=True):
        paths = [fetch(remote, context.data_dir, context.on_message) for remote in (images, labels)]
        x, y = (_read_idx(path, axes) for path, axes in zip(paths, (3, 1), strict=True))
        parts.append(checked_images(x, y, (28, 28), 10, f"{paths[0]} and {paths[1].name}"))
        rows = len(parts[-1])
        found = [_source(remote, path, rows) for remote, path in zip((images, labels), paths, strict=True)]
        sources += [replace(source, split=split) for source in found]
    return Dataset(
        name="fashion_mnist",
        train=parts[0],
        test=parts[1],
        sources=tuple(sources),
        task="multiclass",
        classes=10,
        class_names=CLASS_NAMES,
    )


def _source(remote: RemoteFile, path: Path, rows: int) -> SourceFile:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    note = "" if is_published(remote, path) else "not the published file"
    return SourceFile(path.name, digest, rows, str(path), note)


def _read_idx(path: Path, axes: int) -> npt.NDArray[np.uint8]:
    """The array of bytes with so many axes in a packed idx file."""
    try:
        with gzip.open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged or incomplete: {error}. Delete it and download it again."
        ) from None
    head = 4 + 4 * axes
    magic = bytes((0, 0, 8, axes))  # 8: unsigned bytes
    if len(content) > _MOST_BYTES or content[:4] != magic or len(content) < head:
        raise DataError(f"{path} is no idx file of bytes with {axes} axes. Delete it and download it again.")
    shape = struct.unpack(f">{axes}I", content[4:head])
    if math.prod(shape) != len(content) - head:
        raise DataError(
            f"{path} says that it holds an array of shape {shape}, and holds {len(content) - head:,} bytes. "
            "Delete it and download it again."
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape).copy()
