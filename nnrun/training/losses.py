"""Losses by their spec names, with Keras 3's definitions: the mean over a row's outputs, then over the batch.

The cross-entropies take the values before the last activation, which keeps them finite where a probability
rounds to 0 or 1. The others take the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from nnrun.errors import NnrunError
from nnrun.lazy_torch import F, torch
from nnrun.spec import schema
from nnrun.spec.custom_objects import custom_object, own_fault

if TYPE_CHECKING:
    from torch import Tensor

FUZZ = 1e-7
"""Keras's fuzz factor, which keeps quotients and logarithms finite."""


class RowLoss(Protocol):
    """The loss of each row."""

    def __call__(self, z_RBK: Tensor, outputs_RBK: Tensor, targets: Tensor) -> Tensor:
        """(R, B) from the values before and after the last activation; targets (R, B, K) or (R, B).

        Of an output with steps, (R, B, T, K) against (R, B, T) classes, the loss of each step, (R, B, T).
        """


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


def _log_cosh(spec: schema.LogCosh) -> RowLoss:
    def of_rows(z_RBK: Tensor, outputs_RBK: Tensor, targets: Tensor) -> Tensor:
        size = (outputs_RBK - targets).abs()  # cosh itself overflows above 89
        return _mean_over_outputs(size + torch.log1p(torch.exp(-2 * size)) - math.log(2))

    return of_rows


def _mape(spec: schema.Mape) -> RowLoss:
    return lambda z, outputs, targets: _mean_over_outputs(
        100 * (outputs - targets).abs() / targets.abs().clamp(min=FUZZ)
    )


def _msle(spec: schema.Msle) -> RowLoss:
    return lambda z, outputs, targets: _mean_over_outputs(
        (torch.log1p(outputs.clamp(min=FUZZ)) - torch.log1p(targets.clamp(min=FUZZ))).square()
    )


def _poisson(spec: schema.Poisson) -> RowLoss:
    return lambda z, outputs, targets: _mean_over_outputs(outputs - targets * torch.log(outputs + FUZZ))


def _cosine_similarity(spec: schema.CosineSimilarity) -> RowLoss:
    return lambda z, outputs, targets: (
        -(F.normalize(outputs, dim=-1, eps=FUZZ) * F.normalize(targets, dim=-1, eps=FUZZ)).sum(-1)
    )


def _quantile(spec: schema.Quantile) -> RowLoss:
    first, *others = spec.levels

    def pinball(error: Tensor, q: float) -> Tensor:
        return torch.maximum(q * error, (q - 1) * error)

    def of_rows(z_RBK: Tensor, outputs_RBK: Tensor, targets: Tensor) -> Tensor:
        error = targets - outputs_RBK
        if not others:
            return _mean_over_outputs(pinball(error, first))
        columns = zip(error.unbind(-1), spec.levels, strict=True)
        return torch.stack([pinball(column, q) for column, q in columns], -1).mean(-1)

    return of_rows


def _binary_focal_crossentropy(spec: schema.BinaryFocalCrossentropy) -> RowLoss:
    smoothing, alpha = spec.label_smoothing, spec.alpha

    def of_rows(z_RBK: Tensor, outputs_RBK: Tensor, targets: Tensor) -> Tensor:
        y = targets * (1 - smoothing) + smoothing / 2 if smoothing else targets
        wrong = y * torch.sigmoid(-z_RBK) + (1 - y) * torch.sigmoid(z_RBK)
        losses = _focus(wrong, spec.gamma) * F.binary_cross_entropy_with_logits(z_RBK, y, reduction="none")
        if spec.apply_class_balancing:
            losses = losses * (y * alpha + (1 - y) * (1 - alpha))
        return _mean_over_outputs(losses)

    return of_rows


def _categorical_focal_crossentropy(spec: schema.CategoricalFocalCrossentropy) -> RowLoss:
    smoothing = spec.label_smoothing

    def of_rows(z_RBK: Tensor, outputs_RBK: Tensor, targets: Tensor) -> Tensor:
        y = targets * (1 - smoothing) + smoothing / targets.shape[-1] if smoothing else targets
        logs = torch.log_softmax(z_RBK, -1)
        return -(y * spec.alpha * _focus(-torch.expm1(logs), spec.gamma) * logs).sum(-1)

    return of_rows


def _focus(wrong: Tensor, gamma: float) -> Tensor:
    """wrong^gamma, of probabilities of wrong answers; the slope at 0 stays finite for every gamma."""
    return wrong.clamp(min=FUZZ) ** gamma


