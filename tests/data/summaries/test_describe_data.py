"""Overviews and rows, and the data sets by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nnrun.data import Dataset, Samples, load_dataset
from nnrun.data.catalog import CATALOG, entry_for, fetch_entry, token_words_of
from nnrun.data.dataset import TokenRows
from nnrun.data.summaries.describe_data import describe_row, overview, row_in_one_line
from nnrun.errors import DataError, UsageError
from nnrun.spec import schema


def test_the_overview_of_a_table() -> None:
    document = overview(load_dataset(schema.BostonHousing()))
    assert document["rows"] == {"train": 404, "test": 102}
    assert len(document["features"]) == 13
    assert document["features"][0]["name"] == "CRIM"
    assert document["target"][0] == {
        "name": "target",
        "mean": pytest.approx(22.395, abs=1e-3),
        "std": pytest.approx(9.199, abs=1e-3),
        "min": 5.0,
        "max": 50.0,
    }
    assert "classes" not in document
    json.dumps(document, allow_nan=False)


def test_the_overview_of_token_rows(keras_folder: Path) -> None:
    document = overview(load_dataset(schema.Imdb(num_words=100), data_dir=keras_folder))
    assert document["classes"] == [
        {"label": 0, "name": "negative", "train": 20, "test": 15},
        {"label": 1, "name": "positive", "train": 20, "test": 15},
    ]
    assert document["tokens"]["highest"] < 100
    assert document["sources"][0]["path"] == str(keras_folder / "imdb.npz")
    json.dumps(document, allow_nan=False)


@pytest.mark.parametrize(
    ("targets", "labels"),
    [(np.array([3, 5, 3]), [3, 5]), (np.array([0.5, 1, 2]), None), (np.eye(3), None)],
)
def test_classes_are_shown_where_there_can_be_some(targets: np.ndarray, labels: list[int] | None) -> None:
    dataset = Dataset("mine", Samples(np.zeros((3, 2)), targets), None, ())
    classes = overview(dataset).get("classes")
    assert (classes and [c["label"] for c in classes]) == labels


def test_a_row_of_a_table() -> None:
    row = describe_row(load_dataset(schema.Sklearn(name="iris")), "train", 0)
    assert (row["target"], row["class"]) == (0, "setosa")
    assert row["values"] == {
        "sepal length (cm)": 5.1,
        "sepal width (cm)": 3.5,
        "petal length (cm)": 1.4,
        "petal width (cm)": 0.2,
    }


def test_a_row_of_tokens(keras_folder: Path) -> None:
    dataset = load_dataset(schema.Reuters(num_words=7), data_dir=keras_folder)
    row = describe_row(dataset, "test", 3, {1: "<start>", 2: "<unk>", 4: "the"})
    assert row["words"][0] == "<start>"
    assert set(row["words"]) <= {"<start>", "<unk>", "the", "<5>", "<6>"}
    assert len(row["words"]) == len(row["tokens"])
    assert "words" not in describe_row(dataset, "test", 3)


def test_rows_and_sets_that_are_not_there() -> None:
    iris = load_dataset(schema.Sklearn(name="iris"))
    with pytest.raises(UsageError, match="no row 150 in the train set of iris: it has 150 rows"):
        describe_row(iris, "train", 150)
    with pytest.raises(UsageError, match="iris has no test set"):
        describe_row(iris, "test", 0)


def test_every_name_leads_to_its_entry() -> None:
    for name, entry in CATALOG.items():
        assert entry_for(name) is entry
        assert (entry.home is None) == (entry.archive is not None)
    assert entry_for("boston").name == "boston_housing"
    assert isinstance(entry_for("some/where.npz").dataset, schema.Npz)
    with pytest.raises(UsageError, match=r"no data set 'reuter'\. Did you mean reuters\?"):
        entry_for("reuter")


def test_fetching_what_is_here_says_where(keras_folder: Path) -> None:
    files = fetch_entry(entry_for("reuters"), keras_folder)
    assert [(f.name, f.path.parent, f.published, f.downloaded) for f in files] == [
        ("reuters.npz", keras_folder, False, False),
        ("reuters_word_index.json", keras_folder, False, False),
    ]
    assert fetch_entry(entry_for("iris"), None) == ()


def test_fetching_reads_what_is_here(keras_folder: Path) -> None:
    (keras_folder / "reuters_word_index.json").write_text("<html>")
    with pytest.raises(DataError, match="is not JSON"):
        fetch_entry(entry_for("reuters"), keras_folder)


def test_a_row_in_one_line() -> None:
    tokens = TokenRows.from_lists([[1, 4, 2, 9], []])
    assert row_in_one_line(tokens, 0, words={2: "<unk>", 4: "the"}) == "the <unk> <9>"
    assert row_in_one_line(tokens, 0) == "4 <unk> 9"
    assert row_in_one_line(tokens, 1) == ""
    table = np.array([[1.5, 2.0]])
    assert row_in_one_line(table, 0, ("height", "width")) == "height 1.5, width 2"
    assert row_in_one_line(table, 0) == "1.5, 2"
    assert row_in_one_line(table, 0, ("height",)) == "1.5, 2"  # names that are not those of the columns


def test_words_of_a_data_set_or_word_that_they_are_not_here(keras_folder: Path, empty_cache: Path) -> None:
    said: list[str] = []
    words = token_words_of(schema.Reuters(), keras_folder, said.append)
    assert words is not None
    assert (words[4], words[2], said) == ("the", "<unk>", [])
    assert token_words_of(schema.Sklearn(name="iris"), keras_folder, said.append) is None
    assert said == []
    assert token_words_of(schema.Imdb(), keras_folder, said.append) is None
    assert said == [
        "imdb_word_index.json is not on this machine, so tokens are shown. `nnrun data fetch imdb` "
        f"downloads it; or put it in {empty_cache}."
    ]
