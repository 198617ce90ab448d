"""Names from data and specs, as text of a figure."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from nnrun.errors import printable


def plain_label(name: str) -> str:
    """A name as Matplotlib draws it: no formula (`$`), no control characters."""
    return printable(name).replace("\n", " ").replace("$", r"\$")


@contextmanager
def any_script() -> Iterator[None]:
    """Letters that the font lacks are drawn as boxes, and nobody is told of each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from", category=UserWarning)
        yield
