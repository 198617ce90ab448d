"""A file's columns in their parts, and its rows in training and test set."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nnrun.data import Dataset, load_dataset
from nnrun.data.table import CategoryColumn, NumberColumn, Table
from nnrun.errors import DataError
from nnrun.spec import schema

N = 60
ROWS = [
    {
        "id": 2 * i,  # i alone would count the rows
        "size": i / 4 if i % 10 else "",
        "colour": ["red", "green", "blue"][i % 3],
        "patient": f"p{i // 5}",
        "w": i % 4,
        "split": "test" if i % 6 == 0 else "train",
        "y": ["no", "yes"][i % 2],
    }
    for i in range(N)
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "data.csv", ROWS)


def load(
    path: Path, said: list[str] | None = None, *, split_columns: tuple[str, ...] = (), **keys: Any
) -> Dataset:
    spec = schema.Csv.model_validate({"path": str(path), "target": "y", **keys})
    return load_dataset(
        spec, split_columns=split_columns, on_message=(lambda text: None) if said is None else said.append
    )


def inputs(dataset: Dataset) -> Table:
    assert isinstance(dataset.train.inputs, Table)
    return dataset.train.inputs


def ids(samples: Any) -> list[int]:
    return [int(value) // 2 for value in samples.inputs.by_name["id"].values]


def test_every_other_column_is_an_input(path: Path) -> None:
    dataset = load(path)
    assert inputs(dataset).names == ("id", "size", "colour", "patient", "w", "split")
    assert dataset.feature_names == inputs(dataset).names
    assert (dataset.name, dataset.target_names) == ("data", ("y",))
    assert (dataset.task, dataset.classes, dataset.class_names) == ("binary", 2, ("no", "yes"))
    assert dataset.train.targets.tolist() == [i % 2 for i in range(N)]
    assert dataset.test is None
    places = dataset.train.places
    assert places is not None
    assert places.lines is not None
    assert places.lines.tolist() == list(range(2, N + 2))
    assert places.values.tolist() == list(range(N))
    (source,) = dataset.sources
    assert (source.name, source.rows, source.path) == ("data.csv", N, str(path))


def test_columns_with_a_part_are_no_inputs(path: Path) -> None:
    dataset = load(
        path,
        group="patient",
        weight="w",
        test={"column": "split", "value": "test"},
        split_columns=("colour",),
    )
    assert inputs(dataset).names == ("id", "size")
    assert dataset.train.split_columns is not None
    assert dataset.train.split_columns.names == ("colour",)
    rows = [i for i in range(N) if i % 6]
    assert ids(dataset.train) == rows
    assert dataset.train.weights is not None
    assert dataset.train.weights.tolist() == [i % 4 for i in rows]
    assert dataset.train.groups is not None
    patients = [i // 5 for i in rows]
    groups = dataset.train.groups
    assert all((groups[a] == groups[b]) == (patients[a] == patients[b]) for a in range(50) for b in range(50))
    assert dataset.test is not None
    assert ids(dataset.test) == list(range(0, N, 6))
    assert len(dataset.train.split_columns) == len(dataset.train) == 50


def test_what_the_validation_needs_is_an_input_where_the_spec_says_so(path: Path) -> None:
    dataset = load(path, inputs=["size", "colour"], split_columns=("colour",))
    assert inputs(dataset).names == ("size", "colour")
    assert dataset.train.split_columns is not None
    assert dataset.train.split_columns.names == ("colour",)


@pytest.mark.parametrize(
    ("targets", "task", "dtype"),
    [
        (["0", "1", "1"], "binary", "int64"),
        (["0", "1", "2"], None, "int64"),
        (["3", "1", "2"], None, "int64"),
        (["1.0", "2.0", "3.0"], None, "int64"),
        (["0.5", "1", "2"], "regression", "float64"),
        (["1e17", "2e17", "3"], "regression", "float64"),
        (["b", "a", "c"], "multiclass", "int64"),
        (["true", "False", "true"], "binary", "int64"),
    ],
)
def test_what_targets_are(tmp_path: Path, targets: list[str], task: str | None, dtype: str) -> None:
    dataset = load(write(tmp_path / "t.csv", [{"a": i, "y": y} for i, y in enumerate(targets)]))
    assert (dataset.task, str(dataset.train.targets.dtype)) == (task, dtype)


def test_several_targets(tmp_path: Path) -> None:
    rows = [{"a": i, "rain": i % 2, "wind": str(i % 3 == 0), "heat": i / 7} for i in range(9)]
    path = write(tmp_path / "t.csv", rows)
    labels = load(path, target=["rain", "wind"])
    assert labels.train.targets.tolist() == [[float(i % 2), float(i % 3 == 0)] for i in range(9)]
    assert (labels.task, labels.target_names) == (None, ("rain", "wind"))
    assert inputs(labels).names == ("a", "heat")
    assert load(path, target=["rain", "heat"]).task == "regression"


def test_types_override_what_a_column_looks_like(path: Path) -> None:
    column = inputs(load(path, types={"w": "category"})).by_name["w"]
    assert isinstance(column, CategoryColumn)
    assert column.levels == ("0", "1", "2", "3")
    assert load(path, target="w", types={"w": "category"}).class_names == ("0", "1", "2", "3")


def test_rows_with_gaps_can_be_left_out(path: Path) -> None:
    said: list[str] = []
    dataset = load(path, said, drop_missing=True, inputs=["id", "size"])
    assert ids(dataset.train) == [i for i in range(N) if i % 10]
    assert said == [f"{path}: 6 rows of 60 left out, since an input is missing ('size' 6)"]
    said.clear()
    assert len(load(path, said, drop_missing=True, inputs=["id", "colour"]).train) == N
    assert said == []


@given(
    fraction=st.floats(0.02, 0.95),
    shuffle=st.booleans(),
    stratify=st.booleans(),
    seed=st.integers(0, 2**63 - 1),
    drop=st.booleans(),
)
def test_training_and_test_rows_are_all_rows_once(
    tmp_path_factory: pytest.TempPathFactory,
    fraction: float,
    shuffle: bool,
    stratify: bool,
    seed: int,
    drop: bool,
) -> None:
    path = write(tmp_path_factory.mktemp("rows") / "data.csv", ROWS)
    test = {"fraction": fraction, "shuffle": shuffle, "stratify": stratify and shuffle, "seed": seed}
    rows = [i for i in range(N) if not drop or i % 10]
    n_test = math.ceil(fraction * len(rows))
    # Each class is on both sides: stratified rows see to it, others are many enough.
    assume(2 <= n_test <= len(rows) - 2 and (test["stratify"] or 20 <= n_test <= len(rows) - 20))
    dataset = load(path, test=test, drop_missing=drop, inputs=["id", "size"])
    assert dataset.test is not None
    assert sorted([*ids(dataset.train), *ids(dataset.test)]) == rows
    assert len(dataset.test) == n_test
    assert ids(dataset.train) == sorted(ids(dataset.train))
    if not shuffle:
        assert ids(dataset.test) == rows[-len(dataset.test) :]
    if test["stratify"]:
        share = dataset.test.targets.mean() * len(dataset.test)
        assert abs(share - len(dataset.test) * np.mean([i % 2 for i in rows])) < 1
    for samples in (dataset.train, dataset.test):
        assert samples.targets.tolist() == [i % 2 for i in ids(samples)]


def test_whole_groups_are_held_back(path: Path) -> None:
    dataset = load(path, group="patient", test={"fraction": 0.25})
    assert dataset.test is not None
    train, test = ({i // 5 for i in ids(samples)} for samples in (dataset.train, dataset.test))
    assert (len(train), len(test), train & test) == (9, 3, set())
    with pytest.raises(DataError, match="the last 13 rows, the test set, share a group with the rows before"):
        load(path, group="patient", test={"fraction": 0.2 + 0.01, "shuffle": False})
    last = load(path, group="patient", test={"fraction": 0.25, "shuffle": False}).test
    assert last is not None
    assert ids(last) == list(range(45, 60))
    with pytest.raises(DataError, match="of 12 groups is 12 and leaves none"):
        load(path, group="patient", test={"fraction": 0.95})


def test_stratifying_needs_classes_with_rows_enough(tmp_path: Path) -> None:
    heights = write(tmp_path / "t.csv", [{"a": i, "y": i / 3} for i in range(9)])
    with pytest.raises(DataError, match=r"test\.stratify needs classes, and the target has no classes"):
        load(heights, test={"fraction": 0.2, "stratify": True})
    rare = write(tmp_path / "rare.csv", [{"a": i, "y": "x" if i == 3 else "z"} for i in range(9)])
    with pytest.raises(DataError, match="the rarest has 1"):
        load(rare, test={"fraction": 0.5, "stratify": True})


def test_a_class_that_only_test_rows_have(tmp_path: Path) -> None:
    rows = [{"a": i, "y": "eel" if i > 7 else ["cat", "dog"][i % 2]} for i in range(10)]
    path = write(tmp_path / "t.csv", rows)
    with pytest.raises(DataError, match="line 10, column 'y': only test rows have the class 'eel'"):
        load(path, test={"fraction": 0.2, "shuffle": False})


@pytest.mark.parametrize(
    ("column", "value", "rows"),
    [
        ("split", "test", 10),
        ("w", 3, 15),
        ("w", "3", 15),
        ("w", 3.0, 15),
        ("truth", True, 30),
        ("size", 2.5, 0),
    ],
)
def test_test_rows_by_a_value(tmp_path: Path, column: str, value: Any, rows: int) -> None:
    path = write(tmp_path / "t.csv", [{**row, "truth": i % 4 < 2} for i, row in enumerate(ROWS)])
    if not rows:
        with pytest.raises(
            DataError, match=r"is 2\.5 in no row, so the test set is empty\. It holds numbers from"
        ):
            load(path, test={"column": column, "value": value})
        return
    dataset = load(path, test={"column": column, "value": value})
    assert dataset.test is not None
    assert len(dataset.test) == rows
    assert column not in inputs(dataset).names


def test_another_file_is_the_test_set(path: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    rows = [{**row, "more": 1} for row in ROWS[7:11]]
    other = write(tmp_path / "other" / "data.csv", [{k: row[k] for k in reversed(row)} for row in rows])
    dataset = load(path, test={"path": str(other)}, types={"w": "category"}, group="patient")
    assert dataset.test is not None
    assert isinstance(dataset.test.inputs, Table)
    assert dataset.test.inputs.names == inputs(dataset).names
    assert ids(dataset.test) == [7, 8, 9, 10]
    assert dataset.test.targets.tolist() == [1, 0, 1, 0]
    assert dataset.test.groups is None
    assert isinstance(dataset.test.inputs.by_name["w"], CategoryColumn)
    assert [source.name for source in dataset.sources] == ["data.csv", "other/data.csv"]
    assert [source.rows for source in dataset.sources] == [N, 4]
    write(other, [{**row, "y": "perhaps"} for row in ROWS])
    with pytest.raises(
        DataError, match="line 2, column 'y' holds the class 'perhaps', which the training rows"
    ):
        load(path, test={"path": str(other)})


def test_a_test_file_may_hold_a_single_class(path: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "test.csv", ROWS[:1])
    dataset = load(path, test={"path": str(other)})
    assert dataset.test is not None
    assert dataset.test.targets.tolist() == [0]


def test_names_that_nothing_can_be_learned_from_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [{"name": f"n{i}", "a": 2 * i, "y": i % 2} for i in range(30)])
    said: list[str] = []
    load(path, said)
    assert [text.split(":")[0].removeprefix(f"{path}") for text in said] == [""]
    assert "column 'name' has 30 different values in 30 rows" in said[0]
    said.clear()
    load(path, said, inputs=["a"])
    assert said == []


def test_a_smoke_run_takes_some_rows_from_all_of_the_file(tmp_path: Path) -> None:
    rows = [{"a": i, "y": "ab"[i >= 900]} for i in range(1000)]
    spec = schema.Csv(
        path=str(write(tmp_path / "t.csv", rows)), target=["y"], test=schema.TestRows(fraction=0.2)
    )
    dataset = load_dataset(spec, smoke=True)
    assert dataset.test is not None
    assert (len(dataset.train), len(dataset.test), dataset.smoke) == (256, 64, True)
    assert set(dataset.train.targets.tolist()) == {0, 1}
    (source,) = dataset.sources
    assert (source.rows, source.note) == (320, "some rows only")


def test_a_large_file_is_not_read_to_the_end_by_a_smoke_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnrun.data.sources.table_file._LARGE_FILE", 100)
    monkeypatch.setattr("nnrun.data.sources.table_file._SMOKE_ROWS", 10)
    monkeypatch.setattr("nnrun.data.files.csv_reader.BLOCK_BYTES", 64)
    path = write(tmp_path / "t.csv", [{"a": i, "y": i % 2} for i in range(1000)])
    path.write_text(path.read_text() + "broken,at,the end\n")
    assert 10 <= len(load_dataset(schema.Csv(path=str(path), target=["y"]), smoke=True).train) < 40


def same(a: Dataset, b: Dataset) -> bool:
    for one, other in zip(inputs(a).columns, inputs(b).columns, strict=True):
        if type(one) is not type(other) or one.name != other.name:
            return False
        if isinstance(one, NumberColumn) and isinstance(other, NumberColumn):
            if not np.array_equal(one.values, other.values, equal_nan=True):
                return False
        elif isinstance(one, CategoryColumn) and isinstance(other, CategoryColumn):
            if one.levels != other.levels or not np.array_equal(one.codes, other.codes):
                return False
        elif one.take([0, -1]).values.tolist() != other.take([0, -1]).values.tolist():  # type: ignore[union-attr]
            return False
    return np.array_equal(a.train.targets, b.train.targets) and a.class_names == b.class_names


def as_json(path: Path, rows: list[dict[str, Any]]) -> schema.Jsonl:
    lines = [json.dumps({k: None if v == "" else v for k, v in row.items()}) for row in rows]
    path.write_text("\n".join(lines) + "\n\n")
    return schema.Jsonl(path=str(path), target=["y"])


@pytest.mark.parametrize("file", ["penguins.csv", "mpg.csv", "titanic.csv"])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_table_is_the_same_in_every_kind_of_file(
    data_dir: Path, tmp_path: Path, file: str, kind: str
) -> None:
    import pandas as pd

    target = {"penguins.csv": "species", "mpg.csv": "mpg", "titanic.csv": "survived"}[file]
    path = data_dir / "tables" / file
    frame = pd.read_csv(path)
    spec: schema.Component
    if kind == "jsonl":
        frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
        spec = schema.Jsonl(path=str(tmp_path / "t.jsonl"), target=[target])
    else:
        pytest.importorskip("pyarrow")
        frame.to_parquet(tmp_path / "t.parquet")
        spec = schema.Parquet(path=str(tmp_path / "t.parquet"), target=[target])
    assert same(load_dataset(schema.Csv(path=str(path), target=[target])), load_dataset(spec))


def test_lines_of_json(tmp_path: Path) -> None:
    dataset = load_dataset(as_json(tmp_path / "t.jsonl", ROWS))
    assert same(dataset, load(write(tmp_path / "t.csv", ROWS)))
    places = dataset.train.places
    assert places is not None
    assert places.lines is not None
    assert places.lines[:3].tolist() == [1, 2, 3]
    assert places.values[:3].tolist() == [0, 1, 2]


def test_json_without_types_of_one_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnrun.data.files.jsonl_reader.BLOCK_BYTES", 64)
    rows = [{"a": 3 if i % 2 else "x", "b": str(i % 3), "c": bool(i % 2), "y": i} for i in range(30)]
    columns = inputs(load_dataset(as_json(tmp_path / "t.jsonl", rows))).by_name
    levels = {name: getattr(column, "levels", None) for name, column in columns.items()}
    assert levels == {"a": ("3", "x"), "b": ("0", "1", "2"), "c": ("False", "True")}


@pytest.mark.parametrize("block", [64, 2**20])
@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ("?", "holds numbers in 18 of 20 values, and also '?': `missing: ['?']` reads the column as numbers"),
        (
            "many",
            "holds numbers in 18 of 20 values, and also 'many': correct those, or say that it is a category "
            "(`types`)",
        ),
        ("2", "holds texts that are numbers, such as '2': `types: {a: number}` reads the column as numbers"),
    ],
)
def test_json_numbers_with_a_few_texts_are_never_a_category_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, mark: str, text: str
) -> None:
    monkeypatch.setattr("nnrun.data.files.jsonl_reader.BLOCK_BYTES", block)
    rows = [{"a": mark if i in (3, 17) else i % 4, "y": i} for i in range(20)]
    spec = as_json(tmp_path / "t.jsonl", rows)
    for _ in range(2):  # read, then kept
        said: list[str] = []
        load_dataset(spec, on_message=said.append)
        assert [line for line in said if "column 'a'" in line] == [
            f"{tmp_path / 't.jsonl'}: column 'a' {text}"
        ]
    if mark == "?":
        assert isinstance(
            inputs(load_dataset(spec.model_copy(update={"missing": ["?"]}))).by_name["a"], NumberColumn
        )


def without_nulls(path: Path, rows: Sequence[Mapping[str, Any]]) -> schema.Jsonl:
    lines = [json.dumps({key: value for key, value in row.items() if value is not None}) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return schema.Jsonl(path=str(path), target=["y"])


@pytest.mark.parametrize("block", [64, 2**20])
def test_a_key_that_a_line_of_json_lacks_stands_for_a_missing_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("nnrun.data.files.jsonl_reader.BLOCK_BYTES", block)
    rows = [
        {"a": i / 2, "b": "xyz"[i % 3] if i % 4 != 3 else None, "y": i, "late": i if i > 20 else None}
        | ({"a": None} if i % 5 == 3 else {})
        for i in range(30)
    ]
    null = load_dataset(as_json(tmp_path / "null.jsonl", rows))
    absent = load_dataset(without_nulls(tmp_path / "absent.jsonl", rows))
    assert absent.feature_names == ("a", "b", "late")  # as they first appear
    assert same(absent, null)


def test_keys_of_json_that_are_data_are_no_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnrun.data.files.jsonl_reader.MOST_KEYS", 20)
    rows = [{f"user {i}": 1, "y": i} for i in range(30)]
    with pytest.raises(DataError, match=r"t\.jsonl, line 20 brings the different keys .* to more than 20\."):
        load_dataset(without_nulls(tmp_path / "t.jsonl", rows))


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        DataError, match=r"needs pyarrow, which is not installed: pip install 'nnrun\[parquet\]'"
    ):
        load_dataset(schema.Parquet(path=str(tmp_path / "t.parquet"), target=["y"]))


def test_parquet_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("nnrun.data.files.parquet_reader._BATCH_ROWS", 7)
    import datetime

    n = range(30)
    table = pyarrow.table(
        {
            "int": pyarrow.array([None if i == 4 else i for i in n], pyarrow.int8()),
            "names": pyarrow.array(["ab"[i % 2] for i in n]).dictionary_encode(),
            "truth": [None if i == 5 else i % 3 == 0 for i in n],
            "day": [datetime.date(2024, 1, i + 1) for i in n],
            "nothing": pyarrow.array([i / 2 for i in n], pyarrow.float32()),
            "y": [i / 3 for i in n],
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    said: list[str] = []
    spec = schema.Parquet(path=str(tmp_path / "t.parquet"), target=["y"], types={"int": "category"})
    columns = inputs(load_dataset(spec, on_message=said.append)).by_name
    kinds = {name: type(column).__name__ for name, column in columns.items()}
    assert kinds["int"] == kinds["names"] == kinds["truth"] == kinds["day"] == "CategoryColumn"
    assert getattr(columns["day"], "dates", False)
    assert not getattr(columns["names"], "dates", True)
    assert kinds["nothing"] == "NumberColumn"
    assert columns["int"].take([4]).missing.all()
    assert getattr(columns["int"], "levels", ())[:3] == ("0", "1", "2")
    assert getattr(columns["truth"], "levels", ()) == ("False", "True")


def test_rows_without_a_target_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"a": i * 2, "y": "" if i % 5 == 0 else i / 4} for i in range(30)]
    path, said = write(tmp_path / "t.csv", rows), list[str]()
    with pytest.raises(
        DataError, match=r"the target is missing, as in 5 later rows.*drop_missing_target: true"
    ):
        load(path)
    dataset = load(path, said, drop_missing_target=True, test={"path": str(write(tmp_path / "u.csv", rows))})
    assert (len(dataset.train), len(dataset.test or [])) == (24, 24)
    assert said == [
        f"{tmp_path / name}: 6 rows of 30 left out, since 'y' is missing" for name in ("t.csv", "u.csv")
    ]
    places = dataset.train.places
    assert places is not None
    assert places.lines is not None
    assert places.lines[:5].tolist() == [3, 4, 5, 6, 8]
    assert places.values[:5].tolist() == [1, 2, 3, 4, 6]
    assert [source.as_record()["rows_without_target"] for source in dataset.sources] == [6, 6]
    with pytest.raises(DataError, match="'y' lacks a value in every row"):
        load(write(tmp_path / "v.csv", [{"a": 1, "y": ""}] * 9), drop_missing_target=True)


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "rownames", "__index_level_0__", "counts"])
def test_an_index_is_no_input_unless_the_spec_says_so(tmp_path: Path, name: str) -> None:
    first = (lambda i: i + 1) if name == "counts" else (lambda i: f"r{i * 7 % 30}")
    path = write(tmp_path / "t.csv", [{name: first(i), "a": i % 9, "y": i / 4} for i in range(30)])
    said: list[str] = []
    dataset = load(path, said)
    assert inputs(dataset).names == ("a",)
    assert dataset.sources[0].as_record()["index_columns"] == [name or "Unnamed: 0"]
    assert f"column '{name or 'Unnamed: 0'}' is left out as an index" in said[0]
    kept = load(path, inputs=[name or "Unnamed: 0", "a"])
    assert inputs(kept).names == (name or "Unnamed: 0", "a")


def test_whole_numbers_in_order_stay_where_they_are_the_only_input(tmp_path: Path) -> None:
    said: list[str] = []
    path = write(tmp_path / "t.csv", [{"a": i, "y": i / 4} for i in range(30)])
    assert inputs(load(path, said)).names == ("a",)
    assert said == []


def test_an_infinite_number_matters_where_its_column_is_used(tmp_path: Path) -> None:
    rows = [{"a": "inf" if i == 4 else i % 9, "b": i % 7, "y": i / 4} for i in range(30)]
    path = write(tmp_path / "t.csv", rows)
    with pytest.raises(
        DataError, match=r"line 6, column 'a' holds an infinite.*`missing: \[inf\]`.*`inputs`"
    ):
        load(path)
    assert inputs(load(path, inputs=["b"])).names == ("b",)
    assert inputs(load(path, missing=["inf"])).by_name["a"].missing.sum() == 1


def test_a_file_without_a_header_in_another_spelling(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("".join(f"1.{i:03d},5;{'ab'[i % 2]};{i / 8}\n".replace(".", ".") for i in range(16, 40)))
    dataset = load(path, target="c1", header=False, number_formats={"c0": {"decimal": ",", "thousands": "."}})
    assert inputs(dataset).names == ("c0", "c2")
    assert inputs(dataset).by_name["c0"].values[:2].tolist() == [1016.5, 1017.5]
    assert dataset.file_columns == ("c0", "c1", "c2")


def test_a_workbook_is_told_how_to_become_csv(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"is a workbook, .* Save the sheet as CSV"):
        load(tmp_path / "t.xlsx")
