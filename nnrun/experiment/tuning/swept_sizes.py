"""The sweep that `nnrun tune` writes: the sizes of a spec that matter most, with values around its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnrun.spec import schema
from nnrun.spec.graph import all_layers
from nnrun.spec.reading.grammar import Location
from nnrun.spec.reading.nodes import spell_path
from nnrun.spec.writing.dump import flow

_RATE_FACTORS = (1, 1 / 3, 3)
_UNIT_FACTORS = (1, 2, 0.5)
_DECAY_FACTORS = (1, 0.1)
_DROPOUTS = (0.1, 0.3, 0.5)
_OTHER_DROPOUTS = 2
_FEWEST_UNITS = 4


def sizes_to_sweep(spec: schema.ExperimentSpec) -> dict[str, list[Any]]:
    """Key of the spec, or several → the values to try, the spec's own first; only of what the spec has.

    The order is that of a grid's keys, of which the last varies fastest: the learning rate, since trials that
    differ in it alone can train side by side.
    """
    layers = list(all_layers(spec))
    hidden = [(at, layer) for at, layer in layers if isinstance(layer, schema.Dense) and not _gives(spec, at)]
    found: dict[str, list[Any]] = {}
    decay = getattr(spec.optimizer, "weight_decay", None)
    optimizer = f"optimizer.{spec.optimizer.kind}"
    if decay:
        found[f"{optimizer}.weight_decay"] = [_rounded(decay * factor) for factor in _DECAY_FACTORS]
    if hidden:
        units = hidden[0][1].units
        alike = [f"{spell_path(at)}.dense.units" for at, layer in hidden if layer.units == units]
        tried = [max(_FEWEST_UNITS, round(units * factor)) for factor in _UNIT_FACTORS]
        found[", ".join(alike)] = list(dict.fromkeys(tried))
    dropped = [(at, layer) for at, layer in layers if isinstance(layer, schema.Dropout)]
    if dropped:
        rate = dropped[0][1].rate
        alike = [f"{spell_path(at)}.dropout" for at, layer in dropped if layer.rate == rate]
        others = sorted((other for other in _DROPOUTS if other != rate), key=lambda other: abs(other - rate))
        found[", ".join(alike)] = [rate, *others[:_OTHER_DROPOUTS]]
    own = spec.optimizer.learning_rate
    found[f"{optimizer}.learning_rate"] = [own, *(_rounded(own * factor) for factor in _RATE_FACTORS[1:])]
    return found


def _gives(spec: schema.ExperimentSpec, at: Location) -> bool:
    """Whether a layer gives an output: the last of the only chain, or of one that is learned."""
    *chain, place = at
    if isinstance(spec.layers, Mapping):
        of_output = (
            len(chain) == 2 and chain[0] == "layers" and (not spec.outputs or chain[1] in spec.outputs)
        )
        return of_output and place == len(spec.layers[str(chain[1])]) - 1
    return chain == ["layers"] and place == len(spec.layers) - 1


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def swept_text(text: str, spec_name: str, over: Mapping[str, Sequence[Any]]) -> str:
    """A spec's text with a sweep of these sizes at its end.

    Args:
        text: of the spec.
        spec_name: of its file.
        over: as `sizes_to_sweep` gives it.
    """
    lines = [
        f"# {spec_name} and a sweep around it, written by nnrun tune. Change it as you like.",
        text.rstrip("\n"),
        "sweep:  # each key's own value first",
        "  method: grid",
        "  shuffle: true  # where time ends the sweep, no value was left out in particular",
        "  over:",
        *(f"    {key}: {flow(list(values))}" for key, values in over.items()),
    ]
    return "\n".join(lines) + "\n"
