"""LSTM and GRU over whole sequences in C++ (`recurrent.cpp`), with their gradients."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from nnrun.lazy_torch import AutogradFunction, torch
from nnrun.model.kernels.calls import address, usable

if TYPE_CHECKING:
    from torch import Tensor

LIBRARY = "recurrent"

_KEPT_GATES = 4
"""Numbers of each unit and step that both kinds keep for the gradients, beside what they gave."""


class _Sequences(ctypes.Structure):
    """`Sequences` of `recurrent.cpp`, which says what each field is."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("R", "B", "T", "D", "U", "threads")),
        *((name, ctypes.c_int32) for name in ("all_steps", "keep")),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "x", "input_kernel", "recurrent_kernel", "bias", "counts", "outputs", "gates", "given",
                "cells", "d_outputs", "d_x", "d_input_kernel", "d_recurrent_kernel", "d_bias",
            )
        ),
    )  # fmt: skip


def recurrent(
    kind: str,
    x: Tensor,
    kernels: tuple[Tensor, Tensor],
    bias: Tensor | None,
    counts: Tensor | None,
    *,
    all_steps: bool,
) -> Tensor | None:
    """What a layer gives for the last step, (R, B, U), or for all steps, (R, B, T, U); None where C++ cannot.

    Activations are tanh and sigmoid; a GRU resets after the recurrent product.

    Args:
        kind: `lstm` or `gru`.
        x: (R, B, T, D).
        kernels: for the step (R, D, G * U), and for what was given for the step before (R, U, G * U).
        bias: (R, 1, G * U), of a GRU (R, 2, G * U); None for none.
        counts: (R, B, T) booleans, False for steps that change nothing; None for none of these.
        all_steps: whether all steps are given.
    """
    library = usable(LIBRARY, x, *kernels, bias)
    if library is None:
        return None
    if counts is not None:
        counts = counts.contiguous().view(torch.uint8)
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, *kernels, bias))
    found: Tensor = _Recurrent.apply(x, *kernels, bias, counts, kind, all_steps, keep, library)
    return found


class _Recurrent(AutogradFunction):
    """The whole sequence, so that PyTorch sees one operation."""

    once_differentiable = True

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        input_kernel: Tensor,
        recurrent_kernel: Tensor,
        bias: Tensor | None,
        counts: Tensor | None,
        kind: str,
        all_steps: bool,
        keep: bool,
        library: ctypes.CDLL,
    ) -> Tensor:
        """As `recurrent`. With `keep` it keeps for the gradients what `recurrent.cpp` says."""
        x, input_kernel, recurrent_kernel = (t.contiguous() for t in (x, input_kernel, recurrent_kernel))
        bias = None if bias is None else bias.contiguous()
        (replicas, rows, steps, features), units = x.shape, recurrent_kernel.shape[1]
        outputs = x.new_empty((replicas, rows, steps, units) if all_steps else (replicas, rows, units))
        kept: list[Tensor] = []
        if keep:
            gates = x.new_empty((replicas, rows, steps, _KEPT_GATES, units))
            states = [x.new_empty((replicas, rows, steps + 1, units)) for _ in range(1 + (kind == "lstm"))]
            kept = [gates, states[0], states[-1]]
        sequences = _Sequences(
            R=replicas, B=rows, T=steps, D=features, U=units, threads=torch.get_num_threads(),
            all_steps=all_steps, keep=keep, x=address(x), input_kernel=address(input_kernel),
            recurrent_kernel=address(recurrent_kernel), bias=address(bias), counts=address(counts),
            outputs=address(outputs), **_addresses(("gates", "given", "cells"), kept),
        )  # fmt: skip
        getattr(library, f"{kind}_forward")(ctypes.byref(sequences))
        ctx.save_for_backward(x, input_kernel, recurrent_kernel, bias, counts, *kept)
        ctx.kind, ctx.sequences, ctx.library = kind, sequences, library
        return outputs

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Of x, the kernels and the bias."""
        x, input_kernel, recurrent_kernel, bias, *_ = (
            ctx.saved_tensors
        )  # these keep alive what `sequences` names
        sequences, library, d_outputs = ctx.sequences, ctx.library, d_outputs.contiguous()
        blocks = -(-sequences.B // library.rows_of_block())

        def zeros_of_blocks(value: Tensor) -> Tensor:
            return value.new_zeros((len(value), blocks, *value.shape[1:]))

        d_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        sums = [zeros_of_blocks(value) for value in (input_kernel, recurrent_kernel)]
        d_bias = None if bias is None else zeros_of_blocks(bias)
        sequences.d_outputs, sequences.d_x = address(d_outputs), address(d_x)
        sequences.d_input_kernel, sequences.d_recurrent_kernel = map(address, sums)
        sequences.d_bias = address(d_bias)
        getattr(library, f"{ctx.kind}_backward")(ctypes.byref(sequences))
        whole = [None if value is None else value[:, 0] for value in (*sums, d_bias)]
        return d_x, *whole, None, None, None, None, None


def _addresses(names: tuple[str, ...], tensors: list[Tensor]) -> dict[str, ctypes.c_void_p]:
    return dict(zip(names, map(address, tensors), strict=False))
