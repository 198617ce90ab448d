"""Image files to predict: a file, or those of a folder and of its folders."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnrun.data.dataset import Array
from nnrun.data.files.images import IMAGE_SUFFIXES, Mode, read_images
from nnrun.data.files.open_file import is_row_file
from nnrun.data.new_rows.input_batches import InputBatch, rows_at_once
from nnrun.data.new_rows.row_source import RowSource
from nnrun.errors import DataError, printable


def mode_of(row_shape: Sequence[int]) -> Mode | None:
    """How images become rows of this shape: (height, width), with 1 or 3 channels; None for other rows."""
    if len(row_shape) == 2 or (len(row_shape) == 3 and row_shape[2] == 1):
        return "grayscale"
    return "rgb" if len(row_shape) == 3 and row_shape[2] == 3 else None


def image_files(source: RowSource) -> tuple[list[Path], int]:
    """The image at the source's path, or all in its folder and folders below, in the order of their paths.

    Returns:
        The images, and how many other files lie there; hidden ones are not counted.

    Raises:
        DataError: the folder cannot be read.
    """
    assert source.path is not None, "images are files"
    if source.kind == "image":
        return [source.path], 0
    try:
        every = [path for path in source.path.rglob("*") if path.is_file()]
    except OSError as error:
        raise DataError(f"{source.name} cannot be read: {error.strerror or error}.") from None
    images = sorted(path for path in every if is_row_file(path, IMAGE_SUFFIXES))
    shown = sum(not path.name.startswith(".") for path in every)
    return images, shown - len(images)


def image_batches(source: RowSource, row_shape: tuple[int, ...]) -> Iterator[InputBatch]:
    """The files of a source, which are images, as rows of this shape, resized to it.

    One that cannot be read is a bad row, told by name.
    """
    mode = mode_of(row_shape)
    assert source.path is not None, "images are files"
    assert mode is not None, "a shape of images"
    files = source.files or []
    folder = source.path if source.kind == "folder" else source.path.parent
    most = rows_at_once(math.prod(row_shape))
    for start in range(0, len(files), most):
        some = files[start : start + most]
        images, bad = read_images(some, row_shape[:2], mode)
        rows: Array = images.reshape(len(some), *row_shape)
        problems = {
            row: f"({printable(some[row].relative_to(folder).as_posix())}) {reason}"
            for row, reason in bad.items()
        }
        yield InputBatch.of(rows, start, None, problems)
