"""Images from PNG and JPEG files, all of one size, as bytes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg")
Mode = Literal["rgb", "grayscale"]
_PILLOW_MODES: Final = {"rgb": "RGB", "grayscale": "L"}
_CHANNELS: Final = {"rgb": 3, "grayscale": 1}
_MOST_THREADS: Final = 8
_LOOKED_AT: Final = 2_000  # files of a folder


def image_shape(size: Sequence[int], mode: Mode) -> tuple[int, int, int]:
    """(height, width, channels) of every image."""
    return (size[0], size[1], _CHANNELS[mode])


def read_images(
    files: Sequence[Path], size: Sequence[int], mode: Mode
) -> tuple[npt.NDArray[np.uint8], dict[int, str]]:
    """Images, resized by bilinear interpolation whatever their proportions, in colour or in grey.

    Args:
        files: PNG or JPEG files, N of them.
        size: height and width.
        mode: what they are converted to.

    Returns:
        (N, height, width, channels) bytes, 0 where a file cannot be read; and position → why it cannot, the
        end of a sentence.
    """
    images = np.zeros((len(files), *image_shape(size, mode)), np.uint8)
    bad: dict[int, str] = {}

    def read(place: int) -> None:
        found = _read_image(files[place], size, mode)
        if isinstance(found, str):
            bad[place] = found
        else:
            images[place] = found

    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        list(pool.map(read, range(len(files))))
    return images, bad


def pillow_version() -> str:
    """Of what decodes and resizes them, on which their bytes depend."""
    from PIL import __version__

    return __version__


def holds_images(folder: Path) -> bool:
    """Whether images are among the first files of a folder and its folders."""
    return any(file.suffix.lower() in IMAGE_SUFFIXES for file in islice(folder.rglob("*"), _LOOKED_AT))


def size_and_mode(path: Path) -> tuple[int, int, bool] | None:
    """Height, width and whether it is grey, of an image's head; None where it cannot be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            return image.height, image.width, image.mode in ("1", "L", "LA")
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _read_image(path: Path, size: Sequence[int], mode: Mode) -> npt.NDArray[np.uint8] | str:
    """(height, width, channels) bytes, or why the file cannot be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow warns of images so large that they may be meant to fill the memory.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                if image.mode.startswith(("I", "F")):
                    return "has more than 8 bits for each pixel and channel; save it with 8"
                converted = image.convert(_PILLOW_MODES[mode])
        resized = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except UnidentifiedImageError:
        return "is no PNG or JPEG image"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return "has too many pixels"
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # SyntaxError: of a damaged PNG
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return f"is damaged or cannot be read: {reason}"
    return np.asarray(resized, np.uint8).reshape(image_shape(size, mode))
