"""What noise layers do to numbers while training."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nnrun.model.layers import LAYERS
from nnrun.model.rng import BatchRng
from nnrun.spec import schema

KEYS = BatchRng(keys={"1": torch.tensor([11, 12])})
KINDS = schema.components(schema.Layer)
SHAPE = (40, 25)


def trained(kind: str, value: float, x: torch.Tensor) -> torch.Tensor:
    """What the layer makes of stacked rows (2, B, *SHAPE) in a training step."""
    spec: Any = KINDS[kind].model_validate({kind: value})
    layer = LAYERS[KINDS[kind]](spec, "1", "1", SHAPE, SHAPE)
    assert layer.forward({}, x, None, None) is x, "otherwise it does nothing"
    found = layer.forward({}, x, KEYS, {})
    assert isinstance(found, torch.Tensor)
    return found


def test_gaussian_noise_has_mean_0_and_its_deviation() -> None:
    noise = trained("gaussian_noise", 0.3, torch.full((2, 50, *SHAPE), 2.0)) - 2
    # Five standard errors of 100,000 numbers.
    assert noise.mean().item() == pytest.approx(0, abs=5 * 0.3 / 100_000**0.5)
    assert noise.std().item() == pytest.approx(0.3, abs=5 * 0.3 / 200_000**0.5)
    # Of normal numbers a share of 0.3173 is further away than one deviation.
    assert ((noise.abs() > 0.3).double().mean().item()) == pytest.approx(0.3173, abs=0.008)
    assert not torch.equal(noise[0], noise[1])


def test_gaussian_dropout_multiplies_by_numbers_around_1() -> None:
    factors = trained("gaussian_dropout", 0.2, torch.full((2, 50, *SHAPE), 3.0)) / 3
    assert factors.mean().item() == pytest.approx(1, abs=5 * 0.5 / 100_000**0.5)
    assert factors.std().item() == pytest.approx((0.2 / 0.8) ** 0.5, abs=5 * 0.5 / 200_000**0.5)


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = torch.randn(2, 50, *SHAPE, generator=torch.Generator().manual_seed(1))
    found = trained("alpha_dropout", 0.3, x)
    assert found.mean().item() == pytest.approx(0, abs=0.02)
    assert found.std().item() == pytest.approx(1, abs=0.02)
    # Where it drops, it gives one value.
    _, counts = found.unique(return_counts=True)
    assert counts.max().item() / x.numel() == pytest.approx(0.3, abs=0.01)


def test_spatial_dropout_drops_channels_whole() -> None:
    x = torch.full((2, 400, *SHAPE), 3.0)
    kept = trained("spatial_dropout", 0.25, x)
    of_channels = kept[:, :, 0]
    assert torch.equal(kept, of_channels.unsqueeze(2).expand_as(kept))
    others = of_channels[of_channels != 0]
    torch.testing.assert_close(others, torch.full_like(others, 4.0))
    assert (of_channels == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)


def test_sines_and_cosines_tell_where_a_step_stands() -> None:
    """KerasHub's SinePositionEncoding, written out."""
    spec = schema.PositionEmbedding(encoding="sinusoidal", max_wavelength=100.0)
    layer = LAYERS[schema.PositionEmbedding](spec, "1", "1", (3, 4), (3, 4))
    found: Any = layer.forward({}, torch.zeros(1, 2, 3, 4), None, None)
    p = torch.arange(3.0)
    expected = torch.stack([p.sin(), p.cos(), (p / 10).sin(), (p / 10).cos()], 1)
    torch.testing.assert_close(found, expected.expand(1, 2, 3, 4))
