"""Compute `keras_values.json` with Keras. Needed only when a case is added or changed.

pip install keras tensorflow-cpu
KERAS_BACKEND=tensorflow python -m tests.support.make_keras_values
"""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np

from tests.support.keras_values import (
    ANSWERS,
    ATTENTION_CASES,
    INITIALIZERS,
    KERNEL,
    LOSS_CASES,
    OPTIMIZER_CASES,
    SCHEDULE_CASES,
    SCHEDULE_EPOCHS,
    activation_inputs,
    attention_weight,
)

ARRAYS = {"kernel": "weight", "bias": "bias"}
# Keras's `threshold` has no defaults, so that a name alone does not say what it is.
WITHOUT_DEFAULTS = {"threshold"}


def rounded(values: Any) -> Any:
    """Nested lists of nine digits."""
    return [rounded(v) for v in values] if np.ndim(values) else float(f"{float(values):.9g}")


def activations() -> dict[str, Any]:
    """The values of every activation that a layer can name."""
    names = sorted(set(keras.src.activations.ALL_OBJECTS_DICT) - WITHOUT_DEFAULTS)
    x = keras.ops.convert_to_tensor(activation_inputs())
    return {name: rounded(np.asarray(keras.activations.get(name)(x))) for name in names}


def initializers() -> dict[str, Any]:
    """Mean, standard deviation, least and largest of a kernel's first values, as Keras draws them."""
    keras.utils.set_random_seed(1)
    answers = {}
    for name, (kind, parameters) in INITIALIZERS.items():
        values = np.asarray(keras.src.initializers.ALL_OBJECTS_DICT[kind](**parameters)(KERNEL))
        answers[name] = rounded([values.mean(), values.std(), values.min(), values.max()])
    return answers


def losses() -> dict[str, Any]:
    """The loss of each row."""
    found = {}
    for case in LOSS_CASES:
        targets, outputs = case.arrays()
        function = getattr(keras.losses, case.function or case.kind)
        found[case.name] = rounded(np.asarray(function(targets, outputs, **case.parameters, **case.keras)))
    return found


def optimizers() -> dict[str, Any]:
    """Where the updates lead."""
    found = {}
    for case in OPTIMIZER_CASES:
        start, gradients = case.arrays()
        optimizer, variable = getattr(keras.optimizers, case.keras)(**case.parameters), keras.Variable(start)
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        optimizer.finalize_variable_values([variable])
        found[case.name] = rounded(np.asarray(variable.value))
    return found


def attention() -> dict[str, Any]:
    """What each row's query finds."""
    found = {}
    for case in ATTENTION_CASES:
        arrays = [keras.ops.convert_to_tensor(array) for array in case.arrays()]
        masks = [None if mask is None else keras.ops.convert_to_tensor(mask) for mask in case.masks()]
        layer = getattr(keras.layers, case.keras)(**(case.keras_parameters or case.parameters))
        several = case.kind == "attention"
        call: dict[str, Any] = {}
        if several:
            call["mask"] = masks if any(mask is not None for mask in masks) else None
        else:
            call = dict(zip(("query_mask", "value_mask", "key_mask"), masks, strict=False))
        taken = [arrays] if several else arrays
        layer(*taken, **call)
        for weight in layer.weights:  # `multi_head_attention/query/kernel`
            *_, part, array = weight.path.split("/")
            name = "scale" if several else f"{part.removeprefix('attention_')}_{ARRAYS[array]}"
            weight.assign(attention_weight(name, tuple(weight.shape)))
        found[case.name] = rounded(np.asarray(layer(*taken, **call)))
    return found


def schedules() -> dict[str, Any]:
    """The rate of each epoch."""
    found = {}
    for case in SCHEDULE_CASES:
        rate = {} if case.kind == "piecewise" else {"initial_learning_rate": 0.1}
        curve = getattr(keras.optimizers.schedules, case.keras)(**rate, **case.arguments)
        found[case.name] = [float(f"{float(curve(step)):.9g}") for step in range(SCHEDULE_EPOCHS)]
    return found


def main() -> None:
    """Write all answers."""
    families = {
        "activations": activations(),
        "losses": losses(),
        "optimizers": optimizers(),
        "schedules": schedules(),
        "initializers": initializers(),
        "attention": attention(),
    }
    lines = []
    for family, answers in families.items():
        entries = [f"  {json.dumps(name)}: {json.dumps(answer)}" for name, answer in answers.items()]
        lines.append(f"{json.dumps(family)}: {{\n" + ",\n".join(entries) + "\n}")
    version = f'"keras": "{keras.version()}"'
    ANSWERS.write_text(f"{{{version},\n" + ",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
