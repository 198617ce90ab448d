"""Copies of functions and classes: what a script needs of nnrun's own code, and of what that needs."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_MODULES = (
    "nnrun.data.value_names",
    "nnrun.data.inference.number_spelling",
    "nnrun.data.inference.dates",
    "nnrun.data.preprocess.split_words",
    "nnrun.data.preprocess.quantile_steps",
    "nnrun.sequences",
    "nnrun.model.activations",
    "nnrun.experiment.scripting.layer_parts",
    "nnrun.experiment.scripting.step_parts",
    "nnrun.experiment.scripting.row_parts",
    "nnrun.experiment.scripting.output_parts",
)
"""Where parts are, each before those that use it."""
_LAZY = {"torch": "import torch", "F": "from torch.nn import functional as F"}


@dataclass(frozen=True)
class Part:
    """A function, class or value of a module.

    Attributes:
        source: its text.
        names: all that it may refer to.
        place: its place in its module.
    """

    source: str
    names: frozenset[str]
    place: int


@dataclass(frozen=True)
class _Module:
    """What a module defines, and imports: name → the statement."""

    parts: dict[str, Part]
    imports: dict[str, str]


def names_in(source: str) -> frozenset[str]:
    """The names that a piece of code refers to, but for its annotations."""
    return _names(ast.parse(source))


def _names(tree: ast.AST) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


@cache
def _read(module: str) -> _Module:
    found = find_spec(module)  # not imported: what a part needs is for whoever runs the script
    assert found is not None, "a module of this package"
    assert found.origin is not None, "a file"
    source = Path(found.origin).read_text(encoding="utf-8")
    lines = source.splitlines()
    parts: dict[str, Part] = {}
    imports: dict[str, str] = {}
    statements = ast.parse(source).body
    for place, node in enumerate(statements):
        if isinstance(node, ast.Import | ast.ImportFrom):
            own = node.module if isinstance(node, ast.ImportFrom) else None
            for alias in node.names:
                known = alias.asname or alias.name
                renamed = "" if alias.asname is None else f" as {alias.asname}"
                statement = f"import {alias.name}{renamed}"
                imports[known] = statement if own is None else f"from {own} {statement}"
            continue
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        text = "\n".join(lines[first - 1 : node.end_lineno])
        for name in _defined(node):
            parts[name] = Part(text, _names(node), place)
    return _Module(parts, imports)


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign)
        else []
    )
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def collected(names: Iterable[str], of_modules: Sequence[str] = _MODULES) -> tuple[list[str], set[str]]:
    """The parts that these names need, each behind those that it needs, and the imports of all.

    A name that is no part is left out: it is the script's own, or Python's.
    """
    found: dict[tuple[int, int], str] = {}
    imports: set[str] = set()
    modules = [_read(module) for module in of_modules]
    owners: dict[str, int] = {}

    def add(name: str, own: int | None) -> None:
        """A name as a module has it, or as the script itself does."""
        order = [] if own is None else [own]
        for place in [*order, *range(len(modules))]:
            module = modules[place]
            if name in module.parts:
                part = module.parts[name]
                assert owners.setdefault(name, place) == place, f"two modules define {name}"
                if (place, part.place) not in found:
                    found[place, part.place] = part.source
                    for needed in sorted(part.names):
                        add(needed, place)
                return
            if own == place and name in module.imports:
                statement = module.imports[name]
                if statement.startswith("from nnrun.lazy_torch"):
                    imports.add(_LAZY[name])
                    return
                if not statement.startswith("from nnrun"):
                    imports.add(statement)
                    return

    for name in sorted(names):
        add(name, None)
    return [found[key] for key in sorted(found)], imports