def _kl_divergence(spec: schema.KlDivergence) -> RowLoss:
    return lambda z, outputs, targets: (
        torch.xlogy(targets, targets) - targets * torch.log_softmax(z, -1)
    ).sum(-1)


def _hinge(spec: schema.Hinge) -> RowLoss:
    return lambda z, outputs, targets: _mean_over_outputs(_short_of_margin(outputs, targets))


def _squared_hinge(spec: schema.SquaredHinge) -> RowLoss:
    return lambda z, outputs, targets: _mean_over_outputs(_short_of_margin(outputs, targets).square())


def _short_of_margin(scores: Tensor, targets: Tensor) -> Tensor:
    """By how much scores miss the margin of 1; the targets are 0 and 1."""
    return torch.relu(1 - (2 * targets - 1) * scores)


def _categorical_hinge(spec: schema.CategoricalHinge) -> RowLoss:
    def of_rows(z_RBK: Tensor, outputs_RBK: Tensor, targets: Tensor) -> Tensor:
        right = (targets * outputs_RBK).sum(-1)
        other = ((1 - targets) * outputs_RBK).amax(-1)
        return torch.relu(other - right + 1)

    return of_rows


def _tversky(spec: schema.Tversky | schema.Dice) -> RowLoss:
    alpha, beta = (spec.alpha, spec.beta) if isinstance(spec, schema.Tversky) else (0.5, 0.5)

    def of_rows(z_RBK: Tensor, outputs_RBK: Tensor, targets: Tensor) -> Tensor:
        found = (targets * outputs_RBK).sum(-1)
        missed, wrong = (targets * (1 - outputs_RBK)).sum(-1), ((1 - targets) * outputs_RBK).sum(-1)
        return 1 - found / (found + alpha * missed + beta * wrong + FUZZ)

    return of_rows


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
        if not isinstance(losses, torch.Tensor) or losses.shape != wanted:
            found = tuple(losses.shape) if isinstance(losses, torch.Tensor) else type(losses).__name__
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


def _ctc(spec: schema.Ctc) -> RowLoss:
    """Of (R, B, T, K) values before an activation; targets are (R, B, L) classes from 1, filled up with 0."""

    def of_rows(z_RBK: Tensor, outputs_RBK: Tensor, targets: Tensor) -> Tensor:
        replicas, rows, steps, _ = z_RBK.shape
        logs = torch.log_softmax(z_RBK, -1).flatten(0, 1).transpose(0, 1)
        classes = targets.flatten(0, 1)
        # Lengths are tensors, and stay where they are made: on a CPU nothing is copied. On CUDA PyTorch's own
        # kernel takes these (cuDNN's is for int32 targets in one dimension, of fewer than 256 classes); it
        # reads the lengths on the CPU, so the target lengths are copied there once, and those of the steps,
        # which are known, are made there. Its gradient is not deterministic, so `deterministic: true` refuses
        # it on CUDA.
        step_lengths = torch.full((replicas * rows,), steps)
        losses = F.ctc_loss(logs, classes, step_lengths, (classes != 0).sum(1), reduction="none")
        return losses.view(replicas, rows)

    return of_rows


LOSSES: Mapping[type[schema.Component], Callable[..., RowLoss]] = {
    schema.BinaryCrossentropy: _binary_crossentropy,
    schema.CategoricalCrossentropy: _categorical_crossentropy,
    schema.SparseCategoricalCrossentropy: _sparse_categorical_crossentropy,
    schema.Mse: _mse,
    schema.Mae: _mae,
    schema.Huber: _huber,
    schema.BinaryFocalCrossentropy: _binary_focal_crossentropy,
    schema.CategoricalFocalCrossentropy: _categorical_focal_crossentropy,
    schema.KlDivergence: _kl_divergence,
    schema.Hinge: _hinge,
    schema.SquaredHinge: _squared_hinge,
    schema.CategoricalHinge: _categorical_hinge,
    schema.Dice: _tversky,
    schema.Tversky: _tversky,
    schema.LogCosh: _log_cosh,
    schema.Mape: _mape,
    schema.Msle: _msle,
    schema.Poisson: _poisson,
    schema.CosineSimilarity: _cosine_similarity,
    schema.Quantile: _quantile,
    schema.Ctc: _ctc,
    schema.Custom: CustomLoss,
}


def build_loss(spec: schema.Component) -> RowLoss:
    """The loss that a spec names.

    Raises:
        UsageError: it is custom code that may not be run, or that is not there.
    """
    return LOSSES[type(spec)](spec)
