"""Losses by their spec names, with Keras 3's definitions: the mean over a row's outputs, then over the batch.

The cross-entropies take the values before the last activation, which keeps them finite where a probability
rounds to 0 or 1. The others take the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from nnrun.errors import NnrunError
from nnrun.spec import schema
from nnrun.spec.custom_objects import custom_object, own_fault


class RowLoss(Protocol):
    """The loss of each row."""

    def __call__(self, z_RBK: Tensor, outputs_RBK: Tensor, targets: Tensor) -> Tensor:
        """(R, B) from the values before and after the last activation; targets (R, B, K) or (R, B)."""


def smoothed_targets(targets: Tensor, loss: schema.Component) -> Tensor:
    """What a cross-entropy with label smoothing compares with: a part of each target is for all classes.

    Targets of other losses, and class indices, stay as they are.
    """
    if not isinstance(loss, (schema.BinaryCrossentropy, schema.CategoricalCrossentropy)):
        return targets
    if not loss.label_smoothing:
        return targets
    classes = 2 if isinstance(loss, schema.BinaryCrossentropy) else targets.shape[-1]
    return targets * (1 - loss.label_smoothing) + loss.label_smoothing / classes


def _binary_crossentropy(spec: schema.BinaryCrossentropy) -> RowLoss:
    return lambda z, outputs, targets: _mean_over_outputs(
        F.binary_cross_entropy_with_logits(z, smoothed_targets(targets, spec), reduction="none")
    )


def _categorical_crossentropy(spec: schema.CategoricalCrossentropy) -> RowLoss:
    return lambda z, outputs, targets: -(smoothed_targets(targets, spec) * torch.log_softmax(z, -1)).sum(-1)


def _sparse_categorical_crossentropy(spec: schema.SparseCategoricalCrossentropy) -> RowLoss:
    smoothing = spec.label_smoothing

    def of_rows(z_RBK: Tensor, outputs_RBK: Tensor, targets: Tensor) -> Tensor:
        logs_RBK = torch.log_softmax(z_RBK, -1)
        of_class_RB = logs_RBK.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        if not smoothing:
            return -of_class_RB
        return -((1 - smoothing) * of_class_RB + smoothing * logs_RBK.mean(-1))

    return of_rows


def _mse(spec: schema.Mse) -> RowLoss:
    return lambda z, outputs, targets: _mean_over_outputs((outputs - targets).square())


def _mae(spec: schema.Mae) -> RowLoss:
    return lambda z, outputs, targets: _mean_over_outputs((outputs - targets).abs())


def _huber(spec: schema.Huber) -> RowLoss:
    return lambda z, outputs, targets: _mean_over_outputs(
        F.huber_loss(outputs, targets, reduction="none", delta=spec.delta)
    )


def _mean_over_outputs(losses_RBK: Tensor) -> Tensor:
    """(R, B); of a single output without the cost of a mean and of its gradient."""
    return losses_RBK.squeeze(-1) if losses_RBK.shape[-1] == 1 else losses_RBK.mean(-1)


_TOLERANCE = 1e-4  # relative and absolute, between a network alone and beside others


class CustomLoss:
    """A user's function, checked as it is called: its shape, and once that networks do not mix."""

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


LOSSES: Mapping[type[schema.Component], Callable[..., RowLoss]] = {
    schema.BinaryCrossentropy: _binary_crossentropy,
    schema.CategoricalCrossentropy: _categorical_crossentropy,
    schema.SparseCategoricalCrossentropy: _sparse_categorical_crossentropy,
    schema.Mse: _mse,
    schema.Mae: _mae,
    schema.Huber: _huber,
    schema.Custom: CustomLoss,
}


def build_loss(spec: schema.Component) -> RowLoss:
    """The loss that a spec names.

    Raises:
        UsageError: it is custom code that may not be run, or that is not there.
    """
    return LOSSES[type(spec)](spec)
