"""A dumped spec loads again to an equal one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.spec.reading.load import load_spec, load_spec_text
from nnrun.spec.reading.nodes import SourceText, plain
from nnrun.spec.reading.yaml_reader import read_yaml
from nnrun.spec.schema import ExperimentSpec
from nnrun.spec.writing.dump import dump_spec
from tests.support.spec_strategies import SPECS, TEXT

REUTERS = """\
dataset: {reuters: {num_words: 10000}}
preprocessing: {inputs: multi_hot}
layers:
  - dense: {units: 64, activation: relu}
  - dropout: 0.5
  - dense: {units: 46, activation: softmax, kernel_regularizer: l2}
loss: categorical_crossentropy
optimizer: {rmsprop: {learning_rate: 1e-4}}
metrics: [accuracy, top_k]
validation: {holdout: {first: 1000}}
"""


def read(text: str) -> Any:
    node, problems = read_yaml(SourceText("resolved.yaml", text))
    assert problems == []
    return plain(node)


def test_whole_text() -> None:
    loaded = load_spec_text(REUTERS, file="reuters.yaml", base=Path("/specs"), default_name="reuters")
    assert (
        dump_spec(loaded.spec)
        == """\
name: reuters
description: ""
seed: 0
dataset: {reuters: {num_words: 10000, skip_top: 0, maxlen: null, test_fraction: 0.2}}
preprocessing: {inputs: [{multi_hot: {dimension: null}}], targets: one_hot}
layers:
  - dense: {units: 64, activation: relu, use_bias: true, kernel_regularizer: null}
  - dropout: {rate: 0.5}
  - dense: {units: 46, activation: softmax, use_bias: true, kernel_regularizer: {l2: {l2: 0.01}}}
init_weights: null
loss: {categorical_crossentropy: {label_smoothing: 0.0}}
class_weight: null
optimizer:
  rmsprop:
    learning_rate: 0.0001
    weight_decay: 0.0
    gradient_accumulation_steps: null
    rho: 0.9
    momentum: 0.0
    epsilon: 1.0e-07
    centered: false
learning_rate_schedule: []
gradient_clip: null
metrics: [accuracy, {top_k: {k: 5}}]
epochs: 1
batch_size: 32
shuffle: true
deterministic: false
early_stopping: null
validation:
  holdout:
    first: 1000
    fraction: null
    column: null
    value: null
    shuffle: false
    stratify: false
"""
    )


def test_loads_again_to_an_equal_spec() -> None:
    loaded = load_spec_text(REUTERS, file="reuters.yaml", base=Path("/specs"), default_name="reuters")
    again = load_spec_text(
        dump_spec(loaded.spec), file="resolved.yaml", base=Path("/elsewhere"), default_name="resolved"
    )
    assert again.spec == loaded.spec


@settings(deadline=None)
@given(SPECS)
def test_any_spec_reads_back(values: dict[str, Any]) -> None:
    spec = ExperimentSpec.model_validate(values)
    text = dump_spec(spec)
    assert ExperimentSpec.model_validate(read(text)) == spec
    # A reader of YAML 1.1 sees the same.
    assert ExperimentSpec.model_validate(yaml.safe_load(text)) == spec


@given(
    TEXT
    | st.sampled_from(["no", "1e3", "012", "null", "~", "- a", "a: b", "# a", "=", "12:30", "2024-01-01", ""])
)
def test_any_text_reads_back_as_text(text: str) -> None:
    spec = ExperimentSpec.model_validate(
        {"dataset": "imdb", "layers": [{"dense": 1}], "loss": "mse", "description": text}
    )
    assert read(dump_spec(spec))["description"] == text
    assert yaml.safe_load(dump_spec(spec))["description"] == text


@pytest.mark.parametrize("width", [40, 60, 80])
def test_lines_fit_a_width_and_load_the_same(width: int, tmp_path: Path, specs_dir: Path) -> None:
    spec = load_spec(specs_dir / "digits.yaml").spec
    text = dump_spec(spec, width)
    assert max(map(len, text.splitlines())) <= width
    (tmp_path / "digits.yaml").write_text(text)
    assert load_spec(tmp_path / "digits.yaml").spec == spec
