"""The data sets of the book, as Keras's loaders give them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.data import Dataset, TokenRows, load_dataset
from nnrun.data.vocabulary import read_word_index, token_words
from nnrun.errors import DataError
from nnrun.spec import schema

RealFile = Callable[[str], Path]


def lists(inputs: Any) -> list[list[int]]:
    assert isinstance(inputs, TokenRows)
    return [inputs.row(i).tolist() for i in range(len(inputs))]


def keras_tokens(xs: Any, num_words: int | None, skip_top: int, maxlen: int | None) -> Any:
    """Start token, offset, length limit: per row, in plain Python, in Keras's order."""
    rows = [[1] + [w + 3 for w in x] for x in xs]
    keep = [i for i, row in enumerate(rows) if not maxlen or len(row) < maxlen]
    return [rows[i] for i in keep], keep


def in_vocabulary(rows: list[list[int]], num_words: int, skip_top: int) -> list[list[int]]:
    return [[w if skip_top <= w < num_words else 2 for w in row] for row in rows]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_words": 50},
    {"num_words": 1},
    {"skip_top": 20},
    {"num_words": 200, "skip_top": 5, "maxlen": 12},
    {"maxlen": 20},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_imdb_is_what_keras_gives(keras_folder: Path, options: dict[str, Any]) -> None:
    dataset = load_dataset(schema.Imdb(**options), data_dir=keras_folder)
    with np.load(keras_folder / "imdb.npz", allow_pickle=True) as file:
        parts = [(file["x_train"], file["y_train"]), (file["x_test"], file["y_test"])]
    rng = np.random.RandomState(113)
    expected = []
    for x, y in parts:
        order = np.arange(len(x))
        rng.shuffle(order)
        rows, kept = keras_tokens(x[order], **{"num_words": None, "skip_top": 0, "maxlen": None, **options})
        expected.append((rows, y[order][kept].tolist()))
    num_words = options.get("num_words") or max(max(r) for rows, _ in expected for r in rows)
    for samples, (rows, labels) in zip((dataset.train, dataset.test), expected, strict=True):
        assert samples is not None
        assert lists(samples.inputs) == in_vocabulary(rows, num_words, options.get("skip_top", 0))
        assert samples.targets.tolist() == labels
    assert dataset.num_words == options.get("num_words")


@pytest.mark.parametrize("options", [*OPTIONS, {"test_fraction": 0.37, "maxlen": 15}], ids=str)
def test_reuters_is_what_keras_gives(keras_folder: Path, options: dict[str, Any]) -> None:
    dataset = load_dataset(schema.Reuters(**options), data_dir=keras_folder)
    with np.load(keras_folder / "reuters.npz", allow_pickle=True) as file:
        x, y = file["x"], file["y"]
    order = np.arange(len(x))
    np.random.RandomState(113).shuffle(order)
    limits = {k: v for k, v in options.items() if k != "test_fraction"}
    rows, kept = keras_tokens(x[order], **{"num_words": None, "skip_top": 0, "maxlen": None, **limits})
    num_words = options.get("num_words") or max(max(r) for r in rows)
    rows, labels = in_vocabulary(rows, num_words, options.get("skip_top", 0)), y[order][kept].tolist()
    first_test = int(len(rows) * (1 - options.get("test_fraction", 0.2)))
    assert dataset.test is not None
    assert (lists(dataset.train.inputs), dataset.train.targets.tolist()) == (
        rows[:first_test],
        labels[:first_test],
    )
    assert (lists(dataset.test.inputs), dataset.test.targets.tolist()) == (
        rows[first_test:],
        labels[first_test:],
    )


