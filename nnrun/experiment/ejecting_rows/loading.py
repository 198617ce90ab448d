"""What the functions `load` of scripts share: files that are downloaded, classes that are numbered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnrun.data.archives.download import BASE_URL
from nnrun.experiment.ejecting.lesson import Array, Head
from nnrun.experiment.ejecting.script_text import assigned

KERAS_FOLDER = "~/.keras/datasets"
DOWNLOADS = frozenset(["import urllib.request", "from pathlib import Path"])
"""What a script imports that downloads a file where it is not there."""


@dataclass(frozen=True)
class Code:
    """A part of a script.

    Attributes:
        lines: its text.
        imports: the statements that it needs.
        arrays: what it takes from the file beside the script.
        helpers: functions that stand before it.
    """

    lines: Sequence[str]
    imports: frozenset[str] = frozenset()
    arrays: Mapping[str, Array] = field(default_factory=dict)
    helpers: tuple[str, ...] = ()


def fetching(name: str) -> list[str]:
    """Lines that download a published file where it is not there."""
    return [
        "    if not DATA.exists():",
        "        DATA.parent.mkdir(parents=True, exist_ok=True)",
        f'        urllib.request.urlretrieve(URL + "{name}", DATA)',
    ]


def place(path: Path | None, name: str, base: str = BASE_URL) -> list[str]:
    """Constants: where a published file lies, and where it comes from."""
    own = path is not None and path != usual(name)
    file = str(path) if own else f"{KERAS_FOLDER}/{name}"
    return [
        *assigned("FILE", file),
        f"DATA = Path(FILE){'' if own else '.expanduser()'}",
        *assigned("URL", base),
    ]


def usual(name: str) -> Path:
    """Where Keras keeps a published file."""
    return Path(KERAS_FOLDER).expanduser() / name


def is_numbered(head: Head, raw: Array) -> bool:
    """Whether nnrun numbered the classes of a target."""
    if head.class_names is None:
        return False
    own = head.values
    if head.present is not None:
        own, raw = own[head.present], raw[head.present]
    same = raw.dtype.kind in "biuf" and raw.shape[: own.ndim] == own.shape and np.array_equal(raw, own)
    return not same


def classes_of(head: Head, values: str) -> str:
    """The classes of a target from 0, as an expression; -1 where a row has none."""
    if head.present is None:
        return f"np.unique({values}, return_inverse=True)[1]"
    return f"pd.factorize({values}, sort=True)[0]"
