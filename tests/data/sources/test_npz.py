"""Archives of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.data import Dataset, TokenRows, load_dataset
from nnrun.errors import DataError
from nnrun.spec import schema

X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 1, 0])


def saved(folder: Path, **arrays: Any) -> schema.Npz:
    np.savez(folder / "mine.npz", **arrays)
    return schema.Npz(path=str(folder / "mine.npz"))


def load(folder: Path, **arrays: Any) -> Dataset:
    return load_dataset(saved(folder, **arrays))


def refusal(folder: Path, **arrays: Any) -> str:
    with pytest.raises(DataError) as error:
        load(folder, **arrays)
    return str(error.value)


def tokens(*rows: list[int]) -> np.ndarray:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


def test_a_table_with_a_test_set(tmp_path: Path) -> None:
    dataset = load(tmp_path, x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2])
    assert np.array_equal(dataset.train.inputs, X)
    assert dataset.train.targets.tolist() == [0, 1, 1, 0]
    assert dataset.test is not None
    assert len(dataset.test) == 2
    assert (dataset.name, dataset.task, dataset.classes) == ("mine", "binary", 2)
    (source,) = dataset.sources
    assert (source.name, source.rows, len(source.sha256)) == ("mine.npz", 6, 64)


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (np.arange(4), (4, 1)),
        (np.zeros((4, 28, 28), np.uint8), (4, 28, 28)),
        (np.zeros((4, 8, 8, 1), np.float32), (4, 8, 8, 1)),
        (np.zeros((4, 32, 3)), (4, 32, 3)),
        (np.zeros((4, 3), bool), (4, 3)),
        (np.zeros((4, 3), np.float16), (4, 3)),
    ],
)
def test_rows_keep_their_shape_and_type(tmp_path: Path, x: np.ndarray, shape: tuple[int, ...]) -> None:
    inputs = load(tmp_path, x_train=x, y_train=Y).train.inputs
    assert isinstance(inputs, np.ndarray)
    assert (inputs.shape, inputs.dtype) == (shape, x.dtype)


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (np.array([0, 1, 0, 1]), "binary", 2),
        (np.array([True, False, True, False]), "binary", 2),
        (np.array([[0], [1], [0], [1]]), "binary", 2),
        (np.array([0, 1, 2, 3]), None, None),
        (np.array([1, 2, 1, 2]), None, None),
        (np.array([0.5, 1, 2, 3]), None, None),
        (np.eye(4), None, None),
    ],
)
def test_the_task_is_said_only_where_it_is_clear(
    tmp_path: Path, y: np.ndarray, task: str | None, classes: int | None
) -> None:
    dataset = load(tmp_path, x_train=X, y_train=y)
    assert (dataset.task, dataset.classes, dataset.class_names) == (task, classes, None)


@pytest.mark.parametrize("dtype", ["U", "S"])
def test_texts_name_classes(tmp_path: Path, dtype: str) -> None:
    y = np.array(["dog", "cat", "eel", "cat"]).astype(dtype)
    dataset = load(tmp_path, x_train=X, y_train=y, x_test=X[:2], y_test=y[:2])
    assert dataset.class_names == ("cat", "dog", "eel")
    assert dataset.train.targets.tolist() == [1, 0, 2, 0]
    assert dataset.test is not None
    assert dataset.test.targets.tolist() == [1, 0]
    assert (dataset.task, dataset.classes) == ("multiclass", 3)
    said = refusal(
        tmp_path, x_train=X, y_train=y, x_test=X[:2], y_test=np.array(["dog", "fox"]).astype(dtype)
    )
    assert "y_test holds the class 'fox' in row 1, which y_train does not have" in said


def test_token_lists(tmp_path: Path) -> None:
    dataset = load(tmp_path, x_train=tokens([1, 2], [3], [], [4, 5]), y_train=Y)
    assert isinstance(dataset.train.inputs, TokenRows)
    assert dataset.train.inputs.lengths.tolist() == [2, 1, 0, 2]
    assert dataset.num_words is None


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": X, "y": Y}, "has no array x_train and no y_train. It holds: x, y."),
        (
            {"x_train": X, "same_train": Y},
            "Needed: x_train, y_train. A spec without `inputs` takes x_train; `inputs: {NAME: {...}}` takes "
            "NAME_train. A spec without `outputs` takes y_train; `outputs: {NAME: {...}}` takes NAME_train.",
        ),
        ({"x_train": X, "y_train": Y, "x_test": X}, "has no array y_test"),
        ({"x_train": X, "y_train": Y[:3]}, "x_train has 4 rows, but y_train has 3"),
        ({"x_train": X[:0], "y_train": Y[:0]}, "x_train has no rows"),
        ({"x_train": X[:, :0], "y_train": Y}, "x_train has no columns"),
        ({"x_train": np.float64(3), "y_train": Y}, "is a single number, not rows"),
        ({"x_train": X, "y_train": np.zeros((4, 2, 2))}, "y_train has shape (4, 2, 2)"),
        ({"x_train": X, "y_train": np.zeros((4, 0))}, "y_train has shape (4, 0)"),
        ({"x_train": X + 1j, "y_train": Y}, "x_train has the type complex128"),
        ({"x_train": X.astype(str), "y_train": Y}, "x_train has the type <U"),
        ({"x_train": X, "y_train": Y + 1j}, "y_train has the type complex128"),
        ({"x_train": X, "y_train": tokens([1], [2], [3, 0], [4])}, "y_train holds 0 in row 2"),
        ({"x_train": X, "y_train": np.array([["a"] * 2] * 4)}, "holds texts in shape (4, 2)"),
        ({"x_train": np.where(X == 5, np.nan, X), "y_train": Y}, "x_train holds nan in row 1, column 2"),
        ({"x_train": np.where(X == 9, -np.inf, X), "y_train": Y}, "x_train holds -inf in row 3, column 0"),
        ({"x_train": X, "y_train": np.array([0, 1, np.nan, 2])}, "y_train holds nan in row 2"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :2], "y_test": Y}, "3 features a row, but x_test has 2"),
        (
            {"x_train": X, "y_train": Y, "x_test": tokens([1], [2], [3], [4]), "y_test": Y},
            "the other a table",
        ),
        (
            {"x_train": X, "y_train": Y, "x_test": X, "y_test": np.eye(4)},
            "y_train has shape (4,), but y_test",
        ),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": np.array(list("abab"))}, "one holds texts"),
        ({"x_train": tokens([1], ["a"], [2], [3]), "y_train": Y}, "the array x_train holds a text in row 1"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    assert said in refusal(tmp_path, **arrays)


def test_integers_are_lists_of_one_length_where_a_step_takes_lists(tmp_path: Path) -> None:
    padded = np.array([[0, 5, 7], [4, 4, 2], [0, 0, 1], [9, 0, 0]])
    spec = saved(tmp_path, x_train=padded, y_train=Y)
    inputs = load_dataset(spec, token_inputs=["(input)"]).train.inputs
    assert isinstance(inputs, TokenRows)
    assert [inputs.row(i).tolist() for i in range(4)] == padded.tolist()
    assert isinstance(load_dataset(spec).train.inputs, np.ndarray)
    with pytest.raises(DataError, match=r"the array x_train holds -1\. Word indices are integers from 0 to"):
        load_dataset(saved(tmp_path, x_train=padded - 1, y_train=Y), token_inputs=["(input)"])


def test_lists_of_one_length_beside_numbers_of_another_input(tmp_path: Path) -> None:
    spec = saved(tmp_path, words_train=np.array([[1, 2], [3, 0]]), size_train=np.zeros((2, 2)), y_train=Y[:2])
    ports = {"a": ("words",), "b": ("size",)}
    train = load_dataset(spec, inputs=ports, outputs={"y": ("y",)}, token_inputs=["a"]).train
    assert isinstance(train.of_inputs["a"], TokenRows)
    assert isinstance(train.of_inputs["b"], np.ndarray)


def test_a_missing_file_is_refused_also_in_a_smoke_run(tmp_path: Path) -> None:
    for smoke in (False, True):
        with pytest.raises(DataError, match="does not exist"):
            load_dataset(schema.Npz(path=str(tmp_path / "none.npz")), smoke=smoke)


def test_a_smoke_run_takes_the_first_rows(tmp_path: Path) -> None:
    x = np.arange(1000.0)
    spec = saved(tmp_path, x_train=x, y_train=np.arange(1000) % 2, x_test=x, y_test=np.arange(1000) % 2)
    dataset = load_dataset(spec, smoke=True)
    assert dataset.test is not None
    assert (len(dataset.train), len(dataset.test), dataset.smoke) == (256, 64, True)
    assert np.array_equal(dataset.train.inputs[:, 0], x[:256])
    assert dataset.sources[0].note == "the first rows only"


def test_lists_of_classes_are_targets_filled_up_to_one_length(tmp_path: Path) -> None:
    dataset = load(
        tmp_path,
        x_train=X,
        y_train=tokens([1], [2, 1], [3], [1, 1]),
        x_test=X[:2],
        y_test=tokens([1, 2, 3], [2]),
    )
    assert dataset.train.targets.tolist() == [[1, 0, 0], [2, 1, 0], [3, 0, 0], [1, 1, 0]]
    assert dataset.test is not None
    assert dataset.test.targets.tolist() == [[1, 2, 3], [2, 0, 0]]


NAMED = {"inputs": {"size": ("size",), "words": ("w",)}, "outputs": {"price": ("price",), "kind": ("sort",)}}
PARTS = {
    "size_train": X,
    "size_test": X,
    "w_train": X,
    "w_test": X,
    "price_train": Y,
    "price_test": Y,
    "sort_train": np.array(["a", "b", "b", "a"]),
    "sort_test": np.array(["a", "b", "b", "a"]),
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"w_test": X[:, :2]}, "w_train has 3 features a row, but w_test has 2"),
        ({"size_test": tokens([1], [2], [1], [1])}, "of size_train and size_test one holds token lists"),
        ({"sort_test": Y}, "of sort_train and sort_test one holds texts and the other numbers"),
        (
            {"sort_test": np.array(["a", "c", "b", "a"])},
            "sort_test holds the class 'c' in row 1, which sort_train",
        ),
        ({"w_train": X[:3]}, "w_train has 3 rows, but price_train has 4"),
        ({"price_test": np.stack([Y, Y], 1)}, "price_train has shape (4,), but price_test has (4, 2)"),
    ],
)
def test_messages_have_the_names_of_the_arrays(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as error:
        load_dataset(saved(tmp_path, **{**PARTS, **changes}), **NAMED)
    assert said in str(error.value)


def test_a_missing_file_names_the_arrays_that_it_needs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"arrays size_train, w_train, price_train and sort_train\.$"):
        load_dataset(schema.Npz(path=str(tmp_path / "no.npz")), **NAMED)
