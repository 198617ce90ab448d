"""The inputs of a first spec; and that any names survive the way into YAML and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables_of_columns import CLASSES, NAMES, NUMBERS, OTHERS, table

from nnrun.experiment.init.inputs import choose_inputs
from nnrun.experiment.init.table_spec import Request, initial_spec_of_file
from nnrun.experiment.init.target import default_task
from nnrun.spec import schema
from nnrun.spec.load import load_spec


def test_the_inputs(tmp_path: Path) -> None:
    rows = {
        "id": range(30),
        "name": NAMES,
        "same": ["s"] * 30,
        "nearly_empty": [5, *[""] * 29],
        "day": [f"2026-01-{i + 1:02d}" for i in range(30)],
        "kept": NUMBERS,
        "again": [value.upper() for value in CLASSES],
        "y": CLASSES,
    }
    inputs = choose_inputs(table(tmp_path, rows), ["y"], "classification")
    assert inputs.names == ("kept",)
    assert set(inputs.left_out) == {"id", "name", "same", "nearly_empty", "day"}
    assert set(inputs.giveaways) == {"again"}


@pytest.mark.parametrize("columns", [{"again": OTHERS}, {"id": range(30)}])
def test_the_last_input_stays(columns: dict[str, Sequence[object]], tmp_path: Path) -> None:
    """A giveaway is told all the same."""
    inputs = choose_inputs(table(tmp_path, {**columns, "y": OTHERS}), ["y"], "classification")
    assert inputs.names == tuple(columns)
    assert inputs.kept_giveaways is ("again" in columns)


# --- names and paths ---------------------------------------------------------------------------------------

PRINTABLE = st.characters(exclude_categories=("C", "Zl", "Zp"), exclude_characters='"')
COLUMN_NAMES = st.lists(
    st.text(PRINTABLE, min_size=1, max_size=12).map(str.strip).filter(lambda s: s and not is_number(s)),
    min_size=3,
    max_size=3,
    unique=True,
)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@settings(max_examples=150)
@given(names=COLUMN_NAMES)
def test_any_names_come_back_from_the_spec(names: list[str]) -> None:
    with TemporaryDirectory() as folder:
        here = Path(folder)
        file = table(here, dict(zip(names, (NUMBERS, OTHERS, [1, -1, 3] * 10), strict=True)))
        for target in names:
            task = default_task(file.columns[target], file.n_rows, target)
            spec_path = here / "s.yaml"
            request = Request(here / "t.csv", (target,), task, spec_path)
            spec_path.write_text(initial_spec_of_file(request).text, encoding="utf-8")
            loaded = load_spec(spec_path)
            assert loaded.warnings == ()
            dataset = loaded.spec.dataset
            assert isinstance(dataset, schema.Csv)
            assert dataset.target == [target]
            assert dataset.inputs == [name for name in names if name != target]
            assert dataset.path == str(here / "t.csv")


@pytest.mark.parametrize("place", ["s.yaml", "below/s.yaml", "below/further/s.yaml"])
def test_the_path_is_relative_to_the_spec(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a folder on the way is a link."""
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "further").mkdir()
    os.symlink(tmp_path / "real" / "deep", tmp_path / "below")
    table(tmp_path, {"a": NUMBERS, "y": OTHERS})
    monkeypatch.chdir(tmp_path)
    spec_path = Path(place)
    spec_path.write_text(
        initial_spec_of_file(Request(Path("t.csv"), ("y",), "classification", spec_path)).text
    )
    loaded = load_spec(spec_path).spec.dataset
    assert isinstance(loaded, schema.Csv)
    assert os.path.samefile(loaded.path, "t.csv")
    assert str(tmp_path) not in spec_path.read_text()
