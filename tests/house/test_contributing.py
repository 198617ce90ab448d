"""What CONTRIBUTING.md and the README say of the code: what they name exists."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import nnrun
from nnrun.spec import schema

REPOSITORY = Path(__file__).parents[2]
PACKAGE = Path(nnrun.__file__).parent
TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
QUOTED = sorted(set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))))
PATHS = [name for name in QUOTED if re.fullmatch(r"[\w./]*(/|\.py|\.md|\.toml|\.yaml)[\w./]*", name)]
ROOMS = {path.stem for path in PACKAGE.iterdir()}
NAMES = [
    name for name in QUOTED if re.fullmatch(r"\w+(\.\w+)+", name) and name.split(".")[0] in ROOMS - {"nnrun"}
]
REGISTRIES = [name for name in QUOTED if re.fullmatch(r"[A-Z]+[A-Z_]*", name)]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PATHS])
def test_every_name_is_there(name: str) -> None:
    parts = name.split(".")
    end = next(n for n in range(len(parts), 0, -1) if _is_module(parts[:n]))
    found = import_module(".".join(["nnrun", *parts[:end]]))
    for part in parts[end:]:
        found = getattr(found, part)


def _is_module(parts: list[str]) -> bool:
    path = PACKAGE.joinpath(*parts)
    return path.is_dir() or path.with_suffix(".py").exists()


@pytest.mark.parametrize("path", [path for path in PATHS if path != "runs/"])
def test_every_path_is_there(path: str) -> None:
    assert (REPOSITORY / path).exists() or (PACKAGE / path).exists()


def test_the_files_that_the_readme_names_are_there() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    paths = re.findall(r"(?<![\w./])(?:nnrun|tests|specs)/[\w/.]*\w", readme)
    assert len(paths) > 5
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


KEYS = {
    "dataset": schema.Dataset,
    "preprocessing.inputs": schema.InputStep,
    "preprocessing.targets": schema.TargetStep,
    "layers": schema.Layer,
    "loss": schema.Loss,
    "optimizer": schema.Optimizer,
    "learning_rate_schedule": schema.LearningRateSchedule,
    "metrics": schema.Metric,
    "validation": schema.Validation,
}


@pytest.mark.parametrize("key", KEYS)
def test_the_readme_names_every_component_in_the_row_of_its_key(key: str) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    row = next(line for line in readme.splitlines() if line.startswith(f"| `{key}` |"))
    missing = set(schema.components(KEYS[key])) - set(re.findall(r"\w+", row))
    assert missing == set(), f"name these in the row `{key}` of the table in README.md"


def test_the_names_are_found_at_all() -> None:
    assert len(NAMES) > 30
    assert len(PATHS) > 30


@pytest.mark.parametrize("name", REGISTRIES)
def test_every_registry_and_table_is_a_name_in_a_file_that_its_recipe_names(name: str) -> None:
    (recipe,) = [part for part in re.split(r"^(?=\*\*An? )", TEXT, flags=re.MULTILINE) if f"`{name}`" in part]
    files = [REPOSITORY / path for path in re.findall(r"`(tests/[\w/]+\.py)`", recipe)]
    files += [PACKAGE / path for path in re.findall(r"`((?!tests)[\w/]+\.py)`", recipe)]
    assert any(
        re.search(rf"^{name}\b.* = ", file.read_text(encoding="utf-8"), re.MULTILINE) for file in files
    )


def test_the_tree_has_every_folder_of_the_package_and_no_other() -> None:
    tree = TEXT.partition("```\nnnrun/\n")[2].partition("```")[0]
    found, above = set(), ""
    for indent, name in re.findall(r"^( +)(\w+)/ ", tree, re.MULTILINE):
        above = name if len(indent) == 2 else above
        found.add(name if len(indent) == 2 else f"{above}/{name}")
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")}
    assert found == folders - {"."}
