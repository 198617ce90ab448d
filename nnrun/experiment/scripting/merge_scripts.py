"""Merges as lines of a script: the registry of what each becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

from nnrun.experiment.scripting.layer_script import dim
from nnrun.spec import schema


def _between(sign: str) -> Callable[[Any, Sequence[str]], str]:
    return lambda spec, taken: sign.join(taken)


def _nested(function: str) -> Callable[[Any, Sequence[str]], str]:
    return lambda spec, taken: reduce(lambda a, b: f"{function}({a}, {b})", taken)


MERGE_SCRIPTS: Mapping[type[schema.Component], Callable[[Any, Sequence[str]], str]] = {
    schema.Concatenate: lambda spec, taken: f"torch.cat([{', '.join(taken)}], dim={dim(spec.axis)})",
    schema.Add: _between(" + "),
    schema.Residual: _between(" + "),
    schema.Subtract: _between(" - "),
    schema.Multiply: _between(" * "),
    schema.Average: lambda spec, taken: f"({' + '.join(taken)}) / {len(taken)}",
    schema.Maximum: _nested("torch.maximum"),
    schema.Minimum: _nested("torch.minimum"),
    schema.Dot: lambda spec, taken: f"dot({', '.join(taken)}, {dim(spec.axis)}, {spec.normalize})",
    schema.Parallel: lambda spec, taken: MERGE_SCRIPTS[type(spec.merge)](spec.merge, taken),
}


def merged_mask(spec: Any, taken: Sequence[str], masks: Sequence[str | None]) -> str | None:
    """An expression of the mask of a merge: a step counts where it does in one of those that it takes."""
    if not spec.passes_mask([mask is not None for mask in masks]):
        return None
    merge = spec.merge if isinstance(spec, schema.Parallel) else spec
    if isinstance(merge, schema.Concatenate):
        whole = [
            f"torch.ones_like({x}, dtype=torch.bool)"
            if mask is None
            else f"{mask}.unsqueeze(-1).expand({x}.shape)"
            for x, mask in zip(taken, masks, strict=True)
        ]
        return f"torch.cat([{', '.join(whole)}], dim={dim(merge.axis)}).any(-1)"
    return " | ".join(mask for mask in masks if mask is not None)
