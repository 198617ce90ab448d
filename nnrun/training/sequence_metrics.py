"""Metrics of sequences of classes that are read from steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from nnrun.lazy_torch import torch
from nnrun.sequences import edit_distances, greedily_decoded
from nnrun.spec import schema
from nnrun.training.metric_types import Metric

if TYPE_CHECKING:
    from torch import Tensor


def _character_error_rate(spec: schema.CharacterErrorRate, activation: str) -> Metric:
    def counts(values_RBTK: Tensor, targets_RBL: Tensor) -> Tensor:
        sums = []
        for values_BTK, targets_BL in zip(values_RBTK.cpu().numpy(), targets_RBL.cpu().numpy(), strict=True):
            wrong = edit_distances(greedily_decoded(values_BTK), targets_BL).sum()
            sums.append([float(wrong), float((targets_BL != 0).sum())])
        return torch.tensor(sums, dtype=torch.float64)

    def value(sums: np.ndarray, rows: int) -> float:
        return float(sums[0] / sums[1]) if sums[1] else math.nan

    return Metric(spec.kind, counts, value, of_logits=True)


SEQUENCE_METRICS: Mapping[type[schema.Component], Callable[..., Metric]] = {
    schema.CharacterErrorRate: _character_error_rate,
}
