"""Losses and metrics of a person's own (`nnrun.spec.custom_objects` says what they must be)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnrun.errors import NnrunError
from nnrun.spec import schema
from nnrun.spec.custom_objects import custom_object, own_fault
from nnrun.spec.score_columns import metric_column
from nnrun.training.metrics import Metric

_TOLERANCE = 1e-4


class CustomLoss:
    """A person's own loss, checked as it is called: its shape, and once that networks do not mix."""

    def __init__(self, spec: schema.Custom) -> None:
        self._name, self._parameters = spec.object, dict(spec.parameters)
        self._function = custom_object(spec)
        self._mixing_checked = False

    def __call__(self, z_RBK: Tensor, outputs_RBK: Tensor, targets: Tensor) -> Tensor:
        """(R, B) the loss of each row."""
        losses_RB = self._call(outputs_RBK, targets)
        self._check(losses_RB, outputs_RBK, targets)
        return losses_RB

    def _call(self, outputs_RBK: Tensor, targets: Tensor) -> Tensor:
        try:
            result: Tensor = self._function(targets, outputs_RBK, **self._parameters)
        except Exception as error:
            raise own_fault(self._name, error) from error
        return result

    def _check(self, losses: Any, outputs_RBK: Tensor, targets: Tensor) -> None:
        wanted = outputs_RBK.shape[:2]
        if not isinstance(losses, Tensor) or losses.shape != wanted:
            found = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise NnrunError(
                f"The custom loss {self._name} returned {found} for outputs of shape "
                f"{tuple(outputs_RBK.shape)}; it must return a tensor of shape {tuple(wanted)}, "
                "the loss of each row of each network. "
                "Reduce over the last axis only, as in (y_true - y_pred).square().mean(-1)."
            )
        if len(outputs_RBK) > 1 and not self._mixing_checked:
            self._mixing_checked = True
            with torch.no_grad():
                alone = self._call(outputs_RBK[:1], targets[:1])
            if not torch.allclose(
                alone, losses[:1].detach(), rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True
            ):
                raise NnrunError(
                    f"The custom loss {self._name} gives a network a different loss when others train "
                    "with it. Reduce over the last axis only."
                )


def custom_metric(spec: schema.CustomMetric, activation: str) -> Metric:
    """A custom metric, from all rows of one network."""
    function = custom_object(spec)
    name = metric_column(spec)
    _refuse_two_directions(spec, name, getattr(function, "maximize", None))

    def from_rows(outputs_NK: np.ndarray, targets: np.ndarray) -> float:
        try:
            value = function(torch.from_numpy(targets), torch.from_numpy(outputs_NK), **spec.parameters)
        except Exception as error:
            raise own_fault(spec.object, error) from error
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise NnrunError(
                f"The custom metric {spec.object} returned {found}; it must return one number."
            ) from None

    return Metric(name, from_rows=from_rows)


def _refuse_two_directions(spec: schema.CustomMetric, name: str, wanted: Any) -> None:
    """Raise NnrunError where the function's attribute `maximize` and the spec do not agree."""
    if wanted is None:
        return
    advice = f"Add maximize: {'true' if wanted else 'false'} to the metric in the spec."
    if spec.maximize is not None and bool(wanted) != spec.maximize:
        raise NnrunError(
            f"The custom metric {spec.object} says maximize = {bool(wanted)}, but the spec says otherwise. "
            + advice
        )
    if spec.maximize is None and bool(wanted) != name.endswith("_score"):
        raise NnrunError(
            f"The custom metric {spec.object} says maximize = {bool(wanted)}, but the name {name!r} implies "
            f"otherwise: by default, higher is better only for a name that ends in _score. " + advice
        )
