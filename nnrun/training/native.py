"""Steps of dense stacks in C++ of our own, for runs of many small steps.

A small step's time is nearly all the cost of starting PyTorch's operations one by one. `native.cpp` makes
all steps of a segment in one call for each replica. It is compiled once for all specs, in two seconds.
It knows the layers, losses and optimizers named here; a spec with anything else is an obstacle.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from nnrun.spec import schema
from nnrun.training.engine import EagerEngine
from nnrun.training.phase import Tally
from nnrun.training.plan import Segment
from nnrun.training.stack import Stack
from nnrun.training.task import Task

MOST_MULTIPLICATIONS = 2_000_000
"""How many a step of one network may make, forward; PyTorch's matrix products are faster for larger ones."""

# What is declared here is declared in native.cpp too, in the same order.
_KINDS = ("dense", "dropout")
_ACTIVATIONS = (
    "linear",
    "relu",
    "tanh",
    "sigmoid",
    "softmax",
    "elu",
    "selu",
    "gelu",
    "swish",
    "softplus",
    "leaky_relu",
)
_LOSSES = (
    "binary_crossentropy",
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "mse",
    "mae",
    "huber",
)
_OPTIMIZERS = ("rmsprop", "sgd", "adam", "adamw", "adagrad")
_MOST_SLOTS = 3

# The parameters of each component that the C++ code computes with. One that is not named here, and that a
# spec sets, is an obstacle: nothing that is added to the schema is left out in silence.
_KNOWN: Mapping[type[schema.Config], set[str]] = {
    schema.Dense: {"units", "activation", "use_bias", "kernel_regularizer"},
    schema.Dropout: {"rate"},
    schema.L1: {"l1"},
    schema.L2: {"l2"},
    schema.L1L2: {"l1", "l2"},
    schema.BinaryCrossentropy: set(),
    schema.CategoricalCrossentropy: set(),
    schema.SparseCategoricalCrossentropy: set(),
    schema.Mse: set(),
    schema.Mae: set(),
    schema.Huber: {"delta"},
    schema.RmsProp: {"learning_rate", "rho", "momentum", "epsilon", "centered"},
    schema.Sgd: {"learning_rate", "momentum", "nesterov"},
    schema.Adam: {"learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad"},
    schema.AdamW: {"learning_rate", "weight_decay", "beta_1", "beta_2", "epsilon", "amsgrad"},
    schema.Adagrad: {"learning_rate", "initial_accumulator_value", "epsilon"},
    # Of the whole spec: what others deal with, before, between or after the steps.
    schema.ExperimentSpec: {
        "name", "description", "seed", "dataset", "preprocessing", "layers", "init_weights", "loss",
        "optimizer", "metrics", "epochs", "batch_size", "shuffle", "early_stopping", "validation", "sweep",
    },
}  # fmt: skip
_TASK = {"network", "loss", "optimizer", "metrics", "inputs", "targets", "batch_size", "own", "spec"}


def obstacle(task: Task) -> str | None:
    """Why these steps cannot be made here, as a part of a sentence; None where they can."""
    spec = task.spec
    if spec is None:
        return "the task does not say what spec it comes from"
    if task.device.type != "cpu" or not task.inputs.dense:
        return "it trains dense rows on the CPU"
    given = {field.name for field in fields(task) if getattr(task, field.name) is not field.default}
    if task.own or given - _TASK:
        return "replicas or rows have numbers of their own"
    regularizers = [getattr(layer, "kernel_regularizer", None) for layer in spec.layers]
    for part in (spec, *spec.layers, *filter(None, regularizers), spec.loss, spec.optimizer):
        unknown = _unknown(part)
        if unknown is not None:
            return f"it does not know {unknown}"
    work = task.batch_size * _multiplications(spec, task)
    if work > MOST_MULTIPLICATIONS:
        return f"a step of one network makes {work:,} multiplications, more than {MOST_MULTIPLICATIONS:,}"
    return None


def _unknown(part: schema.Config) -> str | None:
    """What a part of a spec holds that the C++ code does not know."""
    kind = getattr(part, "kind", None)
    if type(part) not in _KNOWN:
        return f"`{kind}`"
    for name, field in type(part).model_fields.items():
        default = field.get_default(call_default_factory=True)
        if name not in _KNOWN[type(part)] and getattr(part, name) != default:
            return f"`{name}`" if kind is None else f"`{name}` of `{kind}`"
    return None


def _multiplications(spec: schema.ExperimentSpec, task: Task) -> int:
    """Of one row, forward."""
    units = [layer.units for layer in spec.layers if isinstance(layer, schema.Dense)]
    inputs = [task.inputs.numbers_per_row, *units]
    return sum(a * b for a, b in zip(inputs, units, strict=False))


# --- what C++ is given -------------------------------------------------------------------------------------


class _Parameter(ctypes.Structure):
    _fields_ = (("value", ctypes.c_void_p), ("slots", ctypes.c_void_p * _MOST_SLOTS))


class _Layer(ctypes.Structure):
    _fields_ = (
        ("inputs", ctypes.c_int64),
        ("units", ctypes.c_int64),
        ("keys", ctypes.c_void_p),
        ("kernel", _Parameter),
        ("bias", _Parameter),
        ("kind", ctypes.c_int32),
        ("activation", ctypes.c_int32),
        ("rate", ctypes.c_float),
        ("scale", ctypes.c_float),
        ("l1", ctypes.c_float),
        ("l2", ctypes.c_float),
    )


