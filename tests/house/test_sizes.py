"""How large the parts of the house may become: what a reader can hold in mind at once."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "nnrun"
MODULES = sorted(PACKAGE.rglob("*.py"))

LONGEST_FUNCTION = 59  # lines, from `def` to the last one
MOST_MODULES = 20  # in a folder
LONGEST_MODULE = 700  # lines

LONG_MODULES = {
    "api.py": "one function for each command, whose arguments and docstrings are most of it",
    "records/run_record.py": "the fields of one file, run.json, with what each means",
}
"""Longer modules, and why."""


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def test_functions_are_short() -> None:
    functions = [
        (f"{name_of(path)}: {node.name} has {lines_of(node)} lines", lines_of(node))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(functions) > 1000
    assert [text for text, lines in functions if lines > LONGEST_FUNCTION] == []


def test_folders_have_few_modules() -> None:
    """But the folder of commands, which has a module for each."""
    in_folder = Counter(path.parent for path in MODULES if path.stem not in ("__init__", "__main__"))
    assert len(in_folder) > 10
    large = {name_of(folder): n for folder, n in in_folder.items() if n > MOST_MODULES}
    assert set(large) <= {"cli"}, large


def test_modules_are_short() -> None:
    lines = {name_of(path): len(path.read_bytes().splitlines()) for path in MODULES}
    long = {name: n for name, n in lines.items() if n > LONGEST_MODULE}
    assert set(long) == set(LONG_MODULES), long
