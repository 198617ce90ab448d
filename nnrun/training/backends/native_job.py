"""What `native.py` hands to C++: the structures of `cpp/job.h`, in the same order of names."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from nnrun.spec import schema
from nnrun.training.train_state import TrainState

KINDS = ("dense", "dropout")
ACTIVATIONS = (
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
LOSSES = (
    "binary_crossentropy",
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "mse",
    "mae",
    "huber",
)
OPTIMIZERS = ("rmsprop", "sgd", "adam", "adamw", "adagrad")
_MOST_SLOTS = 3


class Parameter(ctypes.Structure):
    """A parameter of all replicas, and what the optimizer keeps for it."""

    _fields_ = (("value", ctypes.c_void_p), ("slots", ctypes.c_void_p * _MOST_SLOTS))


class Layer(ctypes.Structure):
    """A layer, its parameters or its dropout."""

    _fields_ = (
        ("inputs", ctypes.c_int64),
        ("units", ctypes.c_int64),
        ("keys", ctypes.c_void_p),
        ("l1", ctypes.c_void_p),
        ("l2", ctypes.c_void_p),
        ("seen", ctypes.c_void_p),
        ("kernel", Parameter),
        ("bias", Parameter),
        ("kind", ctypes.c_int32),
        ("activation", ctypes.c_int32),
        ("rate", ctypes.c_float),
        ("scale", ctypes.c_float),
    )


class OptimizerConfig(ctypes.Structure):
    """The optimizer."""

    _fields_ = (
        ("rho", ctypes.c_double),
        ("beta_1", ctypes.c_double),
        ("beta_2", ctypes.c_double),
        ("momentum", ctypes.c_double),
        ("epsilon", ctypes.c_double),
        ("weight_decay", ctypes.c_double),
        ("idle_decay", ctypes.c_double),
        ("kind", ctypes.c_int32),
        ("centered", ctypes.c_int32),
        ("nesterov", ctypes.c_int32),
        ("amsgrad", ctypes.c_int32),
    )


class Job(ctypes.Structure):
    """Rows to learn from or to be measured on."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("layers", ctypes.c_int64),
        ("first_row", ctypes.c_int64),
        ("layer", ctypes.POINTER(Layer)),
        ("rule", ctypes.POINTER(OptimizerConfig)),
        ("inputs", ctypes.c_void_p),
        ("rows", ctypes.c_void_p),
        ("row_starts", ctypes.c_void_p),
        ("columns", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("targets", ctypes.c_void_p),
        ("classes", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("rates", ctypes.c_void_p),
        ("updates", ctypes.c_void_p),
        ("losses", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
        ("loss", ctypes.c_int32),
        ("delta", ctypes.c_float),
    )


def fill(structure: ctypes.Structure, part: schema.Config | None) -> None:
    """Copy what a part of a spec has in common with a structure; all else stays as it is, 0 at first."""
    for name in () if part is None else type(part).model_fields:
        if hasattr(structure, name):
            setattr(structure, name, getattr(part, name))


def address(tensor: Tensor | None) -> int | None:
    """Where the numbers of a tensor lie in memory, one behind the other; None for none."""
    assert tensor is None or tensor.is_contiguous()
    return None if tensor is None else tensor.data_ptr()


def parameter_of(state: TrainState, name: str) -> Parameter:
    """A parameter with its slots, of all replicas."""
    held = [state.parameters[name], *state.slots[name]]
    assert all(tensor.dtype == torch.float32 for tensor in held)
    value, *slots = map(address, held)
    return Parameter(value, (ctypes.c_void_p * _MOST_SLOTS)(*slots))
