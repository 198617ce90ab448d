"""What of a spec cannot be written as a script for teaching, refused by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnrun.errors import UsageError
from nnrun.spec import schema
from nnrun.spec.graph import all_layers
from nnrun.spec.ports import has_ports
from nnrun.spec.reading.nodes import spell_path

WRITTEN_KEYS = frozenset(
    (
        "name",
        "description",
        "seed",
        "dataset",
        "inputs",
        "outputs",
        "preprocessing",
        "shared",
        "layers",
        "loss",
        "class_weight",
        "optimizer",
        "learning_rate_schedule",
        "gradient_clip",
        "metrics",
        "epochs",
        "batch_size",
        "shuffle",
        "deterministic",
        "validation",
        "ensemble",
        "early_stopping",
        "weight_averaging",
        "train_fraction",
        "linear_baseline",
        "linear_member",
        "sweep",
        "total_loss",
    )
)
"""The keys of a spec that a script follows, or that change nothing of its history."""

_OPTIMIZER_KEYS = ("gradient_accumulation_steps", "use_ema")


def refuse(what: str, advice: str = "Leave it out of the spec; `nnrun train` has it.") -> UsageError:
    """The error that says that something has no place in a script."""
    return UsageError(f"eject cannot write {what}. {advice}")


def can_write(registry: Mapping[type[schema.Component], Any]) -> str:
    """The sentence that says what a registry has."""
    return f"It can write {', '.join(sorted(kind.kind for kind in registry))}."


def refuse_spec(spec: schema.ExperimentSpec) -> None:
    """Raise UsageError where a key of a spec, or an option of a component, cannot be written."""
    defaults = {name: field.get_default() for name, field in type(spec).model_fields.items()}
    for key, default in defaults.items():
        if key not in WRITTEN_KEYS and getattr(spec, key) != default:
            raise refuse(f"the key {key}")
    for name, port in spec.outputs.items():
        for key in ("class_weight", "calibrate", "threshold"):
            if getattr(port, key) is not None:
                raise refuse(f"the {key} of an output ({name})")
    if has_ports(spec) and spec.ensemble is not None:
        raise refuse("an ensemble of networks whose inputs or outputs have names")
    for part in spec.learning_rate_schedule:
        if isinstance(part, schema.ReduceOnPlateau):
            raise refuse(
                f"the learning_rate_schedule {part.kind}",
                "It can write one that follows from the epoch alone.",
            )
    for key in _OPTIMIZER_KEYS:
        if getattr(spec.optimizer, key):
            raise refuse(f"{key} of the optimizer {spec.optimizer.kind}")
    for entry in spec.optimizer.exclude_from_weight_decay:
        if entry != "bias":
            raise refuse(f"{entry} in exclude_from_weight_decay", "It can write the biases.")
    if spec.ensemble is not None and spec.ensemble.kind != "independent":
        raise refuse(
            "an ensemble whose members share kernels (kind: batch)", "It can write kind: independent."
        )
    stopping = spec.early_stopping
    if stopping is not None and stopping.baseline is not None:
        raise refuse("the baseline of early_stopping")
    for place, layer in all_layers(spec):
        refuse_options(spell_path(place), layer)


def refuse_options(place: str, layer: Any) -> None:
    """Raise UsageError where a layer has an option that a script does not follow while it trains."""
    where = f"of the layer {layer.kind} ({place})"
    for name in type(layer).model_fields:
        value = getattr(layer, name)
        if name.endswith(("_regularizer", "_constraint")) and value is not None:
            raise refuse(f"the {name} {where}")
        if name in ("dropout", "recurrent_dropout") and value:
            raise refuse(f"{name} {where}")
        if name == "trainable" and value is False:
            raise refuse(f"trainable: false {where}")
        if name in ("center", "scale") and value is False:
            raise refuse(f"{name}: false {where}")
        if name == "weights" and value is not None:
            raise refuse(f"weights {where}")
