"""How the parts of a script stand together: its docstring, imports, constants and functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np

from nnrun.experiment.ejecting.lesson import Lesson

_THIRD = ("keras", "numpy", "pandas", "scipy", "sklearn", "torch")
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


def notes_of(lesson: Lesson) -> tuple[str, ...]:
    """What of the spec a script leaves out, whatever it trains with."""
    if not lesson.spec.linear_member:
        return ()
    return (
        "It leaves linear_member out: the linear models that `nnrun final --members folds` averages into the "
        "networks once they are trained.",
    )


def head(lesson: Lesson, name: str, framework: str, needs: Sequence[str], notes: Sequence[str]) -> str:
    """The script's own docstring."""
    said = [
        f"The training of {lesson.source}, written out with {framework}.",
        "",
        fill(
            f"It needs {', '.join(needs)}, and {name}{WEIGHTS} beside it, which holds the initial weights "
            f"of nnrun. The history is written to {name}{HISTORY}: it is that of `nnrun train`, to rounding. "
            "(The order of additions differs; training may amplify that from epoch to epoch.)",
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


_VECTORIZERS = "sklearn.feature_extraction.text"
_IMPORTS = {
    "copy": "import copy",
    "math": "import math",
    "CountVectorizer": f"from {_VECTORIZERS} import CountVectorizer",
    "TfidfVectorizer": f"from {_VECTORIZERS} import TfidfVectorizer",
}


def needed_imports(names: Iterable[str]) -> set[str]:
    """What a script imports where it uses such names, whatever trains it."""
    return {_IMPORTS[name] for name in names if name in _IMPORTS}


_PACKAGES = {"sklearn": "scikit-learn", "pandas": "pandas", "scipy": "scipy"}


def needed(imports: Iterable[str]) -> list[str]:
    """The packages that a script imports besides NumPy and its framework, as pip knows them."""
    roots = {line.split()[1].partition(".")[0] for line in imports}
    return [package for root, package in _PACKAGES.items() if root in roots]


def _sorted(lines: Iterable[str]) -> list[str]:
    """Plain imports first, as ruff's isort has them."""
    return sorted(lines, key=lambda line: (line.startswith("from "), line))


def call_lines(start: str, parts: Sequence[str], end: str, *, indent: int = 0) -> list[str]:
    """`start part, part end`, as ruff formats it: each part has a line of its own where one is too short.

    `indent` is by how much the lines are moved to the right later. Arguments of a call may share a line of
    their own; the parts of a list, a dictionary or a tuple do not.
    """
    line = f"{start}{', '.join(parts)}{end}"
    if len(line) + indent <= WIDTH:
        return [line]
    spaces = " " * (len(start) - len(start.lstrip()))
    body = f"{spaces}    {', '.join(parts)}"
    if len(body) + indent <= WIDTH and not start.endswith(("[", "{", "=(")):
        return [start, body, f"{spaces}{end}"]
    return [start, *(f"{spaces}    {part}," for part in parts), f"{spaces}{end}"]


def literal(text: str) -> str:
    """A text as Python writes it. JSON would escape what lies beyond 16 bits as two characters."""
    return json.dumps(text, ensure_ascii=False)


def assigned(name: str, text: str) -> list[str]:
    """A constant, as ruff formats it: a text that is too long has a line of its own, if it fits."""
    value = literal(text)
    if len(f"{name} = {value}") <= WIDTH or len(value) + 4 > WIDTH:
        return [f"{name} = {value}"]
    return [f"{name} = (", f"    {value}", ")"]