class _Rule(ctypes.Structure):
    _fields_ = (
        ("learning_rate", ctypes.c_double),
        ("rho", ctypes.c_double),
        ("beta_1", ctypes.c_double),
        ("beta_2", ctypes.c_double),
        ("momentum", ctypes.c_double),
        ("epsilon", ctypes.c_double),
        ("weight_decay", ctypes.c_double),
        ("kind", ctypes.c_int32),
        ("centered", ctypes.c_int32),
        ("nesterov", ctypes.c_int32),
        ("amsgrad", ctypes.c_int32),
    )


class _Job(ctypes.Structure):
    _fields_ = (
        ("steps", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("layers", ctypes.c_int64),
        ("first_row", ctypes.c_int64),
        ("layer", ctypes.POINTER(_Layer)),
        ("rule", ctypes.POINTER(_Rule)),
        ("inputs", ctypes.c_void_p),
        ("targets", ctypes.c_void_p),
        ("classes", ctypes.c_void_p),
        ("updates", ctypes.c_void_p),
        ("losses", ctypes.c_void_p),
        ("outputs", ctypes.c_void_p),
        ("loss", ctypes.c_int32),
        ("delta", ctypes.c_float),
    )


class NativeEngine(EagerEngine):
    """As `EagerEngine`, with the steps of a segment made in C++.

    Args:
        task: what is learned; without an `obstacle`.
        parameters: stacked first weights.
        library: from `nnrun.training.native_library`.
    """

    def __init__(self, task: Task, parameters: Mapping[str, Tensor], library: ctypes.CDLL) -> None:
        # C++ takes the replicas one by one, each parameter of a replica in one piece.
        super().__init__(task, parameters, joined=False)
        assert task.spec is not None, "an obstacle otherwise"
        self._spec = task.spec
        self._rule = _Rule(kind=_OPTIMIZERS.index(task.spec.optimizer.kind))
        _fill(self._rule, task.spec.optimizer)
        self._train = library.train
        self._train.argtypes, self._train.restype = [ctypes.POINTER(_Job), ctypes.c_int64], None

    def _train_segment(self, segment: Segment, stack: Stack, noise: Any, tally: Tally) -> None:
        task, replicas, rows = self._task, len(segment.places), segment.rows_GN.shape[1]
        data_places = [self._data_places[place] for place in segment.places]
        (inputs,) = task.inputs.batches(data_places, segment.rows_GN, rows)
        targets = task.targets_of(data_places, segment.rows_GN).contiguous()
        inputs = inputs.contiguous()
        losses = torch.empty(replicas, segment.steps)
        outputs = torch.empty(replicas, rows, task.network.outputs)
        classes = targets.dtype == torch.int64
        layers = self._layers(stack, noise, inputs.shape[2])
        job = _Job(
            steps=segment.steps,
            batch=segment.batch_size,
            layers=len(layers),
            first_row=segment.first_row,
            layer=layers,
            rule=ctypes.pointer(self._rule),
            inputs=inputs.data_ptr(),
            targets=None if classes else targets.data_ptr(),
            classes=targets.data_ptr() if classes else None,
            updates=stack.steps_R.data_ptr(),
            losses=losses.data_ptr(),
            outputs=outputs.data_ptr(),
            loss=_LOSSES.index(self._spec.loss.kind),
        )
        _fill(job, self._spec.loss)
        for replica in range(replicas):  # one by one, so that Ctrl-C need not wait for all
            self._train(job, replica)
        tally.add(segment.places, losses, segment.batch_size, outputs, targets)

    def _layers(self, stack: Stack, noise: Any, features: int) -> ctypes.Array[_Layer]:
        layers = (_Layer * len(self._spec.layers))()
        width = features
        for position, (layer, spec) in enumerate(zip(layers, self._spec.layers, strict=True)):
            layer.inputs, layer.kind = width, _KINDS.index(spec.kind)
            if isinstance(spec, schema.Dropout):
                layer.keys = noise.keys[position].data_ptr()
                layer.rate, layer.scale = spec.rate, 1.0 / (1.0 - spec.rate)
            else:
                assert isinstance(spec, schema.Dense), "an obstacle otherwise"
                width = spec.units
                layer.activation = _ACTIVATIONS.index(spec.activation)
                _fill(layer, spec.kernel_regularizer)
                layer.kernel = _parameter(stack, f"{position}.weight")
                if spec.use_bias:
                    layer.bias = _parameter(stack, f"{position}.bias")
            layer.units = width
        return layers


def _parameter(stack: Stack, name: str) -> _Parameter:
    held = [stack.parameters[name], *stack.slots[name]]
    assert all(tensor.is_contiguous() and tensor.dtype == torch.float32 for tensor in held)
    value, *slots = (tensor.data_ptr() for tensor in held)
    return _Parameter(value, (ctypes.c_void_p * _MOST_SLOTS)(*slots))


def _fill(structure: ctypes.Structure, part: schema.Config | None) -> None:
    """Copy what a part of a spec has in common with a structure; all else stays as it is, 0 at first."""
    for name in () if part is None else type(part).model_fields:
        if hasattr(structure, name):
            setattr(structure, name, getattr(part, name))
