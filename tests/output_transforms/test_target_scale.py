"""One scale for targets: applied before training, inverted for whatever people read."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data.preprocess.target_encoding import FittedTargets, fit_targets
from nnrun.output_transforms.target_scale import TargetScale
from nnrun.spec import schema

numbers = st.floats(-0.99, 1e6)
scales = st.builds(
    TargetScale,
    mean=st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    std=st.tuples(st.floats(0.1, 1e3), st.floats(0.1, 1e3)),
    log1p=st.booleans(),
)


@given(scale=scales, rows=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
def test_inverting_gives_back_what_was_applied(scale: TargetScale, rows: list[tuple[float, float]]) -> None:
    targets = np.array(rows)
    assert scale.invert(scale.apply(targets)) == pytest.approx(targets, rel=1e-6, abs=1e-6)


@given(scale=scales, rows=st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=5))
def test_tensors_and_arrays_are_inverted_alike(scale: TargetScale, rows: list[tuple[float, float]]) -> None:
    outputs = np.array(rows, np.float32)
    found = scale.invert(torch.from_numpy(outputs))
    assert found.dtype == torch.float64
    with np.errstate(over="ignore"):
        assert found.numpy() == pytest.approx(scale.invert(outputs), rel=1e-12)


def test_the_logarithm_comes_first() -> None:
    scale = TargetScale((1.0,), (2.0,), log1p=True)
    assert scale.apply(np.array([[np.e**3 - 1]])) == pytest.approx(np.array([[1.0]]))


columns = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=40)


@st.composite
def curves(draw: st.DrawFn) -> tuple[TargetScale, np.ndarray]:
    """A scale fitted on two columns, ties among them, and the rows."""
    column = draw(columns)
    rows = np.array([column, draw(st.permutations(column))]).T.round(3)
    scale = fit_targets(schema.QuantileTargets(), rows, None, 2).scale
    assert scale is not None
    return scale, rows


@given(curves())
def test_quantiles_come_back_and_all_else_stays_between_them(pair: tuple[TargetScale, np.ndarray]) -> None:
    scale, rows = pair
    applied = scale.apply(rows)
    assert (np.abs(applied) <= 3 + 1e-12).all()
    assert scale.invert(applied) == pytest.approx(rows, rel=1e-6, abs=1e-6 * (1 + np.abs(rows).max()))
    outside = scale.invert(np.array([[-50.0, 50.0]]))
    assert outside.tolist() == [[rows[:, 0].min(), rows[:, 1].max()]]


@given(curves(), st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=9))
def test_tensors_and_arrays_are_on_the_same_curves(
    pair: tuple[TargetScale, np.ndarray], outputs: list[tuple[float, float]]
) -> None:
    scale, rows = pair
    values = np.array(outputs)
    size = 1 + np.abs(rows).max()
    found = scale.invert(torch.from_numpy(values)).numpy()
    assert found == pytest.approx(scale.invert(values), rel=1e-9, abs=1e-9 * size)
    mean = scale.invert(scale.mean_in_own_units(torch.from_numpy(values), 0)).numpy()
    assert mean == pytest.approx(scale.invert(values).mean(0), rel=1e-6, abs=1e-6 * size)


def test_ranks_are_those_of_a_normal_distribution() -> None:
    """Of 10,000 rows the curve's values have its moments; equal values share the middle of their ranks."""
    y = np.exp(np.random.default_rng(0).normal(size=(10_000, 1)))
    scale = fit_targets(schema.QuantileTargets(), y, None, 1).scale
    assert scale is not None
    z = scale.apply(y)
    assert (z.mean(), z.std()) == pytest.approx((0.0, 1.0), abs=0.02)
    tied = fit_targets(schema.QuantileTargets(), np.repeat([[0.0], [1.0]], [60, 40], 0), None, 1).scale
    assert tied is not None
    (curve,) = tied.curves
    assert curve.quantiles == (0.0, 1.0)
    middles = [NormalDist().inv_cdf(rank) for rank in (2.5 / 9, 7.5 / 9)]
    assert curve.normal == pytest.approx(middles, abs=1e-9)


def test_a_constant_column_is_zero_and_comes_back() -> None:
    scale = fit_targets(schema.QuantileTargets(), np.full((30, 1), 7.0), None, 1).scale
    assert scale is not None
    assert scale.apply(np.array([[7.0], [9.0]])).tolist() == [[0.0], [0.0]]
    assert scale.invert(torch.tensor([[0.3]])).tolist() == [[7.0]]
    assert scale.invert(torch.tensor([[float("nan")]])).isnan().all()


def test_many_quantiles_lead_back_to_their_targets_and_are_read_again() -> None:
    """Of 1,000 quantiles two at each end are where the normal distribution is clipped."""
    y = np.random.default_rng(0).normal(size=(30_000, 1))
    fitted = fit_targets(schema.QuantileTargets(), y, None, 1)
    assert fitted.scale is not None
    assert (np.diff(fitted.scale.curves[0].normal) > 0).all()
    assert fitted.scale.invert(fitted.scale.apply(y)) == pytest.approx(y, rel=1e-6, abs=1e-6)
    assert FittedTargets.from_json(fitted.to_json(), 1) == fitted