@pytest.mark.parametrize("dataset", [schema.Imdb(maxlen=1), schema.Reuters(maxlen=1)])
def test_a_maxlen_that_leaves_nothing_is_refused(keras_folder: Path, dataset: schema.Component) -> None:
    with pytest.raises(DataError, match="with maxlen: 1 no row is left"):
        load_dataset(dataset, data_dir=keras_folder)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x_train": 1}, "has no array y_train and no x_test and no y_test"),
        ({"y_train": np.zeros(39, int)}, "y_train must hold one whole number for each of the 40 rows"),
        ({"y_train": np.zeros(40)}, "has shape (40,) and type float64"),
        ({"y_train": np.arange(40)}, "y_train holds labels from 0 to 39; they run from 0 to 1"),
        ({"x_train": np.zeros((40, 5), int)}, "x_train holds no token lists"),
    ],
)
def test_a_file_of_another_layout_is_refused(keras_folder: Path, arrays: dict[str, Any], said: str) -> None:
    path = keras_folder / "imdb.npz"
    with np.load(path, allow_pickle=True) as file:
        content = dict(file) if "y_train" in arrays or not np.isscalar(next(iter(arrays.values()))) else {}
    np.savez(path, **{**content, **arrays})
    with pytest.raises(DataError) as error:
        load_dataset(schema.Imdb(), data_dir=keras_folder)
    assert said in str(error.value)


