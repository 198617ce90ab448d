"""What `nnrun init` decides: target, task, inputs; and that any names survive the way into YAML and back."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.data.describe_file import read_file
from nnrun.data.files.read import ReadTable
from nnrun.data.table import CategoryColumn, NumberColumn
from nnrun.errors import DataError
from nnrun.experiment.init.inputs import choose_inputs
from nnrun.experiment.init.leaks import leak_of
from nnrun.experiment.init.table_spec import Request, initial_spec_of_file
from nnrun.experiment.init.roles import counts_rows
from nnrun.experiment.init.target import default_target, default_task, why_no_target
from nnrun.spec import schema
from nnrun.spec.load import load_spec


def table(folder: Path, columns: dict[str, Sequence[object]]) -> ReadTable:
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return read_file(folder / "t.csv")


CLASSES = ["x", "y", "z"] * 10
OTHERS = ["u", "v"] * 15
NUMBERS = [i * 1.5 % 7 for i in range(30)]
NAMES = [f"n{i}" for i in range(30)]
GAPS = ["", *CLASSES[1:]]


@pytest.mark.parametrize(
    ("columns", "target"),
    [
        ({"class": CLASSES, "survived": OTHERS, "a": CLASSES}, "survived"),  # the order of usual names
        ({"a": CLASSES, "Label": NUMBERS, "b": CLASSES}, "Label"),  # whatever the case
        ({"t": NUMBERS, "a": CLASSES}, "t"),  # as t.csv
        ({"a": CLASSES, "b": OTHERS, "c": NUMBERS}, "b"),  # few values
        ({"a": NUMBERS, "b": NUMBERS}, "b"),  # the last
        ({"a": CLASSES, "label": NAMES}, "a"),  # texts that all differ
        ({"a": CLASSES, "label": GAPS}, "a"),  # missing values
        ({"a": CLASSES, "label": ["x"] * 30}, "a"),  # one value
        ({"a": CLASSES, "label": range(30)}, "a"),  # a counter
        ({"a": CLASSES, "label": ["q", *CLASSES[1:]]}, "a"),  # a class of one row
        ({"a": OTHERS, "y": ["2026-01-01", "2026-02-03"] * 15}, "a"),  # dates
    ],
)
def test_the_target(columns: dict[str, Sequence[object]], target: str, tmp_path: Path) -> None:
    assert default_target(table(tmp_path, columns), "t")[0] == target


def test_no_target(tmp_path: Path) -> None:
    file = table(tmp_path, {"a": NAMES, "b": GAPS})
    with pytest.raises(DataError, match=r"^.*t\.csv: no column can be the target: 'a' has 30 different"):
        default_target(file, "t")
    assert why_no_target(file.columns["b"], 30) == "lacks a value in 1 row, and every row needs one"


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (CLASSES, "classification"),
        ([0, 1] * 15, "classification"),
        ([3, -1] * 15, "classification"),
        ([1, 2, 3] * 10, "classification"),
        ([1, 2, 3, 4] * 7 + [1, 2], "regression"),  # 7 rows for a value
        ([0.5, 1.5] * 15, "regression"),
        ([1] + [0] * 29, "regression"),
        (NUMBERS, "regression"),
    ],
)
def test_the_task(values: Sequence[object], task: str, tmp_path: Path) -> None:
    file = table(tmp_path, {"y": values})
    assert default_task(file.columns["y"], file.n_rows) == task


@pytest.mark.parametrize(
    ("name", "values", "counts"),
    [
        ("a", range(1, 31), True),
        ("customer_id", [i * 7 % 31 for i in range(30)], True),
        ("userId", [i * 7 % 31 for i in range(30)], True),
        ("paid", [i * 7 % 31 for i in range(30)], False),  # ends in id, and is no id
        ("weight", [i * 7 % 31 for i in range(30)], False),
        ("id", [i % 3 for i in range(30)], False),  # one of three machines
        ("id", NUMBERS, False),
    ],
)
def test_what_counts_or_names_rows(name: str, values: Sequence[object], counts: bool, tmp_path: Path) -> None:
    file = table(tmp_path, {name: values})
    assert counts_rows(name, file.columns[name], file.n_rows) is counts


# --- what gives the target away ----------------------------------------------------------------------------


def category(codes: Sequence[int]) -> CategoryColumn:
    return CategoryColumn("c", np.array(codes, np.int32), ("a", "b", "c", "d"))


def test_a_column_that_tells_the_class() -> None:
    labels = np.arange(400) % 2
    target = category(labels.tolist())
    assert gives_away(category((1 - labels).tolist()), target, "classification") == (
        "each of its values goes with one class"
    )
    assert gives_away(NumberColumn("n", labels * 3.0), target, "classification") is not None
    finer = labels + 2 * (np.arange(400) % 4 < 2)
    assert gives_away(category(finer.tolist()), target, "classification") is not None
    with_gaps = np.where(labels == 1, -1, 0)  # only one class lacks a value
    assert gives_away(category(with_gaps.tolist()), target, "classification") is not None


@pytest.mark.parametrize(("wrong", "found"), [(0, True), (2, True), (3, False)])
def test_some_exceptions_are_let_pass(wrong: int, found: bool) -> None:
    """1 % of the 200 rows outside the largest class."""
    labels = np.arange(400) % 2
    almost = labels.copy()
    almost[:wrong] = 1 - almost[:wrong]
    how = gives_away(category(almost.tolist()), category(labels.tolist()), "classification")
    assert (how is not None) is found


def test_that_most_rows_are_of_one_class_is_no_giveaway() -> None:
    labels = (np.arange(1000) % 200 == 0).astype(int)  # 5 of 1,000
    assert (
        gives_away(
            category(((np.arange(1000) // 7) % 2).tolist()), category(labels.tolist()), "classification"
        )
        is None
    )


def test_values_of_few_rows_prove_nothing() -> None:
    labels = np.arange(18) % 2
    assert gives_away(category(labels.tolist()), category(labels.tolist()), "classification") is None
    names = NumberColumn("n", np.random.RandomState(0).permutation(60) * 1.0)
    assert gives_away(names, category((np.arange(60) % 2).tolist()), "classification") is None


def test_thresholds_and_lines() -> None:
    rng = np.random.RandomState(0)
    score = rng.uniform(size=200)
    labels = category((score > 0.4).astype(int).tolist())
    assert gives_away(NumberColumn("s", score), labels, "classification") == (
        "its range falls into one piece for each class"
    )
    noisy = NumberColumn("s", score + rng.normal(0, 0.05, 200))
    assert gives_away(noisy, labels, "classification") is None
    target = NumberColumn("y", 1e200 * score)
    assert gives_away(NumberColumn("s", 3 - 2 * score), target, "regression") == (
        "the target is a straight line of it"
    )
    assert gives_away(noisy, target, "regression") is None
    assert gives_away(category((score > 0.5).astype(int).tolist()), target, "regression") is None
    coarse = NumberColumn("y", np.round(3 * score))
    codes = category(np.round(3 * score).astype(int).tolist())
    assert gives_away(codes, coarse, "regression") == "each of its values goes with one number"


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
            task = default_task(file.columns[target], file.n_rows)
            spec_path = here / "s.yaml"
            spec_path.write_text(
                initial_spec_of_file(here / "t.csv", target, task, spec_path).text, encoding="utf-8"
            )
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
    spec_path.write_text(initial_spec_of_file(Path("t.csv"), "y", "classification", spec_path).text)
    loaded = load_spec(spec_path).spec.dataset
    assert isinstance(loaded, schema.Csv)
    assert os.path.samefile(loaded.path, "t.csv")
    assert str(tmp_path) not in spec_path.read_text()
