"""The inputs of a first spec; and that any names survive the way into YAML and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.experiment.init.input_columns import choose_inputs
from nnrun.experiment.init.names import marks_split
from nnrun.experiment.init.table_spec import Request, initial_spec_of_file
from nnrun.experiment.init.target import TaskName, default_task
from nnrun.experiment.setup.check_data import problems_of_data
from nnrun.spec import schema
from nnrun.spec.reading.load import load_spec
from tests.support.tables_of_columns import CLASSES, NAMES, NUMBERS, OTHERS, table


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
    assert inputs.names == ("day", "kept")
    assert set(inputs.left_out) == {"id", "name", "same", "nearly_empty"}
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
    st.text(PRINTABLE, min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda s: s and not is_number(s) and not marks_split(s)),  # which is no input
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


@settings(max_examples=50)  # each is three specs
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


# --- what the lines of the spec say ------------------------------------------------------------------------


def spec_of(folder: Path, columns: dict[str, Sequence[object]], *targets: str, task: TaskName) -> str:
    file = table(folder, columns)
    return initial_spec_of_file(Request(folder / "t.csv", targets, task, folder / "s.yaml"), file).text


MANY = [i * 1.7 % 13 for i in range(60)]
FINE = [(i * 37 % 61) / 7 for i in range(60)]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            {"part": ["train"] * 40 + ["valid"] * 10 + ["test"] * 10, "a": MANY, "y": FINE},
            "validation: {holdout: {column: part, value: valid}}",
        ),
        (
            {"fold": [i % 4 for i in range(60)], "a": MANY, "y": FINE},
            "validation: {kfold: {k: 4, group: fold}}",
        ),
        ({"subject": [i // 4 for i in range(60)], "a": MANY, "y": FINE}, "    group: subject"),
        (
            {"day": [f"{i % 28 + 1}.{i // 28 + 1}.2026" for i in range(60)], "a": MANY, "y": FINE},
            "validation: {time_series: {k: 4, column: day}}",
        ),
        (
            {"year": range(1960, 2020), "a": MANY, "y": FINE},
            "validation: {time_series: {k: 4, column: year}}",
        ),
        ({"a": MANY, "b": FINE, "y": [2.0**v for v in MANY]}, "  targets: [log1p, standardize]"),
        ({"a": MANY, "b": FINE, "y": FINE[::-1]}, "  targets: standardize"),
        ({"tags": ["red|blue", "red", "green|blue"] * 20, "a": MANY, "y": FINE}, "    types: {tags: text}"),
        (
            {"a": MANY, "y": ["", *FINE[1:]]},
            "    drop_missing_target: true  # 1 row of 60 without a target is",
        ),
    ],
)
def test_what_the_columns_decide(columns: dict[str, Sequence[object]], line: str, tmp_path: Path) -> None:
    text = spec_of(tmp_path, columns, "y", task="regression")
    assert line in text
    (tmp_path / "s.yaml").write_text(text)
    loaded = load_spec(tmp_path / "s.yaml")
    assert loaded.warnings == ()
    assert problems_of_data(loaded) == ()
    marks = {"part", "fold", "subject"} & columns.keys()
    assert isinstance(loaded.spec.dataset, schema.Csv)
    assert not marks & set(loaded.spec.dataset.inputs or ())


def test_a_rare_class_has_weights_and_metrics(tmp_path: Path) -> None:
    text = spec_of(tmp_path, {"a": MANY, "y": ["no"] * 55 + ["yes"] * 5}, "y", task="classification")
    assert "\nclass_weight: balanced\n" in text
    assert "\nmetrics: [accuracy, f1, average_precision]\n" in text


def test_several_labels(tmp_path: Path) -> None:
    columns = {"a": MANY, "rude": [i % 2 for i in range(60)], "kind": [int(i % 3 == 0) for i in range(60)]}
    text = spec_of(tmp_path, columns, "rude", "kind", task="regression")
    assert "    target: [rude, kind]" in text
    assert "  - dense: {units: 2, activation: sigmoid}" in text
    (tmp_path / "s.yaml").write_text(text)
    assert problems_of_data(load_spec(tmp_path / "s.yaml")) == ()


def test_one_text_among_others_leaves_the_network_of_a_table(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    words = [" ".join(rng.choice(["so", "many", "words", "in", "a", "row"], 6)) for _ in range(60)]
    columns = {"a": MANY, "b": FINE, "c": MANY[::-1], "note": words, "y": FINE[::-1]}
    text = spec_of(tmp_path, columns, "y", task="regression")
    assert text.count("  - dense: {units: 16, activation: relu}") == 2
    assert "num_words: 1000" in text
    assert "optimizer: adam\n" in text
