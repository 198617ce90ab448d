"""Normalization: over the rows of a batch, or over the features of each row."""

from typing import Annotated, Union

from pydantic import Field

from nnrun.spec.schema.component import Decay, Positive
from nnrun.spec.schema.layer_shapes import LayerInput, NetworkLayer, Shape, ShapeError


class BatchNormalization(NetworkLayer):
    """(x - mean) / sqrt(variance + epsilon) of each number along the last axis, then scaled and centred.

    While training mean and variance are the batch's (variance with ddof 0). Afterwards they are moving ones,
    moved by each batch: moving = momentum * moving + (1 - momentum) * batch. (PyTorch's momentum is 1 minus
    Keras's, its epsilon 1e-5, and its moving variance has ddof 1.) Masked steps have no part in them.
    """

    kind = "batch_normalization"
    ensemble = "own"
    mask = "uses"
    momentum: Decay = 0.99
    epsilon: Positive = 1e-3
    center: bool = True
    scale: bool = True


class LayerNormalization(NetworkLayer):
    """(x - mean) / sqrt(variance + epsilon) along the last axis of each row, then scaled and centred.

    (PyTorch's epsilon is 1e-5.)
    """

    kind = "layer_normalization"
    ensemble = "own"
    mask = "keeps"
    epsilon: Positive = 1e-3
    center: bool = True
    scale: bool = True


class GroupNormalization(NetworkLayer):
    """Groups of channels of each row by their mean and variance over all places (Wu & He 2018).

    Then scaled and centred, channel by channel. `groups` divides the channels; -1 is a group for each.
    """

    kind = "group_normalization"
    example = {"groups": 8}
    ensemble = "own"
    mask = "keeps"
    bare = "groups"
    groups: Annotated[int, Field(ge=-1)] = 32
    epsilon: Positive = 1e-3
    center: bool = True
    scale: bool = True

    def output_shape(self, taken: LayerInput) -> Shape:
        """As the layer takes it."""
        channels = taken.shape[-1]
        if self.groups == 0 or (channels is not None and self.groups > 0 and channels % self.groups):
            raise ShapeError(
                f"group_normalization: {self.groups} groups do not divide the channels; {taken}; choose a "
                "number that divides them, or -1 for a group of each",
                "groups",
            )
        return taken.shape


class RmsNormalization(NetworkLayer):
    """x / sqrt(mean(x²) + epsilon) along the last axis of each row, then scaled (Zhang & Sennrich 2019)."""

    kind = "rms_normalization"
    ensemble = "own"
    epsilon: Positive = 1e-6


class UnitNormalization(NetworkLayer):
    """Each row scaled to length 1 along an axis: of a row's own axes from 0, or from the last, -1.

    (Keras counts the batch as axis 0.)
    """

    kind = "unit_normalization"
    ensemble = "own"
    mask = "keeps"
    bare = "axis"
    axis: int = -1

    def output_shape(self, taken: LayerInput) -> Shape:
        """As the layer takes it."""
        rank = len(taken.shape)
        if not -rank <= self.axis < rank:
            raise ShapeError(
                f"unit_normalization: there is no axis {self.axis}; {taken}, and axes are 0 to {rank - 1}, "
                "or -1 for the last",
                "axis",
            )
        return taken.shape


NormalizationLayer = Union[
    BatchNormalization, LayerNormalization, GroupNormalization, RmsNormalization, UnitNormalization
]
