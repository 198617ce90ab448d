"""The project's own specs, most of them experiments of the book, to be copied."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import Final

from nnrun.errors import NnrunError, UsageError
from nnrun.spec.wording import listing, nearest, quoted

_PACKAGE: Final = Path(__file__).parents[1]
_PLACES: Final = (_PACKAGE / "examples", _PACKAGE.parent / "specs")
"""In an installed wheel, and next to the package in a working copy."""

_EDITOR_LINE: Final = "# yaml-language-server:"


def examples_folder() -> Path:
    """The folder that holds the specs.

    Raises:
        NnrunError: the installation lacks it.
    """
    for place in _PLACES:
        if place.is_dir():
            return place
    raise NnrunError(f"The example specs are not in {_PLACES[0]}. Install nnrun again.")


def example_names() -> tuple[str, ...]:
    """What there is, sorted."""
    return tuple(sorted(path.stem for path in examples_folder().glob("*.yaml")))


def example_text(name: str) -> str:
    """A spec's YAML, without the line for editors, whose path holds in the project's folder alone.

    Raises:
        UsageError: there is no such example.
    """
    names = example_names()
    if name not in names:
        match = nearest(name, names)
        hint = f" Did you mean {quoted(match)}?" if match else ""
        raise UsageError(f"There is no example {quoted(name)}.{hint} There are {listing(names, 'and')}.")
    lines = (examples_folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(_EDITOR_LINE))


def example_summary(name: str) -> str:
    """The first sentence of a spec's own words."""
    lines = takewhile(lambda line: line.startswith("#"), example_text(name).splitlines())
    words = " ".join(line.removeprefix("#").strip() for line in lines)
    sentence = re.match(r".*?[.](?=\s|$)", words)
    return sentence[0] if sentence else words
