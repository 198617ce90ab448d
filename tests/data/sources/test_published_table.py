"""Tables of CSV that someone publishes: columns that are known before, real rows, and drawn ones."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnrun.data import load_dataset
from nnrun.data.archives import download
from nnrun.data.archives.download import PUBLISHED_TABLES, is_published
from nnrun.data.sources import SOURCES
from nnrun.data.table import CategoryColumn, NumberColumn, Table, TextColumn
from nnrun.errors import DataError
from nnrun.spec import schema

RealFile = Callable[[str], Path]
TABLES = [cls for cls in SOURCES if issubclass(cls, schema.PublishedTable)]


@pytest.fixture
def put_titanic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes 40 passengers to a place below a folder, as if they were the published file."""

    def put(place: str) -> Path:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        head = ",".join(schema.Titanic.columns)
        rows = [
            f'{n},{n % 2},{n % 3 + 1},"Braund, Mr. Owen {n}",{("male", "female")[n % 5 > 2]},{20 + n},'
            f"{n % 4},{n % 2},A/5 {n},{n}.25,{'C85' * (n % 7 == 0)}{'D2' * (n % 7 == 1)},{'SCQ'[n % 3]}"
            for n in range(1, 41)
        ]
        path.write_text("\n".join([head, *rows, ""]))
        digest = download.hashlib.sha256(path.read_bytes()).hexdigest()
        changed = replace(PUBLISHED_TABLES["titanic"], digest=digest)
        monkeypatch.setitem(PUBLISHED_TABLES, "titanic", changed)
        return path

    return put


@pytest.mark.parametrize("cls", TABLES, ids=lambda cls: cls.kind)
def test_a_smoke_run_has_rows_like_those_that_are_described(
    cls: type[schema.PublishedTable], empty_cache: Path
) -> None:
    """Every column, its type, its range, and that some values are missing."""
    target, *others = list(cls.columns)
    dataset = load_dataset(cls(target=[target], inputs=others), smoke=True)
    table = dataset.train.inputs
    assert isinstance(table, Table)
    assert [column.name for column in table.columns] == others
    for column in table.columns:
        content = cls.columns[column.name]
        assert bool(column.missing.any()) == bool(content.missing), column.name
        if content.numbers is not None:
            assert isinstance(column, NumberColumn), column.name
            low, high = map(float, content.numbers)
            assert low <= np.nanmin(column.values) <= np.nanmax(column.values) <= high
        elif content.words is None:
            assert isinstance(column, CategoryColumn), column.name
            assert set(column.levels) == set(content.values)
    names = [column.name for column in table.columns if isinstance(column, TextColumn)]
    assert set(names) <= {name for name, content in cls.columns.items() if content.words}
    again = load_dataset(cls(target=[target], inputs=others), smoke=True)
    assert dataset.sources == again.sources
    assert [(source.path, source.note) for source in dataset.sources] == [(None, "generated")]


@pytest.mark.parametrize("cls", TABLES, ids=lambda cls: cls.kind)
def test_the_real_table_is_what_is_described(
    cls: type[schema.PublishedTable], real_file: RealFile, empty_cache: Path
) -> None:
    """Columns, rows, values, ranges and missing values of the published file, where it is at hand."""
    remote = PUBLISHED_TABLES[cls.kind]
    path = real_file(f"tables/{remote.name}")
    if not is_published(remote, path):
        pytest.skip(f"{path} is another table than the published one")
    assert path.stat().st_size == remote.size
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == cls.rows
    assert list(rows[0]) == list(cls.columns)
    for name, content in cls.columns.items():
        values = [row[name] for row in rows if row[name]]
        assert len(rows) - len(values) == content.missing, name
        if content.numbers is not None:
            numbers = [float(value) for value in values]
            assert (min(numbers), max(numbers)) == tuple(map(float, content.numbers)), name
        elif content.words is None:
            assert set(values) == set(content.values), name


def test_penguins_are_read_as_a_table_of_ones_own(real_file: RealFile, empty_cache: Path) -> None:
    """With the same keys the same rows, names and facts as `csv`."""
    path = real_file("tables/penguins.csv")
    keys = {
        "target": ["species"],
        "test": schema.TestRows(fraction=0.25, stratify=True),
        "drop_missing": True,
    }
    own = load_dataset(schema.Csv(path=str(path), **keys))
    published = load_dataset(schema.Penguins(**keys), data_dir=path.parent.parent)
    assert published.sources == own.sources
    for dataset in (own, published):
        assert (len(dataset.train), len(dataset.test or ())) == (249, 84)
    assert np.array_equal(published.train.targets, own.train.targets)
    assert (published.feature_names, published.class_names) == (own.feature_names, own.class_names)


@pytest.mark.parametrize("place", ["titanic.csv", "tables/titanic.csv"])
def test_where_a_table_may_lie(
    place: str, put_titanic: Callable[[str], Path], tmp_path: Path, empty_cache: Path
) -> None:
    path = put_titanic(place)
    said: list[str] = []
    dataset = load_dataset(schema.Titanic(), data_dir=tmp_path, on_message=said.append)
    assert [source.path for source in dataset.sources] == [str(path)]
    assert dataset.train.targets.tolist() == [1, 0] * 20
    assert "PassengerId" not in (dataset.feature_names or ())
    assert list(dataset.feature_names or ()) == schema.Titanic().default_inputs(())


def test_another_table_of_that_name_is_not_taken(
    put_titanic: Callable[[str], Path], tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    path = put_titanic("tables/titanic.csv")
    path.write_text("survived,fare\n1,7\n0,8\n")
    said: list[str] = []
    with pytest.raises(DataError) as error:
        load_dataset(schema.Titanic(), data_dir=tmp_path, on_message=said.append)
    assert said[0] == (
        f"{path} is not used: its SHA-256 is not that of the published titanic.csv. A table of your own is "
        "`dataset: {csv: {path: ..., target: ...}}`"
    )
    remote = PUBLISHED_TABLES["titanic"]
    for part in (remote.url, remote.digest, "60,080 bytes", str(tmp_path / "tables")):
        assert part in str(error.value)


def test_messages_of_a_smoke_run_name_the_file_and_no_folder(empty_cache: Path) -> None:
    said: list[str] = []
    load_dataset(schema.Titanic(), smoke=True, on_message=said.append)
    assert said == [
        "titanic.csv: column 'PassengerId' is left out as an index: it only counts the rows. To keep it, "
        "name it in `inputs`"
    ]
    with pytest.raises(DataError) as error:
        load_dataset(schema.Titanic(inputs=["Nam"]), smoke=True)
    assert str(error.value).startswith(
        "titanic.csv has no column 'Nam', which `inputs` names. Did you mean 'Name'?"
    )


@pytest.mark.parametrize(
    ("dataset", "task", "classes", "rows"),
    [
        (schema.Penguins(), "multiclass", 3, 344),
        (schema.Penguins(target=["sex"], drop_missing_target=True), "binary", 2, None),
        (schema.Penguins(target=["bill_length_mm"]), "regression", None, 344),
        (schema.Titanic(), "binary", 2, 891),
        (schema.Titanic(target=["Age", "Fare"], test=schema.TestRows(fraction=0.5)), None, None, None),
    ],
)
def test_what_is_known_before_it_is_loaded(
    dataset: schema.PublishedTable, task: str | None, classes: int | None, rows: int | None
) -> None:
    facts = dataset.facts
    assert (facts.task, facts.classes, facts.train_rows) == (task, classes, rows)
    assert facts.numbers == len(dataset.target)
    assert (facts.test_rows == 0) == (dataset.test is None)
