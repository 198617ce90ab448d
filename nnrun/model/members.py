"""Ensembles: M members train as one network. What they share, and how their outputs become one prediction.

The layers know nothing of it: to them the members are replicas. Of R replicas (folds or seeds) with M members
each, they get R * M sets of weights, member m of replica r at place r * M + m. `Members.unfolded` makes these
of what is trained, (R, ...) of arrays that members share and (R, M, ...) of their own. Rows are the same for
all members of a replica, and stay (R, B, ...) until a layer treats them differently for each.

Shapes: R replicas, M members, B rows, F features that a layer takes, U units, K outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrun.lazy_torch import F, torch
from nnrun.model.activations import ACTIVATIONS
from nnrun.model.inputs import Batch, SparseBatch, dense, replicas_of
from nnrun.model.layers import DenseLayer, Layer, Parameters, Weight
from nnrun.model.layers.initializers import Shape, Values, ones
from nnrun.output_transforms.target_scale import TargetScale, one_for_each
from nnrun.spec import schema
from nnrun.spec.random_streams import RandomSource

if TYPE_CHECKING:
    from torch import Tensor


def random_signs(rng: np.random.Generator, shape: Shape) -> Values:
    """1 or -1, equally likely."""
    return (2 * rng.integers(0, 2, shape) - 1).astype(np.float32)


@dataclass(frozen=True)
class Members:
    """The members of an ensemble, and which weights they share.

    Attributes:
        count: M.
        adapted: the weights paths of the dense layers whose kernel all members share, with vectors r and s of
            each member that multiply what the layer takes and gives.
        first: those of them with no dense layer before them: r is random there, so that members differ.
        same: the weights paths of the layers that are one and the same for all members.
    """

    count: int
    adapted: frozenset[str] = frozenset()
    first: frozenset[str] = frozenset()
    same: frozenset[str] = frozenset()

    def weights_of(self, layer: Layer[Any]) -> Mapping[str, Weight]:
        """A layer's arrays, by their names: `r` (M, F) and `s` (M, U) beside a shared kernel."""
        if layer.weights_path in self.same:
            return layer.weights
        own = {name: replace(weight, members=self.count) for name, weight in layer.weights.items()}
        if layer.weights_path not in self.adapted:
            return own
        kernel = layer.name("weight")
        signs = random_signs if layer.weights_path in self.first else ones
        return {
            **own,
            kernel: layer.weights[kernel],
            layer.name("r"): Weight(layer.input_shape[-1:], initializer=signs, members=self.count),
            layer.name("s"): Weight(layer.output_shape[-1:], initializer=ones, members=self.count),
        }

    def unfolded(self, layers: Iterable[Layer[Any]], parameters: Parameters) -> dict[str, Tensor]:
        """The weights that the layers compute with, (R * M, ...), or (R, ...) of the layers in `same`."""
        found: dict[str, Tensor] = {}
        for layer in layers:
            if layer.weights_path in self.same:
                found |= {name: parameters[name] for name in layer.weights}
                continue
            for name in layer.weights:
                of_members = parameters[name]
                if layer.weights_path in self.adapted and name == layer.name("weight"):
                    r_RMF1 = parameters[layer.name("r")].unsqueeze(3)
                    s_RM1U = parameters[layer.name("s")].unsqueeze(2)
                    of_members = of_members.unsqueeze(1) * r_RMF1 * s_RM1U
                found[name] = of_members.flatten(0, 1)
        return found

    def folded(self, value: Tensor) -> Tensor:
        """What layers make, (R * M, ...), as (R, M, ...)."""
        return value.view(-1, self.count, *value.shape[1:])

    def takes_shared_rows(self, layer: Any) -> bool:
        """Whether a layer computes with rows that are the same for all members, (R, B, ...)."""
        return isinstance(layer, DenseLayer) or getattr(layer, "weights_path", None) in self.same

    def expanded(self, rows: Batch, replicas: int) -> Batch:
        """Rows that may be the same for all members, (R, B, ...), as rows of each member, (R * M, B, ...)."""
        if replicas_of(rows) > replicas:
            return rows
        if isinstance(rows, SparseBatch):
            return rows.repeated(self.count)
        x = dense(rows)
        return x.unsqueeze(1).expand(-1, self.count, *x.shape[1:]).flatten(0, 1)

    def sources(self, sources: Sequence[RandomSource]) -> list[RandomSource]:
        """Of the members' random streams, R * M."""
        return [
            RandomSource(source.derive(purpose=f"member {member} of the ensemble"), source.replica)
            for source in sources
            for member in range(self.count)
        ]


def members_of(
    ensemble: schema.Ensemble, layers: Sequence[tuple[Any, Sequence[Any]]], outputs: Iterable[int]
) -> Members:
    """The members that a spec declares.

    Args:
        ensemble: what it says.
        layers: each layer or merge with its sources: an input's name, or the place of an earlier one.
        outputs: the places of the layers that give outputs.
    """
    ends = {layers[index][0].weights_path for index in outputs}
    behind_dense: list[bool] = []
    adapted, first, same = [], [], []
    for layer, sources in layers:
        behind = any(behind_dense[source] for source in sources if isinstance(source, int))
        behind_dense.append(behind or isinstance(layer, DenseLayer))
        if isinstance(layer, DenseLayer) and layer.weights_path not in ends and ensemble.kind == "batch":
            adapted.append(layer.weights_path)
            first += [] if behind else [layer.weights_path]
        elif getattr(layer.spec, "ensemble", "") == "same" and ensemble.kind == "batch":
            same.append(layer.weights_path)
    return Members(ensemble.members, frozenset(adapted), frozenset(first), frozenset(same))


def mean_logits(activation: str, z_RMBK: Tensor, scales: Sequence[TargetScale] | None = None) -> Tensor:
    """(R, B, K) values of which the last activation makes the mean of what it makes of the members' values.

    So an ensemble gives what a single network gives, and all that follows takes it for one.

    Args:
        activation: the last one, of those in `schema.Ensemble.averages`.
        z_RMBK: the members' values before it.
        scales: how targets were scaled, one scale for all replicas or one for each, where the mean in the
            targets' own units is another one; None where it is the same.
    """
    if activation == "softmax":
        return torch.logsumexp(torch.log_softmax(z_RMBK, -1), 1) - math.log(z_RMBK.shape[1])
    if activation == "sigmoid":
        return torch.logsumexp(F.logsigmoid(z_RMBK), 1) - torch.logsumexp(F.logsigmoid(-z_RMBK), 1)
    if activation == "exponential" and scales is None:
        return torch.logsumexp(z_RMBK, 1) - math.log(z_RMBK.shape[1])
    assert activation in schema.Ensemble.averages, "lint lets no other one give an output"
    outputs = ACTIVATIONS[activation](z_RMBK)
    if scales is None:
        mean = outputs.mean(1)
    else:
        own = one_for_each(scales, len(outputs))
        mean = torch.stack(
            [scale.mean_in_own_units(of_one, 0) for scale, of_one in zip(own, outputs, strict=True)]
        )
    if activation == "exponential":
        return mean.log()
    if activation == "softplus":
        return mean + torch.log(-torch.expm1(-mean))
    return mean  # linear and relu leave it as it is
