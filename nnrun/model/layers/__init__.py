"""Layers: what each needs to start from, and what it computes. They hold no weights.

A new one is a type in `nnrun.spec.schema.layers`, which says the shape that it gives, and a class here with
its line in `LAYERS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nnrun.model.layers.attention import AttentionLayer, MultiHeadAttentionLayer, PositionEmbeddingLayer
from nnrun.model.layers.base import Layer, Parameters, Weight
from nnrun.model.layers.convolution import (
    ConvolutionLayer,
    DepthwiseLayer,
    SeparableLayer,
    TransposedLayer,
)
from nnrun.model.layers.dense import DenseLayer
from nnrun.model.layers.embedding import EmbeddingLayer, MaskingLayer
from nnrun.model.layers.merging import MergeLayer
from nnrun.model.layers.noise import (
    AlphaDropoutLayer,
    GaussianDropoutLayer,
    GaussianNoiseLayer,
    SpatialDropoutLayer,
)
from nnrun.model.layers.normalization import (
    BatchNormalizationLayer,
    GroupNormalizationLayer,
    LayerNormalizationLayer,
    RmsNormalizationLayer,
    UnitNormalizationLayer,
)
from nnrun.model.layers.periodic import PeriodicLayer
from nnrun.model.layers.pooling import (
    AveragePoolingLayer,
    GlobalAveragePoolingLayer,
    GlobalMaxPoolingLayer,
    MaxPoolingLayer,
)
from nnrun.model.layers.recurrent import GruLayer, LstmLayer, SimpleRnnLayer
from nnrun.model.layers.resizing import CroppingLayer, UpSamplingLayer, ZeroPaddingLayer
from nnrun.model.layers.simple import (
    ActivationFunction,
    DropoutLayer,
    PermuteLayer,
    PreluLayer,
    RepeatVectorLayer,
    RescalingLayer,
    Reshaped,
)
from nnrun.spec import schema

LAYERS: Mapping[type[schema.Component], type[Layer[Any]]] = {
    schema.Dense: DenseLayer,
    schema.Dropout: DropoutLayer,
    schema.Embedding: EmbeddingLayer,
    schema.Masking: MaskingLayer,
    schema.Flatten: Reshaped,
    schema.Reshape: Reshaped,
    schema.GlobalAveragePooling: GlobalAveragePoolingLayer,
    schema.MaxPooling: MaxPoolingLayer,
    schema.Conv1D: ConvolutionLayer,
    schema.Conv2D: ConvolutionLayer,
    schema.Lstm: LstmLayer,
    schema.Gru: GruLayer,
    schema.SimpleRnn: SimpleRnnLayer,
    schema.BatchNormalization: BatchNormalizationLayer,
    schema.LayerNormalization: LayerNormalizationLayer,
    schema.ActivationLayer: ActivationFunction,
    schema.SeparableConv1D: SeparableLayer,
    schema.SeparableConv2D: SeparableLayer,
    schema.DepthwiseConv2D: DepthwiseLayer,
    schema.Conv1DTranspose: TransposedLayer,
    schema.Conv2DTranspose: TransposedLayer,
    schema.GlobalMaxPooling: GlobalMaxPoolingLayer,
    schema.AveragePooling: AveragePoolingLayer,
    schema.UpSampling: UpSamplingLayer,
    schema.ZeroPadding: ZeroPaddingLayer,
    schema.Cropping: CroppingLayer,
    schema.Prelu: PreluLayer,
    schema.Permute: PermuteLayer,
    schema.RepeatVector: RepeatVectorLayer,
    schema.Rescaling: RescalingLayer,
    schema.Periodic: PeriodicLayer,
    schema.SpatialDropout: SpatialDropoutLayer,
    schema.GaussianNoise: GaussianNoiseLayer,
    schema.GaussianDropout: GaussianDropoutLayer,
    schema.AlphaDropout: AlphaDropoutLayer,
    schema.GroupNormalization: GroupNormalizationLayer,
    schema.RmsNormalization: RmsNormalizationLayer,
    schema.UnitNormalization: UnitNormalizationLayer,
    schema.Attention: AttentionLayer,
    schema.MultiHeadAttention: MultiHeadAttentionLayer,
    schema.PositionEmbedding: PositionEmbeddingLayer,
}

__all__ = [
    "LAYERS",
    "DenseLayer",
    "DropoutLayer",
    "EmbeddingLayer",
    "Layer",
    "MergeLayer",
    "Parameters",
    "Weight",
]


def kernels_of(layers: Iterable[schema.Component]) -> frozenset[str]:
    """The C++ libraries that layers with these specs call on a CPU, before there is a network."""
    known = [(LAYERS[type(spec)], spec) for spec in layers if type(spec) in LAYERS]
    return frozenset(filter(None, (kind.kernel_for(spec) for kind, spec in known)))
