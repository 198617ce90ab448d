"""Keys without a value, and the four ways to switch a part off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnrun.errors import SpecError
from nnrun.spec.reading.load import load_spec_text
from nnrun.spec.schema import ExperimentSpec

SPEC = """dataset: {csv: {path: t.csv, target: y}}
layers: [{dense: {units: 4, kernel_regularizer: l2}}, {dense: 1}]
loss: mse
"""
PARTS = (
    "early_stopping",
    "validation",
    "learning_rate_schedule",
    "gradient_clip",
    "class_weight",
    "metrics",
    "init_weights",
    "preprocessing.inputs",
    "layers[0].dense.kernel_regularizer",
    "dataset.csv.test",
    "sweep",
)


def load(text: str = SPEC, overrides: Any = ()) -> ExperimentSpec:
    return load_spec_text(text, file="s.yaml", base=Path("/"), default_name="s", overrides=overrides).spec


@pytest.mark.parametrize("key", PARTS)
def test_each_way_to_switch_a_part_off(key: str) -> None:
    # Of the inputs `none` is a step of its own: a table's columns as they are, without those of the default.
    words = [] if key == "preprocessing.inputs" else ["none"]
    found = [load(overrides=[f"{key}={off}"]) for off in ("null", "[]", "{}", *words)]
    found += [load(overrides={key: off}) for off in (None, [], {}, *words)]
    assert all(spec == found[0] for spec in found)


@pytest.mark.parametrize("key", PARTS)
@pytest.mark.parametrize("text", ["", " ", " # nothing"])
def test_an_override_without_a_value_is_refused(key: str, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(overrides=[f"{key}={text}"])
    assert "null" in str(caught.value)
    assert len(caught.value.problems) == 1


def test_a_key_above_comments_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        load(f"{SPEC}early_stopping:\n#  patience: 3\nepochs: 2\n")
    (problem,) = caught.value.problems
    assert problem.message == "early_stopping has no value; write one, or `early_stopping: null` for none"
    assert (problem.line, problem.column) == (4, 1)
    assert load(f"{SPEC}early_stopping: null\n").early_stopping is None
    assert load(f"{SPEC}early_stopping: ~\n").early_stopping is None


def test_a_name_needs_no_parameters() -> None:
    assert load(f"{SPEC}validation: {{kfold: }}\n").validation.kind == "kfold"
