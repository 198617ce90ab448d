"""Clipped gradients: each replica's by itself, dense or sparse."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nnrun.spec import schema
from nnrun.training.clipping import build_clip


def gradients(seed: int = 1, replicas: int = 3) -> dict[str, Tensor]:
    """A kernel of which four rows of seven hold anything, and a bias."""
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn(replicas, 7, 4, generator=generator)
    kernel[:, [0, 2, 5]] = 0
    return {"0.weight": kernel, "0.bias": torch.randn(replicas, 1, 4, generator=generator)}


def sparse(dense: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**dense, "0.weight": dense["0.weight"].to_sparse(2).coalesce()}


def clipped(spec: schema.GradientClip, given: dict[str, Tensor]) -> dict[str, Tensor]:
    clip = build_clip(spec)
    assert clip is not None
    return clip(given)


def norm_of(given: dict[str, Tensor], replica: int) -> float:
    """Of all gradients of one replica, in Python's own numbers."""
    return math.sqrt(sum(v * v for g in given.values() for v in g[replica].flatten().tolist()))


def test_nothing_is_clipped_unless_a_spec_says_so() -> None:
    assert build_clip(None) is None


@given(limit=st.floats(0.01, 100), seed=st.integers(0, 1000), scale=st.floats(0.001, 1000))
def test_a_norm_above_the_limit_becomes_the_limit_and_a_smaller_one_stays(
    limit: float, seed: int, scale: float
) -> None:
    """Replica 1 has gradients of another size: what is done to one says nothing about the others."""
    given = gradients(seed)
    for gradient in given.values():
        gradient[1] *= scale
    found = clipped(schema.GradientClip(norm=limit), given)
    for replica in range(3):
        before = norm_of(given, replica)
        assert norm_of(found, replica) == pytest.approx(min(before, limit), rel=1e-4)
        for name, gradient in given.items():
            expected = gradient[replica] * min(1.0, limit / before)
            torch.testing.assert_close(found[name][replica], expected, rtol=1e-4, atol=1e-7)


def test_gradients_of_zero_stay_zero() -> None:
    given = {name: torch.zeros_like(gradient) for name, gradient in gradients().items()}
    for gradient in clipped(schema.GradientClip(norm=1.0), given).values():
        assert not gradient.any()


@given(limit=st.floats(0.01, 10), seed=st.integers(0, 1000))
def test_a_value_beyond_the_limit_becomes_the_limit(limit: float, seed: int) -> None:
    given = gradients(seed)
    found = clipped(schema.GradientClip(value=limit), given)
    for name, gradient in given.items():
        expected = [max(-limit, min(limit, v)) for v in gradient.flatten().tolist()]
        assert found[name].flatten().tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("spec", [schema.GradientClip(norm=1.5), schema.GradientClip(value=0.3)], ids=str)
def test_sparse_gradients_keep_their_rows_and_are_clipped_alike(spec: schema.GradientClip) -> None:
    given = gradients()
    dense, found = clipped(spec, given), clipped(spec, sparse(given))
    assert found["0.weight"].is_sparse
    assert found["0.weight"].is_coalesced()
    assert torch.equal(found["0.weight"].indices(), sparse(given)["0.weight"].indices())
    torch.testing.assert_close(found["0.weight"].to_dense(), dense["0.weight"])
    torch.testing.assert_close(found["0.bias"], dense["0.bias"])


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_gradient_that_is_no_number_is_not_hidden(bad: float) -> None:
    """All gradients of its replica become NaN, as in Keras, so that the loop sees it; the others' do not."""
    given = gradients()
    given["0.weight"][1, 1, 0] = bad
    found = clipped(schema.GradientClip(norm=1.0), given)
    for gradient in found.values():
        assert gradient[1].isnan().all()
        assert gradient[[0, 2]].isfinite().all()
