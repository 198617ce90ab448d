"""How the parts of a script stand together: its docstring, imports, constants and functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np

from nnrun.experiment.ejecting.lesson import Lesson

_THIRD = ("keras", "numpy", "pandas", "sklearn", "torch")
_TABLE = "csv"
WEIGHTS, HISTORY = "_weights.npz", f"_history.{_TABLE}"
"""The ends of the names of the files beside a script: no data file of a person is called so, and no file of a
run."""

WIDTH = 88  # of ruff's default


@dataclass(frozen=True)
class Script:
    """A script.

    Attributes:
        source: its text.
        arrays: what the file beside it holds: initial weights, and what follows from no short formula.
        notes: in what its history differs from nnrun's, if in anything.
    """

    source: str
    arrays: Mapping[str, np.ndarray[Any, Any]]
    notes: tuple[str, ...] = ()


def head(lesson: Lesson, name: str, framework: str, needs: Sequence[str], notes: Sequence[str]) -> str:
    """The script's own docstring."""
    said = [
        f"The training of {lesson.source}, written out with {framework}.",
        "",
        fill(
            f"It needs {', '.join(needs)}, and {name}{WEIGHTS} beside it, which holds the initial weights "
            f"of nnrun. The history is written to {name}{HISTORY}: it is that of `nnrun train`, to rounding.",
            WIDTH,
        ),
        *(part for note in notes for part in ("", fill(note, WIDTH))),
    ]
    text = "\n".join(said).replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{text}\n"""'


def join_parts(docstring: str, imports: Iterable[str], constants: Sequence[str], parts: Sequence[str]) -> str:
    """The whole script."""
    own = set(imports)
    third = {line for line in own if line.split()[1].partition(".")[0] in _THIRD}
    future = ["from __future__ import annotations"] if any("Sequence[" in part for part in parts) else []
    blocks = [*future, *("\n".join(_sorted(block)) for block in (own - third, third) if block)]
    return "\n".join(
        [docstring, "", "\n\n".join(blocks), "", "\n".join(constants), "", "", "\n\n\n".join(parts), ""]
    )


def _sorted(lines: Iterable[str]) -> list[str]:
    """Plain imports first, as ruff's isort has them."""
    return sorted(lines, key=lambda line: (line.startswith("from "), line))


def assigned(name: str, text: str) -> list[str]:
    """A constant, as ruff formats it: a text that is too long has a line of its own, if it fits."""
    value = json.dumps(text)
    if len(f"{name} = {value}") <= WIDTH or len(value) + 4 > WIDTH:
        return [f"{name} = {value}"]
    return [f"{name} = (", f"    {value}", ")"]
