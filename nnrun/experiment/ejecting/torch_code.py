"""What a script for PyTorch says of layers and losses: the registry of each.

A layer has a line in `TRAINED_LAYERS`, where it trains otherwise than it predicts, else that of
`scripting.layer_scripts`; a loss one in `LOSSES`. What has none is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from nnrun.experiment.ejecting.lesson import Head, Lesson
from nnrun.experiment.ejecting.refusals import can_write, refuse
from nnrun.experiment.ejecting.script_text import call_lines, literal
from nnrun.experiment.ejecting.torch_optimizers import squares_gradients
from nnrun.experiment.scripting.layer_script import LayerScript, Weights, activated
from nnrun.experiment.scripting.layer_scripts import LAYER_SCRIPTS
from nnrun.experiment.scripting.network_script import NetworkScript, network_script
from nnrun.model.layers import DenseLayer, MergeLayer
from nnrun.model.network import Network
from nnrun.spec import schema
from nnrun.spec.ports import INPUT

Component = schema.Component

# --- layers ------------------------------------------------------------------------------------------------


def _embedding(layer: Any, w: Weights) -> LayerScript:
    sizes = f"{layer.spec.input_dim}, {layer.spec.output_dim}"
    return LayerScript("{own}({x})", f"Embedding({sizes})", {"weight": w("weight")})


def _plain_embedding(layer: Any, w: Weights) -> LayerScript:
    sizes = f"{layer.spec.input_dim}, {layer.spec.output_dim}"
    return LayerScript("{own}({x})", f"nn.Embedding({sizes})", {"weight": w("weight")})


def _batch_normalization(layer: Any, w: Weights) -> LayerScript:
    if w.masked:
        raise refuse("batch_normalization of masked steps")
    spec = layer.spec
    made = f"BatchNorm({layer.input_shape[-1]}, momentum={spec.momentum!r}, eps={spec.epsilon!r})"
    names = ("weight", "bias", "running_mean", "running_var")
    return LayerScript("{own}({x})", made, {name: w(name) for name in names})


def _dropout(layer: Any, w: Weights) -> LayerScript:
    made = f"Dropout({layer.spec.rate!r}, layer={literal(layer.path)})"
    return LayerScript("{own}({x})", made)


def _dense(features: Mapping[str, str], layer: Any, w: Weights) -> LayerScript:
    """One that takes a number of features in which folds differ is made with that number's name."""
    script = LAYER_SCRIPTS[schema.Dense](layer, w)
    if w.path not in features:
        return script
    sizes = f"({layer.input_shape[-1]}, "
    assert sizes in script.made, "a dense layer is made with the number of its inputs first"
    return replace(script, made=script.made.replace(sizes, f"({features[w.path]}, ", 1))


def _member_dropout(layer: Any, w: Weights) -> LayerScript:
    made = f"MemberDropout({layer.spec.rate!r}, layer={literal(layer.path)})"
    return LayerScript("{own}({x})", made)


TRAINED_LAYERS: Mapping[type[Component], Callable[[Any, Weights], LayerScript]] = {
    schema.Embedding: _embedding,
    schema.BatchNormalization: _batch_normalization,
    schema.Dropout: _dropout,
}
NOT_TRAINED: frozenset[type[Component]] = frozenset(
    (schema.SpatialDropout, schema.GaussianNoise, schema.GaussianDropout, schema.AlphaDropout)
)
"""Layers whose random numbers no script draws."""


def network_code(lesson: Lesson, network: Network, weights: Mapping[str, Any]) -> NetworkScript:
    """The class `Network`, and the names in it of arrays of a weights file.

    Args:
        lesson: what is trained.
        network: that of a fold.
        weights: its arrays.

    Raises:
        UsageError: a layer cannot be written.
    """
    scripts = {**LAYER_SCRIPTS, **TRAINED_LAYERS}
    spec = lesson.spec
    if not squares_gradients(spec.optimizer) or spec.gradient_clip is not None:
        scripts[schema.Embedding] = _plain_embedding
    if network.members is not None:
        scripts[schema.Dropout] = _member_dropout
    for layer in network.layers:
        if not isinstance(layer, MergeLayer) and (
            type(layer.spec) in NOT_TRAINED or type(layer.spec) not in scripts
        ):
            raise refuse(f"the layer {layer.spec.kind} ({layer.path})")
    features = _features(lesson, network)
    if features:
        scripts[schema.Dense] = partial(_dense, features)
    code = network_script(network, weights, scripts, only_output=not lesson.names_outputs)
    source = re.sub(
        r'^    """Of .*\n',
        '    """It gives the values before the last activation."""\n',
        code.source,
        flags=re.M,
    )
    source = re.sub(r"^    def forward\((.*)\)( -> .*)$", _forward, source, flags=re.M)
    parameters = [f"{intake.parameter}: int" for intake in lesson.varying]
    source = source.replace("__init__(self)", f"__init__({', '.join(['self', *parameters])})")
    return NetworkScript(source, code.states)


def _features(lesson: Lesson, network: Network) -> dict[str, str]:
    """What the number of features is called that folds differ in, by the weights of the layers that take it.

    Raises:
        UsageError: they are not dense.
    """
    found: dict[str, str] = {}
    for intake in lesson.varying:
        port = intake.name or INPUT
        takers = [node.layer for node in network.nodes if port in node.sources]
        layers = [layer for layer in takers if isinstance(layer, DenseLayer)]
        if layers != takers:
            raise refuse(
                "folds with different numbers of features, and another first layer than dense",
                "Bins, ranks and categories are learned in each fold: give them fewer steps, or train "
                "one network (validation: holdout).",
            )
        found |= {layer.weights_path: intake.parameter for layer in layers}
    return found


