"""Images in one folder for each class: `<class>/*.png`, or train/<class>/* and test/<class>/*; also JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Dataset
from nnrun.data.files.images import IMAGE_SUFFIXES, read_images
from nnrun.data.files.open_file import shown_path
from nnrun.data.sources.class_folders import FileKind, load_class_folders
from nnrun.data.sources.context import LoadContext
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import counted

IMAGES = FileKind("image_folder", "images", IMAGE_SUFFIXES)
_MOST_NAMED: Final = 5  # files that a message names


def load(spec: schema.ImageFolder, context: LoadContext) -> Dataset:
    """The folder's images, (height, width, channels) bytes, by class and then by the names of their files.

    Raises:
        DataError: there are no two classes; or a file is no image: names it.
    """
    return load_class_folders(Path(spec.path), spec.test, context, IMAGES, partial(_read, spec))


def _read(spec: schema.ImageFolder, files: Sequence[Path]) -> npt.NDArray[np.uint8]:
    images, bad = read_images(files, spec.height_and_width, spec.mode)
    if bad:
        named = [f"{shown_path(files[place])} {bad[place]}" for place in sorted(bad)[:_MOST_NAMED]]
        more = f"; and {counted(len(bad) - _MOST_NAMED, 'more file')}" if len(bad) > _MOST_NAMED else ""
        raise DataError(f"{'; '.join(named)}{more}. Mend or remove {'it' if len(bad) == 1 else 'them'}.")
    return images
