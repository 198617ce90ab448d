"""The updates of some optimizers in C++ (`native/cpp/updates.cpp`): one pass over a parameter, not eight."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nnrun.lazy_torch import torch
from nnrun.native.kernels import kernel
from nnrun.spec import schema
from nnrun.training.backends import native_job
from nnrun.training.backends.native_job import address

if TYPE_CHECKING:
    from torch import Tensor

LIBRARY = "updates"

KNOWN: tuple[type[schema.Component], ...] = (schema.RmsProp, schema.Sgd, schema.Adam, schema.AdamW)
"""The optimizers whose parameters, but for the learning rate and weight decay, C++ computes with."""

Update = Callable[..., bool]
"""As `nnrun.training.optimizers.Change` with all six arguments; whether the update has been made."""


def update_by(spec: schema.Component) -> Update:
    """The update of one of the known optimizers, as a function like `Optimizer.change`.

    It tells whether it has made the update: it does nothing where there is no C++, or where C++ cannot read
    the tensors. Weight decay is left to others.
    """
    rule = native_job.OptimizerConfig(kind=native_job.OPTIMIZERS.index(spec.kind))
    native_job.fill(rule, spec)
    rule.weight_decay = 0.0

    def update(
        w: Tensor,
        g: Tensor,
        slots: Sequence[Tensor],
        steps_R: Tensor,
        lr: float | Tensor,
        squares: Tensor | None,
    ) -> bool:
        if len(steps_R) != len(w) or not all(map(_readable, (w, g, *slots))):
            return False
        library = kernel(LIBRARY)
        if library is None:
            return False
        rates_R = lr.double().reshape(-1) if isinstance(lr, torch.Tensor) else torch.full_like(steps_R, lr)
        g = g.contiguous()
        squares = None if squares is None else squares.contiguous()
        library.update(
            ctypes.byref(rule),
            ctypes.byref(native_job.parameter(w, slots)),
            *(ctypes.c_void_p(address(t)) for t in (g, squares, rates_R, steps_R)),
            *(ctypes.c_int64(n) for n in (len(w), w[0].numel(), torch.get_num_threads())),
        )
        return True

    return update


def _readable(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32