def _forward(found: re.Match[str]) -> str:
    """The first line of `forward`, as ruff formats it."""
    return "\n".join(call_lines("    def forward(", found[1].split(", "), f"){found[2]}"))


_MEANS: Mapping[str, str] = {
    "linear": "z.mean(0)",
    "softmax": "z.log_softmax(-1).logsumexp(0)",
    "sigmoid": "F.logsigmoid(z).logsumexp(0) - F.logsigmoid(-z).logsumexp(0)",
}
"""Values of which the last activation makes the mean of what it makes of those of all members, z."""


def ensemble_code(lesson: Lesson, network: str) -> list[str]:
    """The class `Ensemble` and the function `mean_of`; nothing of a network by itself."""
    members = lesson.network.number_of_members
    if members == 1:
        return []
    if lesson.head.activation not in _MEANS:
        raise refuse(f"an ensemble of outputs with the activation {lesson.head.activation}")
    features = "features" if lesson.varying else ""
    lines = [
        "class Ensemble(nn.Module):",
        f'    """{members} networks, whose mean predicts. It gives the values of each."""',
        "",
        f"    def __init__(self{features and f', {features}'}):",
        "        super().__init__()",
        f"        self.members = nn.ModuleList(Network({features}) for _ in range({members}))",
    ]
    if "MemberDropout(" in network:
        lines += [
            "        for number, member in enumerate(self.members):",
            "            for layer in member.modules():",
            "                layer.member = number",
        ]
    lines += [
        "",
        "    def forward(self, x):",
        "        return torch.stack([member(x) for member in self.members])",
    ]
    mean = [
        "def mean_of(z):",
        '    """The values of the mean prediction of the members."""',
        f"    return {_MEANS[lesson.head.activation]}",
    ]
    return ["\n".join(lines), "\n".join(mean)]


# --- losses ------------------------------------------------------------------------------------------------

_Z, _OUTPUTS = "z", "outputs"


def _cross_entropy(spec: Any) -> tuple[str, str]:
    smoothing = f", label_smoothing={spec.label_smoothing!r}" if spec.label_smoothing else ""
    return f"F.cross_entropy(z, y{smoothing}{{reduction}})", _Z


def _binary_cross_entropy(spec: Any) -> tuple[str, str]:
    s = spec.label_smoothing
    y = f"y * {1 - s!r} + {s / 2!r}" if s else "y"
    return f"F.binary_cross_entropy_with_logits(z, {y}{{reduction}})", _Z


def _hinge(square: str) -> Callable[[Any], tuple[str, str]]:
    return lambda spec: (f"torch.relu(1 - (2 * y - 1) * outputs){square}{{mean}}", _OUTPUTS)


LOSSES: Mapping[type[Component], Callable[[Any], tuple[str, str]]] = {
    schema.BinaryCrossentropy: _binary_cross_entropy,
    schema.CategoricalCrossentropy: _cross_entropy,
    schema.SparseCategoricalCrossentropy: _cross_entropy,
    schema.Mse: lambda spec: ("F.mse_loss(outputs, y{reduction})", _OUTPUTS),
    schema.Mae: lambda spec: ("F.l1_loss(outputs, y{reduction})", _OUTPUTS),
    schema.Huber: lambda spec: (f"F.huber_loss(outputs, y, delta={spec.delta!r}{{reduction}})", _OUTPUTS),
    schema.Hinge: _hinge(""),
    schema.SquaredHinge: _hinge(".square()"),
    schema.CategoricalHinge: lambda spec: ("categorical_hinge(outputs, y){mean}", _OUTPUTS),
    schema.KlDivergence: lambda spec: (
        'F.kl_div(z.log_softmax(-1), y, reduction="none").sum(-1){mean}',
        _Z,
    ),
    schema.Poisson: lambda spec: ("(outputs - y * torch.log(outputs + 1e-7)){mean}", _OUTPUTS),
}
"""An expression of a batch's loss, and what it takes: z, the values before the last activation, or outputs.

`{reduction}` becomes an argument and `{mean}` a call that average over rows, or nothing where each row's
loss is needed.
"""


def loss_lines(head: Head, *, function: str = "loss_of") -> list[str]:
    """A function that gives the mean loss of rows.

    Args:
        head: the output.
        function: its name.

    Raises:
        UsageError: the loss cannot be written.
    """
    spec = head.spec.own_loss
    if type(spec) not in LOSSES:
        raise refuse(f"the loss {spec.kind}", can_write(LOSSES))
    expression, takes = LOSSES[type(spec)](spec)
    linear = head.activation == "linear"
    body = [f"outputs = {activated(head.activation, 'z')}"] if takes == _OUTPUTS and not linear else []
    if takes == _OUTPUTS and linear:
        expression = re.sub(r"\boutputs\b", "z", expression)
    if head.present is not None:
        without = ["if not rows.any():", "    return 0 * z.sum()", "z, y = z[rows], y[rows]"]
        body = ["rows = has_target(y)", *without, *body]
    weighted = head.spec.class_weight is not None
    if not weighted:
        body.append(f"return {expression.format(reduction='', mean='.mean()')}")
        return [f"def {function}(z, y):", *(f"    {line}" for line in body)]
    each = expression.format(reduction=', reduction="none"', mean="")
    body += [
        f"losses = {each}",
        "losses = losses.reshape(len(y), -1).mean(1)",
        "return (losses * weight).mean()",
    ]
    return [f"def {function}(z, y, weight=1.0):", *(f"    {line}" for line in body)]
