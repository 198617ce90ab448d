"""Texts in one folder for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnrun.data import Dataset, load_dataset
from nnrun.data.table import Table, TextColumn
from nnrun.errors import DataError
from nnrun.spec import schema


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"the text of {name}")
    return root


def load(root: Path, *, smoke: bool = False, **keys: Any) -> Dataset:
    spec = schema.TextFolder.model_validate({"path": str(root), **keys})
    return load_dataset(spec, smoke=smoke)


def texts(samples: Any) -> list[str]:
    assert isinstance(samples.inputs, Table)
    (column,) = samples.inputs.columns
    assert isinstance(column, TextColumn)
    assert column.name == "text"
    return [value.removeprefix("the text of ") for value in column.values]


FLAT = ("pos/b.txt", "pos/a.txt", "neg/10.txt", "neg/9.TXT", "neg/notes.md", "empty/readme.md", ".git/x.txt")


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    dataset = load(write(tmp_path / "reviews", *FLAT))
    assert texts(dataset.train) == ["neg/10.txt", "neg/9.TXT", "pos/a.txt", "pos/b.txt"]
    assert dataset.train.targets.tolist() == [0, 0, 1, 1]
    assert (dataset.name, dataset.task, dataset.class_names) == ("reviews", "binary", ("neg", "pos"))
    assert dataset.test is None
    (source,) = dataset.sources
    assert (source.name, source.rows) == ("reviews", 4)


def test_training_and_test_folders(tmp_path: Path) -> None:
    root = write(tmp_path / "r", "train/a/1.txt", "train/b/1.txt", "train/c/1.txt", "test/c/1.txt")
    dataset = load(root)
    assert dataset.test is not None
    assert (texts(dataset.test), dataset.test.targets.tolist()) == (["test/c/1.txt"], [2])
    assert dataset.task == "multiclass"
    assert [source.name for source in dataset.sources] == ["r/train", "r/test"]
    with pytest.raises(DataError, match="has a folder test, so the spec's `test` has no effect"):
        load(root, test={"fraction": 0.5})


def test_a_fraction_is_the_test_set(tmp_path: Path) -> None:
    root = write(tmp_path, *[f"{c}/{i}.txt" for c in "ab" for i in range(10)])
    dataset = load(root, test={"fraction": 0.3, "stratify": True})
    assert dataset.test is not None
    assert sorted(texts(dataset.train) + texts(dataset.test)) == sorted(texts(load(root).train))
    assert dataset.test.targets.tolist() == [0] * 3 + [1] * 3


def test_another_folder_is_the_test_set(tmp_path: Path) -> None:
    root = write(tmp_path / "one", "a/1.txt", "b/1.txt")
    other = write(tmp_path / "two", "b/7.txt")
    test = load(root, test={"path": str(other)}).test
    assert test is not None
    assert (texts(test), test.targets.tolist()) == (["b/7.txt"], [1])


def test_the_hash_is_of_names_and_contents(tmp_path: Path) -> None:
    root = write(tmp_path / "one", "a/1.txt", "b/1.txt")
    before = load(root).sources[0].sha256
    assert load(write(tmp_path / "two" / "one", "a/1.txt", "b/1.txt")).sources[0].sha256 == before
    (root / "a" / "1.txt").write_text("other")
    assert load(root).sources[0].sha256 != before
    (root / "a" / "1.txt").write_text("the text of a/1.txt")
    assert load(root).sources[0].sha256 == before
    (root / "a" / "1.txt").rename(root / "a" / "2.txt")
    assert load(root).sources[0].sha256 != before


def test_a_smoke_run_has_texts_of_each_class(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, *[f"{c}/{i}.txt" for c in "ab" for i in range(300)]), smoke=True)
    assert len(dataset.train) == 256
    assert abs(int(dataset.train.targets.sum()) - 128) <= 1


def test_reviews(data_dir: Path) -> None:
    dataset = load(data_dir / "text" / "aclImdb-sample")
    assert dataset.test is not None
    assert (len(dataset.train), len(dataset.test), dataset.class_names) == (1000, 1000, ("neg", "pos"))
