"""The loss `ctc` by its definition, and the metric of what it reads."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest
import torch

from nnrun.sequences import padded
from nnrun.spec import schema
from nnrun.training.losses import build_loss
from nnrun.training.metrics import MetricTotals, Scored, build_metrics

STEPS, CLASSES = 5, 4
LABELS = [[1], [2, 1], [3, 3], [1, 2, 3], [2, 2, 1]]


def values(replicas: int, seed: int = 1) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(replicas, len(LABELS), STEPS, CLASSES)).astype(np.float32))


def targets(replicas: int) -> torch.Tensor:
    return torch.from_numpy(padded(LABELS)).expand(replicas, -1, -1)


def of_all_ways(z_TK: np.ndarray, label: list[int]) -> float:
    """Minus the logarithm of the summed probabilities of all ways through the steps that read the label."""
    logs = z_TK - np.log(np.exp(z_TK).sum(-1, keepdims=True))
    total = 0.0
    for way in product(range(CLASSES), repeat=STEPS):
        if [c for c, _ in groupby(way) if c] == label:
            total += np.exp(sum(logs[t, c] for t, c in enumerate(way)))
    return float(-np.log(total))


def test_the_loss_is_that_of_all_ways_to_read_the_classes() -> None:
    z = values(2)
    found = build_loss(schema.Ctc())(z, z, targets(2))
    expected = [
        [of_all_ways(row, label) for row, label in zip(own, LABELS, strict=True)] for own in z.numpy()
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_gradient_of_a_replica_is_its_own() -> None:
    z = values(2).requires_grad_()
    (together,) = torch.autograd.grad(build_loss(schema.Ctc())(z, z, targets(2)).sum(), z)
    for replica in range(2):
        own = z[replica : replica + 1].detach().requires_grad_()
        (alone,) = torch.autograd.grad(build_loss(schema.Ctc())(own, own, targets(1)).sum(), own)
        torch.testing.assert_close(together[replica], alone[0])
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together.sum(-1), torch.zeros_like(together[..., 0]), rtol=0, atol=1e-6)


def read(best: list[list[int]]) -> torch.Tensor:
    return torch.eye(CLASSES)[torch.tensor(best)][None]


@pytest.mark.parametrize("batches", [[3], [1, 2]])
def test_the_error_rate_is_of_all_classes_together(batches: list[int]) -> None:
    z = read([[1, 1, 0, 2, 2], [3, 0, 0, 0, 0], [0, 0, 0, 0, 0]])  # reads 12, 3 and nothing
    true = torch.from_numpy(padded([[1, 2], [1, 3, 2], [2]]))[None]
    (metric,) = build_metrics([schema.CharacterErrorRate()], "linear")
    totals = MetricTotals([metric], 1)
    for part, labels in zip(z.split(batches, 1), true.split(batches, 1), strict=True):
        totals.add([0], Scored(part, part, labels))
    assert totals.values(0) == {"character_error_rate": (0 + 2 + 1) / 6}
