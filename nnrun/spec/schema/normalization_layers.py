"""Normalization: over the rows of a batch, or over the features of each row."""

from __future__ import annotations

from typing import Union

from nnrun.spec.schema.component import Decay, Positive
from nnrun.spec.schema.layer_base import NetworkLayer


class BatchNormalization(NetworkLayer):
    """(x - mean) / sqrt(variance + epsilon) of each number along the last axis, then scaled and centred.

    While training mean and variance are the batch's (variance with ddof 0). Afterwards they are moving ones,
    moved by each batch: moving = momentum * moving + (1 - momentum) * batch. (PyTorch's momentum is 1 minus
    Keras's, its epsilon 1e-5, and its moving variance has ddof 1.) Masked steps have no part in them.
    """

    kind = "batch_normalization"
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
    mask = "keeps"
    epsilon: Positive = 1e-3
    center: bool = True
    scale: bool = True


NormalizationLayer = Union[BatchNormalization, LayerNormalization]
