"""Rows of arrays with more axes: they keep their shape, and steps are learned along the last axis."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nnrun.data import ByteRows, Dataset, DenseRows, Samples
from nnrun.data.preprocess.pipeline import FittedInputs, fit_input
from nnrun.errors import DataError
from nnrun.spec import schema

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(3.0, 2.0, (20, 5, 4, 3))
LABELS = np.arange(20) % 2


def fit(x: np.ndarray, *steps: Any, rows: Any = None) -> FittedInputs:
    dataset = Dataset("images", Samples(x, LABELS[: len(x)]), None, ())
    spec = schema.Preprocessing.model_validate({"inputs": list(steps)})
    return fit_input(spec, dataset, rows)


def rows_of(fitted: FittedInputs, x: np.ndarray) -> np.ndarray:
    rows = fitted.transform(x)
    assert isinstance(rows, DenseRows)
    return rows.x_NF


def test_rows_are_taken_as_they_are() -> None:
    fitted = fit(IMAGES)
    assert (fitted.shape, fitted.raw_shape, fitted.width) == ((5, 4, 3), (5, 4, 3), 60)
    np.testing.assert_array_equal(rows_of(fitted, IMAGES), IMAGES.astype(np.float32))


def test_standardize_is_keras_normalization_along_the_last_axis() -> None:
    train = np.arange(12)
    fitted = fit(IMAGES, "standardize", rows=train)
    axes = (0, 1, 2)
    expected = (IMAGES - IMAGES[train].mean(axes)) / IMAGES[train].std(axes)
    np.testing.assert_allclose(rows_of(fitted, IMAGES), expected, rtol=1e-6, atol=1e-6)


def test_some_channels_by_position() -> None:
    found = rows_of(fit(IMAGES, {"min_max": [1]}), IMAGES)
    np.testing.assert_array_equal(found[..., 0], IMAGES[..., 0].astype(np.float32))
    assert found[..., 1].min() == 0
    assert found[..., 1].max() == 1


@pytest.mark.parametrize("steps", [(), ("standardize",), ("min_max", "log1p")])
def test_through_json(steps: tuple[str, ...]) -> None:
    fitted = fit(IMAGES, *steps)
    document = json.loads(json.dumps(fitted.to_json()))
    assert (document["version"], document["n_features"], document["table"]["row_shape"]) == (4, 60, [5, 4, 3])
    again = FittedInputs.from_json(document)
    assert again == fitted
    np.testing.assert_array_equal(rows_of(again, IMAGES), rows_of(fitted, IMAGES))


def test_flat_rows_are_written_as_before() -> None:
    assert fit(IMAGES[:, 0, 0]).to_json()["version"] == 2


def test_what_was_fitted_on_flat_rows_flattens_rows() -> None:
    flat = IMAGES.reshape(20, -1)
    fitted = FittedInputs.from_json(fit(flat, "standardize").to_json())
    assert fitted.shape == (60,)
    np.testing.assert_array_equal(rows_of(fitted, IMAGES), rows_of(fitted, flat))


@pytest.mark.parametrize(
    "change",
    [
        {"row_shape": [5, 4, 2]},
        {"row_shape": [60]},
        {"row_shape": None},
        {"row_shape": "x"},
        {"of_array": False},
    ],
)
def test_a_damaged_shape(change: dict[str, Any]) -> None:
    document = fit(IMAGES).to_json()
    document["table"] |= change
    with pytest.raises(ValueError):
        FittedInputs.from_json(document)


def test_other_shapes_are_refused() -> None:
    for x in (IMAGES[:, :4], IMAGES.reshape(20, -1)):
        with pytest.raises(DataError, match=r"rows of shape \(5, 4, 3\) are needed"):
            fit(IMAGES).transform(x)


def test_a_step_that_changes_the_shape_is_refused() -> None:
    whole = RNG.integers(0, 3, (20, 5, 3))
    with pytest.raises(DataError, match=r"one_hot gives several numbers for one, and rows of shape \(5, 3\)"):
        fit(whole, {"one_hot": [1]})


def test_a_row_that_cannot_be_taken_is_told_by_its_number() -> None:
    bad = np.abs(IMAGES)
    bad[7, 2, 1, 2] = -3
    with pytest.raises(DataError, match="Column '2', row 7: has -3, and log1p takes numbers above -1"):
        fit(bad, "log1p", rows=np.arange(5, 15))
    fitted = fit(np.abs(IMAGES), "log1p")
    with pytest.raises(DataError, match="row 7"):
        fitted.transform(bad)
    assert fitted.problems(bad) == {7: "in column '2' has -3, and log1p takes numbers above -1"}


PIXELS = RNG.integers(0, 256, (30, 6, 5, 3), np.uint8)


@pytest.mark.parametrize(
    "steps",
    [(), ("rescale",), ({"rescale": {"scale": 2, "offset": -1}},), ("standardize",), ("min_max", "log1p")],
)
def test_bytes_stay_bytes_and_become_what_floats_would(steps: tuple[Any, ...]) -> None:
    rows = fit(PIXELS, *steps).transform(PIXELS)
    assert isinstance(rows, ByteRows)
    assert rows.nbytes < PIXELS.nbytes + 3 * 256 * 4 + 1
    as_floats = tuple({"rescale": 1 / 255} if step == "rescale" else step for step in steps)
    fitted = fit(PIXELS.astype(np.float64), *as_floats)
    np.testing.assert_allclose(rows.to_dense(), rows_of(fitted, PIXELS.astype(np.float64)), rtol=1e-6)


def test_rescale_is_keras_rescaling() -> None:
    found = fit(PIXELS, {"rescale": {"scale": 1 / 127.5, "offset": -1}}).transform(PIXELS).to_dense()
    np.testing.assert_allclose(found, PIXELS / 127.5 - 1, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fit(PIXELS, "rescale").transform(PIXELS).to_dense(), PIXELS / 255, rtol=1e-6)
    flat = fit(PIXELS.reshape(30, -1), "rescale").transform(PIXELS.reshape(30, -1)).to_dense()
    np.testing.assert_allclose(flat, PIXELS.reshape(30, -1) / 255, rtol=1e-6)


def test_the_default_of_rescale_is_for_bytes_alone() -> None:
    with pytest.raises(DataError, match="not bytes"):
        fit(IMAGES, "rescale")


def test_the_scale_of_bytes_holds_for_new_rows_of_any_type() -> None:
    fitted = fit(PIXELS, "rescale")
    as_floats = fitted.transform(PIXELS.astype(np.float64))
    np.testing.assert_array_equal(as_floats.to_dense(), fitted.transform(PIXELS).to_dense())
