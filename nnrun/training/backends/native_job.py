"""The structures of `cpp/job.h`, with the same names in the same order, and the names of its enums."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnrun.lazy_torch import torch
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("dense", "dropout", "embedding")
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
    """A parameter of all replicas, the optimizer's state of it, its average if any, whether it decays."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("slots", ctypes.c_void_p * _MOST_SLOTS),
        ("average", ctypes.c_void_p),
        ("decays", ctypes.c_int32),
    )


class Layer(ctypes.Structure):
    """A layer, its parameters, its dropout, or how an embedding counts."""

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
        ("mask_zero", ctypes.c_int32),
        ("place_squares", ctypes.c_int32),
    )


class OptimizerConfig(ctypes.Structure):
    """The optimizer and its hyperparameters; those that it does not have are 0."""

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
    """Rows to train on or to evaluate."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("layers", ctypes.c_int64),
        ("first_row", ctypes.c_int64),
        ("layer", ctypes.POINTER(Layer)),
        ("optimizer", ctypes.POINTER(OptimizerConfig)),
        ("rows", ctypes.c_void_p),
        ("inputs", ctypes.c_void_p),
        ("bytes", ctypes.c_void_p),
        ("byte_values", ctypes.c_void_p),
        ("byte_columns", ctypes.c_int64),
        ("own_byte_values", ctypes.c_int64),
        ("row_starts", ctypes.c_void_p),
        ("columns", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("words", ctypes.c_void_p),
        ("places", ctypes.c_int64),
        ("targets", ctypes.c_void_p),
        ("classes", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("rates", ctypes.c_void_p),
        ("updates", ctypes.c_void_p),
        ("ema_decays", ctypes.c_void_p),
        ("losses", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
        ("loss", ctypes.c_int32),
        ("delta", ctypes.c_float),
    )


def fill(structure: ctypes.Structure, part: schema.Config) -> None:
    """Copy the fields of a part of a spec that a structure has too."""
    for name in type(part).model_fields:
        if hasattr(structure, name):
            setattr(structure, name, getattr(part, name))


def address(tensor: Tensor | None) -> int | None:
    """The address of a contiguous tensor; None for None."""
    assert tensor is None or tensor.is_contiguous()
    return None if tensor is None else tensor.data_ptr()


def parameter(
    value: Tensor, slots: Sequence[Tensor], average: Tensor | None = None, *, decays: bool = False
) -> Parameter:
    """A parameter of all replicas with the optimizer's state and its average, which a step updates.

    `decays`: whether the optimizer's weight decay is for it.
    """
    held = (value, *slots) if average is None else (value, *slots, average)
    assert all(tensor.dtype == torch.float32 for tensor in held)
    slot_addresses = (ctypes.c_void_p * _MOST_SLOTS)(*map(address, slots))
    return Parameter(address(value), slot_addresses, address(average), decays)