def test_a_gadget_in_a_published_file_does_not_run(keras_folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"

    class Gadget:
        def __reduce__(self) -> Any:
            return open, (str(trace), "w")

    rows = np.empty(2, object)
    rows[:] = [[1], Gadget()]
    np.savez(keras_folder / "reuters.npz", x=rows, y=np.array([0, 1]))
    with pytest.raises(DataError, match=r"asks for .*open"):
        load_dataset(schema.Reuters(), data_dir=keras_folder)
    assert not trace.exists()


def test_the_second_reading_comes_from_the_cache(keras_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_dataset(schema.Reuters(), data_dir=keras_folder)

    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the pickle was read again")

    monkeypatch.setattr("nnrun.data.archives.npz_archive.read_token_pickle", never)
    monkeypatch.setattr(pickle, "loads", never)
    second = load_dataset(schema.Reuters(), data_dir=keras_folder)
    assert lists(first.train.inputs) == lists(second.train.inputs)
    assert first.sources == second.sources


def test_the_source_is_recorded(keras_folder: Path) -> None:
    import hashlib

    (source,) = load_dataset(schema.Imdb(), data_dir=keras_folder).sources
    path = keras_folder / "imdb.npz"
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (source.name, source.rows, source.path) == ("imdb.npz", 70, str(path))
    assert source.note == "not the published file"


# --- the book's checks, on the real files ------------------------------------------------------------------


def test_the_reuters_of_the_book(real_file: RealFile) -> None:
    folder = real_file("reuters.npz").parent
    dataset = load_dataset(schema.Reuters(num_words=10000), data_dir=folder)
    train, test = dataset.train, dataset.test
    assert test is not None
    assert isinstance(train.inputs, TokenRows)
    assert isinstance(test.inputs, TokenRows)
    assert (len(train), len(test)) == (8982, 2246)
    assert train.inputs.row(10).tolist() == [
        1, 245, 273, 207, 156, 53, 74, 160, 26, 14, 46, 296, 26, 39, 74, 2979,
        3554, 14, 46, 4689, 4329, 86, 61, 3499, 4795, 14, 61, 451, 4329, 17, 12,
    ]  # fmt: skip
    assert train.targets[10] == 3
    assert max(train.inputs.tokens.max(), test.inputs.tokens.max()) == 9999
    assert set(train.targets) == set(range(46))
    shuffled = np.random.RandomState(0).permutation(test.targets)
    assert (shuffled == test.targets).mean() == pytest.approx(0.19, abs=0.02)
    words = token_words(read_word_index(real_file("reuters_word_index.json")))
    decoded = [words[t] for t in train.inputs.row(10).tolist()]
    assert decoded[:7] == ["<start>", "period", "ended", "december", "31", "shr", "profit"]
    assert dataset.class_names is not None
    assert dataset.class_names[3] == "earn"


def test_the_imdb_of_the_book(real_file: RealFile) -> None:
    folder = real_file("imdb.npz").parent
    dataset = load_dataset(schema.Imdb(num_words=10000), data_dir=folder)
    assert dataset.test is not None
    for samples in (dataset.train, dataset.test):
        assert isinstance(samples.inputs, TokenRows)
        assert len(samples) == 25_000
        assert samples.targets.mean() == 0.5
        assert samples.inputs.tokens.max() == 9999
        assert (samples.inputs.tokens[samples.inputs.indptr[:-1]] == 1).all()
    words = token_words(read_word_index(real_file("imdb_word_index.json")))
    assert words[4] == "the"


def test_the_boston_of_the_book() -> None:
    dataset = load_dataset(schema.BostonHousing())
    assert dataset.test is not None
    assert dataset.train.inputs.shape == (404, 13)
    assert dataset.test.inputs.shape == (102, 13)
    assert dataset.train.targets[:3].tolist() == [15.2, 42.3, 50.0]
    assert dataset.train.targets[-3:].tolist() == [19.4, 19.4, 29.1]
    assert dataset.feature_names is not None
    assert dataset.feature_names[12] == "LSTAT"


def test_the_bundled_boston_is_the_published_table(real_file: RealFile) -> None:
    with np.load(real_file("boston_housing.npz")) as file:
        x, y = file["x"], file["y"]
    order = np.arange(len(x))
    np.random.RandomState(113).shuffle(order)
    dataset = load_dataset(schema.BostonHousing())
    assert dataset.test is not None
    assert np.array_equal(np.vstack([dataset.train.inputs, dataset.test.inputs]), x[order])
    assert np.array_equal(np.concatenate([dataset.train.targets, dataset.test.targets]), y[order])


def test_boston_splits_where_keras_does() -> None:
    dataset = load_dataset(schema.BostonHousing(test_fraction=0.33))
    assert len(dataset.train) == int(506 * (1 - 0.33))
    with pytest.raises(DataError, match="leaves no row"):
        load_dataset(schema.BostonHousing(test_fraction=0.9999))


# --- all kinds ---------------------------------------------------------------------------------------------

NAMED: list[schema.Component] = [
    schema.Imdb(num_words=1000),
    schema.Imdb(),
    schema.Reuters(num_words=1),
    schema.BostonHousing(),
    *(schema.Sklearn(name=name) for name in ("breast_cancer", "digits", "wine", "iris", "diabetes")),
]


def check_facts(dataset: Dataset, spec: schema.Component) -> None:
    """What `facts` promised before loading is so."""
    facts = spec.facts
    assert (dataset.task, dataset.classes) == (facts.task, facts.classes)
    assert (dataset.test is None) == (facts.test_rows == 0)
    for samples in filter(None, (dataset.train, dataset.test)):
        assert len(samples.inputs) == len(samples.targets)
        if facts.inputs == "tokens":
            assert isinstance(samples.inputs, TokenRows)
        else:
            assert isinstance(samples.inputs, np.ndarray)
            assert samples.inputs.shape[1] == facts.features
            assert len(dataset.feature_names or ()) in (0, facts.features)
        if facts.classes is not None:
            assert samples.targets.dtype == np.int64
    if facts.classes is not None:
        assert set(dataset.train.targets) == set(range(facts.classes))
        assert len(dataset.class_names or ()) in (0, facts.classes)


@pytest.mark.parametrize(
    "spec", [s for s in NAMED if isinstance(s, (schema.Sklearn, schema.BostonHousing))], ids=str
)
def test_sets_that_need_no_file_are_what_is_known_of_them(spec: schema.Component) -> None:
    dataset = load_dataset(spec)
    facts = spec.facts
    check_facts(dataset, spec)
    assert len(dataset.train) == facts.train_rows
    (source,) = dataset.sources
    assert len(source.sha256) == 64
    assert source.note


@pytest.mark.parametrize("spec", NAMED, ids=str)
def test_a_smoke_run_needs_no_file(spec: schema.Component, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnrun.data.archives.download._download", None)
    dataset = load_dataset(spec, data_dir=Path(os.devnull), smoke=True)
    check_facts(dataset, spec)
    assert len(dataset.train) == 256
    assert dataset.test is None or len(dataset.test) == 64
    assert dataset.smoke
    assert [s.note for s in dataset.sources] == ["generated"]
    if isinstance(dataset.train.inputs, TokenRows):
        assert dataset.train.inputs.tokens.max() < (dataset.num_words or 10_000)
    again = load_dataset(spec, smoke=True)
    assert again.sources == dataset.sources
