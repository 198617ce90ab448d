"""The layers as lines of a script: the registry of what each becomes.

A layer has a line in `LAYER_SCRIPTS`, a merge in `merge_scripts.MERGE_SCRIPTS`, an activation in
`layer_script.ACTIVATION_SCRIPTS`. A new one needs its line; a layer without it is refused by name by
`nnrun export --format script`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nnrun.experiment.scripting.layer_script import Array, LayerScript, Weights, activated, dim
from nnrun.experiment.scripting.sequence_scripts import attention, position, recurrent
from nnrun.experiment.scripting.window_scripts import (
    channels_first,
    convolution,
    cropping,
    depthwise,
    pooling,
    separable,
    transposed,
    up_sampling,
    zero_padding,
)
from nnrun.spec import schema


def _dense(layer: Any, w: Weights) -> LayerScript:
    bias = "" if layer.spec.use_bias else ", bias=False"
    arrays = {"weight": w("weight"), **({"bias": w("bias")} if layer.spec.use_bias else {})}
    call = activated(layer.spec.activation, "{own}({x})")
    return LayerScript(call, f"nn.Linear({layer.input_shape[-1]}, {layer.units}{bias})", arrays)


def _embedding(layer: Any, w: Weights) -> LayerScript:
    made = f"nn.Embedding({layer.spec.input_dim}, {layer.spec.output_dim})"
    return LayerScript("{own}({x}.round().long())", made, {"weight": w("weight")})


def _only_in_training(layer: Any, w: Weights) -> LayerScript:
    return LayerScript("{x}")


def _global_average(layer: Any, w: Weights) -> LayerScript:
    return LayerScript("masked_mean({x}, {mask})" if w.masked else "{x}.flatten(1, -2).mean(1)")


def _affine(layer: Any, w: Weights) -> dict[str, Array]:
    size = layer.input_shape[-1]
    return {
        "weight": w("weight") if layer.spec.scale else np.ones(size, np.float32),
        "bias": w("bias") if layer.spec.center else np.zeros(size, np.float32),
    }


def _batch_normalization(layer: Any, w: Weights) -> LayerScript:
    arrays = _affine(layer, w) | {name: w(name) for name in ("running_mean", "running_var")}
    arrays["num_batches_tracked"] = np.array(0)
    made = f"nn.BatchNorm1d({layer.input_shape[-1]}, eps={layer.spec.epsilon})"
    flat = len(layer.input_shape) == 1
    call = "{own}({x})" if flat else "{own}({x}.flatten(0, -2)).reshape({x}.shape)"
    return LayerScript(call, made, arrays)


def _layer_normalization(layer: Any, w: Weights) -> LayerScript:
    made = f"nn.LayerNorm({layer.input_shape[-1]}, eps={layer.spec.epsilon})"
    return LayerScript("{own}({x})", made, _affine(layer, w))


def _group_normalization(layer: Any, w: Weights) -> LayerScript:
    channels = layer.input_shape[-1]
    groups = channels if layer.spec.groups == -1 else layer.spec.groups
    made = f"nn.GroupNorm({groups}, {channels}, eps={layer.spec.epsilon})"
    return LayerScript(f"{{own}}({channels_first('{x}')}).movedim(1, -1)", made, _affine(layer, w))


def _rms_normalization(layer: Any, w: Weights) -> LayerScript:
    made = f"nn.RMSNorm({layer.input_shape[-1]}, eps={layer.spec.epsilon})"
    return LayerScript("{own}({x})", made, {"weight": w("weight")})


def _unit_normalization(layer: Any, w: Weights) -> LayerScript:
    return LayerScript(f"F.normalize({{x}}, dim={dim(layer.spec.axis)}, eps=1e-12)")


def _periodic(layer: Any, w: Weights) -> LayerScript:
    spec = layer.spec
    made = f"Periodic({layer.input_shape[0]}, {spec.frequencies}, {spec.units})"
    arrays = {"frequencies": w("frequencies")}
    if spec.units is None:
        return LayerScript("{own}({x}).flatten(1)", made, arrays)
    arrays |= {name: w(name) for name in ("weight", "bias")}
    return LayerScript(f"{activated(spec.activation, '{own}({x})')}.flatten(1)", made, arrays)


def _prelu(layer: Any, w: Weights) -> LayerScript:
    alpha = w("weight")
    made = f"nn.Parameter(torch.zeros({tuple(alpha.shape)}))"
    return LayerScript("torch.relu({x}) - {own} * torch.relu(-{x})", made, {"": alpha})


LAYER_SCRIPTS: Mapping[type[schema.Component], Callable[[Any, Weights], LayerScript]] = {
    schema.Dense: _dense,
    schema.Dropout: lambda layer, w: LayerScript("{own}({x})", f"nn.Dropout({layer.spec.rate})"),
    schema.Embedding: _embedding,
    schema.Masking: lambda layer, w: LayerScript(
        f"torch.where(({{x}} != {layer.spec.mask_value}).any(-1, keepdim=True), {{x}}, 0.0)"
    ),
    schema.Flatten: lambda layer, w: LayerScript("{x}.flatten(1)"),
    schema.Reshape: lambda layer, w: LayerScript(
        f"{{x}}.reshape(-1, {', '.join(map(str, layer.output_shape))})"
    ),
    schema.GlobalAveragePooling: _global_average,
    schema.MaxPooling: pooling,
    schema.AveragePooling: pooling,
    schema.GlobalMaxPooling: lambda layer, w: LayerScript("{x}.flatten(1, -2).amax(1)"),
    schema.Conv1D: convolution,
    schema.Conv2D: convolution,
    schema.SeparableConv1D: separable,
    schema.SeparableConv2D: separable,
    schema.DepthwiseConv2D: depthwise,
    schema.Conv1DTranspose: transposed,
    schema.Conv2DTranspose: transposed,
    schema.Lstm: recurrent,
    schema.Gru: recurrent,
    schema.SimpleRnn: recurrent,
    schema.BatchNormalization: _batch_normalization,
    schema.LayerNormalization: _layer_normalization,
    schema.GroupNormalization: _group_normalization,
    schema.RmsNormalization: _rms_normalization,
    schema.UnitNormalization: _unit_normalization,
    schema.ActivationLayer: lambda layer, w: LayerScript(activated(layer.spec.activation, "{x}")),
    schema.UpSampling: up_sampling,
    schema.ZeroPadding: zero_padding,
    schema.Cropping: cropping,
    schema.Prelu: _prelu,
    schema.Permute: lambda layer, w: LayerScript(f"{{x}}.permute(0, {', '.join(map(str, layer.spec.dims))})"),
    schema.RepeatVector: lambda layer, w: LayerScript(f"{{x}}.unsqueeze(1).expand(-1, {layer.spec.n}, -1)"),
    schema.Rescaling: lambda layer, w: LayerScript(f"{{x}} * {layer.spec.scale} + {layer.spec.offset}"),
    schema.Periodic: _periodic,
    schema.SpatialDropout: _only_in_training,
    schema.GaussianNoise: _only_in_training,
    schema.GaussianDropout: _only_in_training,
    schema.AlphaDropout: _only_in_training,
    schema.Attention: attention,
    schema.MultiHeadAttention: attention,
    schema.PositionEmbedding: position,
}
