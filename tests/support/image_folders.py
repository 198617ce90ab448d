"""Folders of small images, a folder for each class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def write_images(folder: Path, classes: Mapping[str, int], side: int = 12, *, grey: bool = False) -> None:
    """So many images of each class, PNG and JPEG by turns; a class is a bright band at a place of its own."""
    rng = np.random.default_rng(0)
    for place, (name, images) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for number in range(images):
            pixels = rng.integers(0, 100, (side, side + 3, 3)).astype(np.uint8)
            pixels[3 * place : 3 * place + 3] += 150
            image = Image.fromarray(pixels[..., 0] if grey else pixels)
            image.save(folder / name / f"{number}.{'jpg' if number % 2 else 'png'}")
