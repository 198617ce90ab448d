"""What is learned of a large array in blocks is the same wherever it lies, and what a copy would tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.data.dataset import Array
from nnrun.data.preprocess import array_blocks
from nnrun.data.preprocess.column_steps import plan_columns
from nnrun.data.preprocess.column_transformer import FittedTable, fit_array
from nnrun.errors import DataError
from nnrun.spec import schema


def fit(steps: list[schema.PreprocessingStep], x: Array, rows: Array | None) -> FittedTable:
    columns: list[Any] = [(str(place), "number") for place in range(x.shape[-1])]
    return fit_array(steps, plan_columns(steps, columns, "x", default=False), x, rows)


def in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_blocks, "LARGE_VALUES", 0)
    monkeypatch.setattr(array_blocks, "_BLOCK_VALUES", 100)
    monkeypatch.setattr(array_blocks, "_TURNED_VALUES", 333)


def mapped(folder: Path, x: Array) -> Array:
    x.tofile(folder / "x")
    return np.memmap(folder / "x", x.dtype, "r", shape=x.shape)


def numbers_of(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for each in value.values() for number in numbers_of(each)]
    if isinstance(value, list):
        return [number for each in value for number in numbers_of(each)]
    return [value] if isinstance(value, float) else []


STEPS: list[list[schema.PreprocessingStep]] = [
    [],
    [schema.Standardize()],
    [schema.MinMax(), schema.Log1p()],
    [schema.Rescale(scale=0.1), schema.Standardize()],
    [schema.Standardize(columns=["0"]), schema.MinMax()],
    [schema.Standardize(), schema.Robust()],
    [schema.QuantileTransform()],
]


@pytest.mark.parametrize("steps", STEPS, ids=lambda steps: "-".join(step.kind for step in steps) or "none")
@pytest.mark.parametrize("kind", [np.float32, np.uint8, np.int16])
@pytest.mark.parametrize("shape", [(300, 5), (90, 4, 3), (60, 4, 4, 2)])
def test_the_same_in_memory_and_in_a_file(
    steps: list[schema.PreprocessingStep],
    kind: Any,
    shape: tuple[int, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(100, 20, shape).astype(kind)
    for rows in (None, np.flatnonzero(rng.random(len(x)) < 0.7)):
        whole = fit(steps, x, rows)
        with monkeypatch.context() as patch:
            in_blocks(patch)
            found = fit(steps, x, rows)
            assert found == fit(steps, mapped(tmp_path, x), rows)
            assert found == fit(steps, np.asfortranarray(x), rows)
        assert (found.row_shape, found.of_array) == (whole.row_shape, whole.of_array)
        expected, told = numbers_of(whole.to_json()), numbers_of(found.to_json())
        np.testing.assert_allclose(told, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("place", ["memory", "file"])
@pytest.mark.parametrize("shape", [(40, 3), (40, 2, 3)])
def test_a_row_that_is_not_taken_is_named(
    place: str, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.ones(shape)
    x[(31, *[0] * (len(shape) - 2), 1)] = -2
    in_blocks(monkeypatch)
    monkeypatch.setattr(array_blocks, "_BLOCK_VALUES", 10)
    rows = np.arange(0, 40)[1:]
    with pytest.raises(DataError) as caught:
        fit([schema.Log1p()], mapped(tmp_path, x) if place == "file" else x, rows)
    assert str(caught.value) == "Column '1', row 31: has -2, and log1p takes numbers above -1."


def test_little_is_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are counted where they are read; no array of all training rows is made."""
    in_blocks(monkeypatch)
    x = mapped(tmp_path, np.random.default_rng(0).normal(size=(2000, 4)).astype(np.float32))
    seen: list[int] = []
    read = array_blocks._parts

    def counted(array: Array, rows: Array | None, values: int) -> Any:
        for part in read(array, rows, values):
            seen.append(part.size)
            yield part

    monkeypatch.setattr(array_blocks, "_parts", counted)
    fit([schema.Standardize()], x, np.arange(1500))
    assert max(seen) == 100
    assert sum(seen) == 2 * 1500 * 4  # once for the mean, once for the deviation
