"""What to try where a network is no better than a baseline: only what the run itself gives a reason for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nnrun.records import RunRecord
from nnrun.spec import schema
from nnrun.spec.graph import all_layers
from nnrun.spec.wording import listing
from nnrun.validation.summary import MORE_EPOCHS, OVERFITTING, TRAINING_IS_WORSE, TRAINING_STUCK

_SCALING_LAYERS = frozenset({"batch_normalization", "layer_normalization", "rms_normalization"})


def what_to_try(
    record: RunRecord, spec: schema.ExperimentSpec, worse_than_linear: Mapping[str, object]
) -> str | None:
    """A sentence that begins with `Try`; None where nothing in the run speaks for one thing or another.

    Args:
        record: with its verdict, and its linear baseline.
        spec: the experiment.
        worse_than_linear: the scores in which the linear model is as good.
    """
    linear, verdict, tries = record.linear_baseline, record.verdict or "", list[str]()
    if linear is not None and linear.unscaled and not _scales_itself(spec):
        tries.append("inputs: standardize (some are far larger than 1)")
    if verdict.endswith(MORE_EPOCHS):
        tries.append("more epochs (it was still improving)")
    elif verdict.startswith(TRAINING_STUCK) or verdict.endswith(TRAINING_IS_WORSE):
        tries.append("a smaller learning rate (the training loss did not keep falling; see nnrun lr)")
    elif verdict.endswith(OVERFITTING):
        tries.append("a smaller network or dropout (in the end only its training rows gained)")
    if worse_than_linear and (layers := _linear_layers(spec)):
        tries.append(f"the linear model itself, layers: [{layers}]")
    return f"Try {listing(tries, 'or')}." if tries else None


def are_level(pairs: Mapping[str, Sequence[float]]) -> bool:
    """Whether scores are the same as a baseline's; `pairs` as for `are_noise`."""
    return all(math.isclose(value, other, abs_tol=1e-9) for value, other in pairs.values())


def are_noise(record: RunRecord, pairs: Mapping[str, Sequence[float]]) -> bool:
    """Whether scores differ from a baseline's by no more than one standard error of their mean over networks.

    Args:
        record: of several folds or seeds; of a single network nothing is known about noise.
        pairs: measure → its mean, and the baseline's.
    """
    n = len(record.members)
    if n < 2 or not pairs or record.baseline_on != "validation":
        return False
    stds = [record.best_std.get(f"val_{name}") for name in pairs]
    return all(
        std is not None and abs(value - other) <= std / math.sqrt(n)
        for std, (value, other) in zip(stds, pairs.values(), strict=True)
    )


def _scales_itself(spec: schema.ExperimentSpec) -> bool:
    return any(layer.kind in _SCALING_LAYERS for _, layer in all_layers(spec))


def _linear_layers(spec: schema.ExperimentSpec) -> str:
    """The last layer, where it alone can take what the first takes; else empty."""
    if not isinstance(spec.layers, list) or len(spec.layers) < 2 or spec.outputs or spec.ensemble is not None:
        return ""
    first, last = spec.layers[0], spec.layers[-1]
    if not (isinstance(first, schema.Dense) and isinstance(last, schema.Dense)):
        return ""
    if last.activation == "linear":
        return f"dense: {last.units}"
    return f"dense: {{units: {last.units}, activation: {last.activation}}}"
