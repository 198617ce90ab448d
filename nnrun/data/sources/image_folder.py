"""Images in one folder for each class: `<class>/*.png`, or train/<class>/* and test/<class>/*; also JPEG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrun.data.cache_entry import OnMessage
from nnrun.data.dataset import Dataset, SourceFile
from nnrun.data.files import stored_arrays
from nnrun.data.files.array_cache import cached_array
from nnrun.data.files.images import IMAGE_SUFFIXES, image_shape, pillow_version, read_images
from nnrun.data.files.open_file import shown_path
from nnrun.data.sources.class_folders import FileKind, load_class_folders
from nnrun.data.sources.context import LoadContext
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import counted

IMAGES = FileKind("image_folder", "images", IMAGE_SUFFIXES)
_MOST_NAMED: Final = 5  # files that a message names
_BYTES_AT_ONCE: Final = 1 << 26


def load(spec: schema.ImageFolder, context: LoadContext) -> Dataset:
    """The folder's images, (height, width, channels) bytes, by class and then by the names of their files.

    Raises:
        DataError: there are no two classes; or a file is no image: names it.
    """
    read = partial(_read, spec, context.on_message)
    return load_class_folders(Path(spec.path), spec.test, context, IMAGES, read)


def _read(
    spec: schema.ImageFolder, on_message: OnMessage, files: Sequence[Path], folder: SourceFile
) -> npt.NDArray[np.uint8]:
    """The images; where they are large, decoded once into nnrun's cache and mapped from there."""
    shape = (len(files), *image_shape(spec.height_and_width, spec.mode))
    if math.prod(shape) < stored_arrays.STORED_BYTES:
        (images,) = _decoded(spec, files, max(1, len(files)))
        return images
    at_once = max(1, _BYTES_AT_ONCE // math.prod(shape[1:]))
    names = [(file.parent.name, file.name) for file in files]
    key = ["images", folder.sha256, names, spec.mode, pillow_version()]
    what = f"{shown_path(Path(spec.path))}: {counted(len(files), 'image')} of {shape[1:]} bytes"
    kind = np.dtype(np.uint8)
    found = cached_array(key, shape, kind, lambda: _decoded(spec, files, at_once), what, on_message)
    if found is None:
        (found,) = _decoded(spec, files, len(files))
    return found


def _decoded(
    spec: schema.ImageFolder, files: Sequence[Path], at_once: int
) -> Iterator[npt.NDArray[np.uint8]]:
    """The images, so many at a time; at the end DataError where files could not be read."""
    every: dict[int, str] = {}
    for first in range(0, len(files), at_once):
        images, bad = read_images(files[first : first + at_once], spec.height_and_width, spec.mode)
        every |= {first + place: why for place, why in bad.items()}
        yield images
    if every:
        named = [f"{shown_path(files[place])} {every[place]}" for place in sorted(every)[:_MOST_NAMED]]
        more = f"; and {counted(len(every) - _MOST_NAMED, 'more file')}" if len(every) > _MOST_NAMED else ""
        raise DataError(f"{'; '.join(named)}{more}. Mend or remove {'it' if len(every) == 1 else 'them'}.")
