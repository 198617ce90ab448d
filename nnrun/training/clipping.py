"""Gradients within limits, replica by replica: Keras 3's `global_clipnorm` and `clipvalue`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from nnrun.spec import schema

Gradients = dict[str, Tensor]
Clip = Callable[[Gradients], Gradients]
"""Name → (R, ...) gradients, dense or sparse in their first two dimensions, to the same within the limits."""


def build_clip(spec: schema.GradientClip | None) -> Clip | None:
    """What a spec's `gradient_clip` does; None where gradients are left as they are."""
    if spec is None:
        return None
    if spec.norm is not None:
        norm = spec.norm
        return lambda gradients: _clip_norm(gradients, norm)
    assert spec.value is not None, "lint asks for one of the two"
    value = spec.value
    return lambda gradients: {
        name: _with_values(g, _values(g).clamp(-value, value)) for name, g in gradients.items()
    }


def _clip_norm(gradients: Gradients, limit: float) -> Gradients:
    """Scale all gradients of a replica down to a norm of `limit`, where theirs together is larger."""
    norm_R = _squares(gradients.values()).sqrt()
    # Zero times a gradient that is not finite must not hide it: the last term makes all of them NaN.
    scale_R = limit * (1 / norm_R).clamp(max=1 / limit) + (norm_R - norm_R)
    return {name: _scaled(g, scale_R) for name, g in gradients.items()}


def _squares(gradients: Iterable[Tensor]) -> Tensor:
    """(R,): the sum of the squares of each replica's gradients."""
    sums = []
    for gradient in gradients:
        if gradient.is_sparse:
            zeros = torch.zeros(len(gradient), device=gradient.device)
            rows = gradient.values().square().flatten(1).sum(1)
            sums.append(zeros.index_add(0, gradient.indices()[0], rows))
        else:
            sums.append(gradient.square().flatten(1).sum(1))
    return torch.stack(sums).sum(0)


def _scaled(gradient: Tensor, scale_R: Tensor) -> Tensor:
    if gradient.is_sparse:
        return _with_values(gradient, gradient.values() * scale_R[gradient.indices()[0]].unsqueeze(1))
    return gradient * scale_R.view(-1, *[1] * (gradient.dim() - 1))


def _values(gradient: Tensor) -> Tensor:
    return gradient.values() if gradient.is_sparse else gradient


def _with_values(gradient: Tensor, values: Tensor) -> Tensor:
    """The same gradient with other values, in the rows that it has."""
    if not gradient.is_sparse:
        return values
    return torch.sparse_coo_tensor(
        gradient.indices(), values, gradient.shape, is_coalesced=True, check_invariants=False
    )
