"""Unions of components: validated by the class that a name says, which is built at its first use."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from nnrun.spec import schema

LAYERS = [
    {"conv2d": {"filters": 4, "kernel_size": 3, "kernel_initializer": {"orthogonal": 0.5}}},
    {"dense": 1},
]
SPEC = {"dataset": "mnist", "layers": LAYERS, "loss": "mse"}


def test_no_unused_validator_is_built_at_import() -> None:
    code = (
        "from nnrun.spec import schema\n"
        "models = [each for each in vars(schema).values() if isinstance(each, type)"
        " and issubclass(each, schema.Config)]\n"
        "print(len(models), sum(each.__pydantic_complete__ for each in models))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    known, built = map(int, ran.stdout.split())
    assert built < known / 10


def test_a_component_keeps_its_class_in_a_union_and_is_written_by_name() -> None:
    spec = schema.ExperimentSpec.model_validate(SPEC)
    written = spec.model_dump()["layers"]
    assert written[0]["conv2d"]["kernel_initializer"] == {"orthogonal": {"gain": 0.5}}
    assert schema.ExperimentSpec.model_validate(spec.model_dump(exclude_defaults=True)) == spec
    assert schema.ExperimentSpec.model_validate({**SPEC, "layers": list(spec.layers)}) == spec


def test_a_mistake_is_located_through_unions_of_unions() -> None:
    layers = [{"residual": [{"dense": {"units": 4, "kernel_regularizer": {"l2": -1}}}]}, {"tense": 1}]
    with pytest.raises(ValidationError) as caught:
        schema.ExperimentSpec.model_validate({**SPEC, "layers": layers})
    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [
        (
            ("layers", schema.CHAIN, 0, "residual", "layers", 0, "dense", "kernel_regularizer", "l2", "l2"),
            "greater_than_equal",
        ),
        (("layers", schema.CHAIN, 1), "union_tag_invalid"),
    ]
