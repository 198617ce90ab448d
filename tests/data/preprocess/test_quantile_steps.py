"""piecewise_linear and quantile: what their numbers mean, alone, together and inside an exported program."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from sklearn.preprocessing import QuantileTransformer

from nnrun.data import Dataset, DenseRows, Samples
from nnrun.data.preprocess import FittedInputs, fit_input
from nnrun.data.table import NumberColumn
from nnrun.errors import DataError
from nnrun.spec import schema
from tests.support.column_tables import fit, numbers, rows_of, table

RNG = np.random.default_rng(0)
VALUES = RNG.lognormal(1, 1, 400)
NEW = np.concatenate([VALUES[:20], [-1e9, 0.0, 2.5, 1e9]])
WHOLE = st.lists(st.integers(-4, 4).map(float) | st.floats(-1e6, 1e6), min_size=1, max_size=30)


def of_array(x_NC: Any, *steps: Any) -> FittedInputs:
    dataset = Dataset("rows", Samples(x_NC, np.zeros(len(x_NC))), None, ())
    return fit_input(schema.Preprocessing.model_validate({"inputs": list(steps)}), dataset)


def places_by_hand(values: list[float], new: list[float], bins: int) -> np.ndarray:
    """Piecewise linear encoding as the paper defines it, one value and one bin at a time."""
    edges = sorted(set(np.quantile(values, np.linspace(0, 1, bins + 1)).tolist()))
    rows = []
    for value in new:
        row = []
        for place, (low, high) in enumerate(pairwise(edges)):
            z = (value - low) / (high - low)
            first, last = place == 0, place == len(edges) - 2
            if not first:
                z = max(z, 0.0)
            if not last:
                z = min(z, 1.0)
            row.append(min(max(z, -3.0), 4.0))
        rows.append(row)
    return np.array(rows, np.float32).reshape(len(new), max(len(edges) - 1, 0))


@given(values=WHOLE, new=WHOLE, bins=st.integers(1, 5))
def test_places_in_bins(values: list[float], new: list[float], bins: int) -> None:
    steps = [{"piecewise_linear": {"bins": bins, "columns": "x"}}, {"standardize": "y"}]
    inputs = table(numbers("x", values), numbers("y", range(len(values))))
    fitted = fit(inputs, steps)
    found = rows_of(fitted, table(numbers("x", new), numbers("y", range(len(new)))))[:, :-1]
    np.testing.assert_allclose(found, places_by_hand(values, new, bins), rtol=1e-6, atol=1e-6)


def test_bins_by_name_and_default() -> None:
    inputs = table(numbers("age", VALUES.tolist()))
    fitted = fit(inputs, "piecewise_linear")
    assert fitted.input.feature_names == tuple(f"age_bin_{place}" for place in range(16))
    # The training rows spread over the bins: each value lies strictly within at most one.
    found = rows_of(fitted, inputs)
    assert ((found > 0) & (found < 1)).sum(axis=1).max() == 1
    assert (found.min(), found.max()) == (0, 1)
    assert np.abs((found == 1).sum(axis=0) - np.linspace(375, 0, 16)).max() <= 1


def test_the_kept_number_goes_through_later_steps() -> None:
    inputs = table(numbers("x", [*VALUES.tolist(), None]), numbers("y", [1.0] * 401))
    steps = [
        {"impute": {"strategy": "median", "indicator": True}},
        {"piecewise_linear": {"bins": 2, "keep": True}},
        "quantile",
    ]
    fitted = fit(inputs, steps)
    assert fitted.input.feature_names == ("x", "x is missing", "x_bin_0", "x_bin_1", "y")
    found = rows_of(fitted, inputs)
    imputed = np.append(VALUES, np.median(VALUES))
    alone = table(numbers("x", imputed.tolist()))
    np.testing.assert_array_equal(found[:, 0], rows_of(fit(alone, "quantile"), alone)[:, 0])
    np.testing.assert_array_equal(found[:, 1], [0] * 400 + [1])
    np.testing.assert_array_equal(found[:, 2:4], rows_of(fit(alone, {"piecewise_linear": 2}), alone))
    assert not found[:, 4].any()


def test_an_indicator_stands_beside_bins() -> None:
    inputs = table(numbers("x", [1, None, 2, 3]))
    fitted = fit(inputs, [{"impute": {"indicator": True}}, {"piecewise_linear": 1}])
    assert fitted.input.feature_names == ("x_bin_0", "x is missing")
    np.testing.assert_array_equal(rows_of(fitted, inputs), [[0, 0], [0.5, 1], [0.5, 0], [1, 0]])


@pytest.mark.parametrize("keep", [False, True])
def test_a_missing_value_lies_in_no_bin(keep: bool) -> None:
    step = {"piecewise_linear": {"keep": keep}}
    message = "Column 'x', row 1: has no value; put `impute` before the other steps of this column"
    with pytest.raises(DataError, match=message):
        fit(table(numbers("x", [1, None, 2])), [step, *["impute"] * keep])
    fitted = fit(table(numbers("x", [1, 3, 2])), [step, *["impute"] * keep])
    assert list(fitted.input.problems(table(numbers("x", [1, 2, None])))) == [2]


def test_a_range_beyond_float64_is_refused() -> None:
    for step in ("piecewise_linear", "quantile"):
        message = f"{step}: the range of column 'x' is not a finite number"
        with pytest.raises(DataError, match=message):
            fit(table(numbers("x", [-1.7e308, 0, 1.7e308])), step)


def test_a_place_in_a_bin_that_overflows_warns_of_nothing() -> None:
    training, new = table(numbers("x", [0.0, 1e-3, 2e-3])), table(numbers("x", [1e-3, 1e308]))
    bins = fit(training, {"piecewise_linear": {"bins": 2}})
    assert np.isfinite(rows_of(bins, new)).all()  # far beyond the last edge a place is bounded
    kept = fit(training, {"piecewise_linear": {"bins": 2, "keep": True}})
    assert kept.input.problems(new).keys() == {1}  # the number itself is too large for float32


def test_arrays_have_no_bins_where_rows_keep_their_shape() -> None:
    with pytest.raises(DataError, match="piecewise_linear gives several numbers for one"):
        of_array(RNG.normal(size=(20, 3, 2)), "piecewise_linear")


@pytest.mark.parametrize("output", ["normal", "uniform"])
@pytest.mark.parametrize("n_quantiles", [None, 7, 1000])
def test_quantile_is_that_of_scikit_learn(output: Any, n_quantiles: int | None) -> None:
    inputs = table(NumberColumn("x", VALUES))
    step = {"quantile": {"output_distribution": output, "n_quantiles": n_quantiles}}
    found = rows_of(fit(inputs, step), table(NumberColumn("x", NEW)))[:, 0]
    count = min(n_quantiles or 400 // 30, 400)
    theirs = QuantileTransformer(output_distribution=output, n_quantiles=count, subsample=None)
    expected = theirs.fit(VALUES[:, None]).transform(NEW[:, None])[:, 0]
    np.testing.assert_allclose(found, np.clip(expected, -3, 3), rtol=1e-5, atol=1e-6)


def test_no_rows_have_no_ranks() -> None:
    """As where each row of a file cannot be predicted."""
    empty = table(NumberColumn("x", VALUES[:0]))
    assert rows_of(fit(table(NumberColumn("x", VALUES)), "quantile"), empty).shape == (0, 1)


def test_a_value_that_several_quantiles_share_has_the_middle_of_their_ranks() -> None:
    values = [0.0] * 30 + list(range(1, 41)) + [50.0] * 30
    inputs = table(numbers("x", values))
    fitted = fit(inputs, {"quantile": {"output_distribution": "uniform", "n_quantiles": 101}})
    new = table(numbers("x", [0, 50, -1, 51, 20]))
    found = rows_of(fitted, new)[:, 0]
    np.testing.assert_allclose(found, [0.15, 0.85, 0, 1, 0.495], atol=0.01)
    normal = rows_of(fit(inputs, {"quantile": {"n_quantiles": 101}}), new)[:, 0]
    np.testing.assert_allclose(normal, np.clip(ndtri(found), -3, 3), rtol=1e-5, atol=1e-6)


def test_a_shared_value_that_float32_rounds_keeps_its_rank() -> None:
    """In an exported program, which takes float32."""
    fitted = of_array(RNG.integers(1, 10, (200, 2)) / 10, {"quantile": "uniform"})
    assert fitted.table is not None
    numbers_of = fitted.table.for_float32().numbers
    assert numbers_of is not None
    x_NC = np.repeat(np.arange(1, 10)[:, None] / 10, 2, axis=1)
    rounded = torch.from_numpy(x_NC.astype(np.float32)).double()
    found = numbers_of.map(torch.from_numpy).compute(rounded, torch).numpy()
    np.testing.assert_allclose(found, fitted.transform(x_NC).to_dense(), atol=1e-6)


@pytest.mark.parametrize("output", ["normal", "uniform"])
def test_a_constant_becomes_0(output: str) -> None:
    fitted = fit(table(numbers("x", [5, 5, 5]), numbers("y", [1, 2, 3])), {"quantile": output})
    found = rows_of(fitted, table(numbers("x", [5, 4, 9]), numbers("y", [1, 2, 3])))
    assert not found[:, 0].any()


def test_missing_values_stay_missing_for_a_later_impute() -> None:
    values = [*VALUES.tolist(), None]
    inputs = table(numbers("x", values))
    for step in ("quantile", "robust"):
        fitted = fit(inputs, [step, {"impute": {"strategy": "constant", "value": 2.5}}])
        assert rows_of(fitted, inputs)[-1, 0] == 2.5


@given(
    columns=st.lists(st.lists(st.integers(-9, 9), min_size=12, max_size=12), min_size=1, max_size=4),
    new=st.lists(st.integers(-20, 20), min_size=4, max_size=4),
    steps=st.sampled_from(
        [
            ["quantile"],
            [{"quantile": {"output_distribution": "uniform", "n_quantiles": 3}}],
            ["robust", {"piecewise_linear": {"bins": 3, "keep": True}}],
            [{"piecewise_linear": {"bins": 4, "keep": True}}, "quantile"],
            [{"robust": {"clip": "none"}}, {"piecewise_linear": {"bins": 2, "columns": [0]}}],
        ]
    ),
)
def test_one_column_an_array_and_a_program_compute_the_same(
    columns: list[list[int]], new: list[int], steps: list[Any]
) -> None:
    x_NC = np.array(columns, np.float64).T
    new_NC = np.array(new, np.float64)[:, None] + np.arange(len(columns))
    fitted = of_array(x_NC, *steps)
    if not fitted.width:
        return
    rows = fitted.transform(new_NC)
    assert isinstance(rows, DenseRows)
    assert rows.x_NF.shape == (4, fitted.width)
    assert fitted.table is not None
    assert fitted.table.numbers is not None
    program = fitted.table.numbers.map(torch.from_numpy).compute(torch.from_numpy(new_NC), torch)
    np.testing.assert_allclose(program.numpy(), rows.x_NF, rtol=1e-6, atol=1e-6)
    parts = [fitted.table._part(column, fitted.table.as_table(new_NC)) for column in fitted.table.columns]
    dense = [part for part in parts if isinstance(part, np.ndarray)]
    np.testing.assert_array_equal(np.concatenate(dense, axis=1).astype(np.float32), rows.x_NF)
    again = FittedInputs.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
