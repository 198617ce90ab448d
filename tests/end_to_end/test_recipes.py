"""A new layer and new preprocessing steps, added to a copy of the package as CONTRIBUTING.md says.

Each takes its declaration, its class, and its line in the registry; everything else finds it by itself.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nnrun

LAYER_DECLARED = '''class Doubled(NetworkLayer):
    """The features times a gain of each, and the features as they are."""

    kind = "doubled"
    switchable = {"gain_regularizer": None}
    gain_regularizer: Regularizer | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """Twice as many along the last axis."""
        last = taken.shape[-1]
        return (*taken.shape[:-1], None if last is None else 2 * last)


'''
LAYER = """
from dataclasses import dataclass
from functools import cached_property

import torch

from nnrun.model.layers.base import Layer, Weight, along_last
from nnrun.model.layers.base import ones
from nnrun.spec import schema


@dataclass(frozen=True)
class DoubledLayer(Layer[schema.Doubled]):
    @cached_property
    def weights(self):
        gain = Weight(self.input_shape[-1:], initializer=ones, regularizer=self.spec.gain_regularizer)
        return {self.name("gain"): gain}

    def forward(self, parameters, x, rng, new_buffers):
        return torch.cat([x * along_last(parameters[self.name("gain")], x), x], -1)
"""
STEPS_DECLARED = '''class Root(PreprocessingStep):
    """The square root of a number, its sign kept, in units of the largest."""

    kind = "root"
    takes = ("number",)
    gives = "number"


class Rank(PreprocessingStep):
    """How many training rows have a smaller number."""

    kind = "rank"
    takes = ("number",)
    gives = "number"


'''
STEPS = """
from dataclasses import dataclass

import numpy as np

from nnrun.data.preprocess.fitted_step import Deviation, Finite, FittedStep
from nnrun.spec import schema


@dataclass(frozen=True)
class FittedRoot(FittedStep, spec=schema.Root, form="number", program="computed"):
    largest: Deviation

    @classmethod
    def fit(cls, step, column, context):
        return cls(float(np.nanmax(np.abs(column.values))) ** 0.5)

    def formula(self, x, xp):
        return xp.sign(x) * xp.sqrt(xp.abs(x)) / self.largest


@dataclass(frozen=True)
class FittedRank(FittedStep, spec=schema.Rank, form="number"):
    ordered: tuple[Finite, ...]

    @classmethod
    def fit(cls, step, column, context):
        return cls(tuple(sorted(column.values.tolist())))

    def transform(self, values, problems):
        return np.searchsorted(self.ordered, values) / len(self.ordered)
"""
COMMANDS = """
import json, sys
from nnrun.cli import main

print(json.dumps([main(arguments) for arguments in json.loads(sys.argv[1])]))
"""
SPEC = """
dataset: {{sklearn: iris}}
preprocessing: {{inputs: {steps}, targets: one_hot}}
layers: [{{doubled: {{gain_regularizer: l2}}}}, {{dense: {{units: 3, activation: softmax}}}}]
loss: categorical_crossentropy
metrics: [accuracy]
validation: {{kfold: 3}}
epochs: 3
"""


def insert(path: Path, before: str, text: str) -> None:
    content = path.read_text()
    assert content.count(before) == 1, (path, before)
    path.write_text(content.replace(before, text + before))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package that has the new parts: three files for each recipe."""
    folder = tmp_path_factory.mktemp("copy")
    copy = folder / "nnrun"
    shutil.copytree(Path(nnrun.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    declared = copy / "spec" / "schema" / "layers.py"
    insert(declared, "Layer = Annotated[\n", LAYER_DECLARED)
    insert(declared, "        Dense,\n", "        Doubled,\n")
    (copy / "model" / "layers" / "doubled.py").write_text(LAYER)
    registry = copy / "model" / "layers" / "__init__.py"
    insert(registry, "LAYERS: ", "from nnrun.model.layers.doubled import DoubledLayer\n\n")
    insert(registry, "    schema.Dense: DenseLayer,\n", "    schema.Doubled: DoubledLayer,\n")
    declared = copy / "spec" / "schema" / "preprocessing_steps.py"
    insert(declared, "InputStep = Annotated[\n", STEPS_DECLARED)
    insert(declared, "        MultiHot,\n", "        Root,\n        Rank,\n")
    (copy / "data" / "preprocess" / "roots.py").write_text(STEPS)
    registry = copy / "data" / "preprocess" / "registry.py"
    insert(registry, "STEPS: ", "from nnrun.data.preprocess.roots import FittedRank, FittedRoot\n\n")
    insert(registry, "    FittedStandardize,\n", "    FittedRoot,\n    FittedRank,\n")
    return folder


def run(package: Path, folder: Path, *commands: list[str]) -> tuple[list[int], str, str]:
    result = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout, result.stderr
    *output, codes = result.stdout.strip().split("\n")
    return json.loads(codes), "\n".join(output), result.stderr


@pytest.mark.slow
def test_a_new_layer_and_a_new_step_train_predict_and_are_exported(package: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.format(steps="root"))
    rows = "5.1,3.5,1.4,0.2\n6.2,2.9,4.3,1.3\n"
    (tmp_path / "rows.csv").write_text(rows)
    codes, output, errors = run(
        package,
        tmp_path,
        ["check", "spec.yaml"],
        ["train", "spec.yaml", "-q"],
        ["predict", "@last", "rows.csv"],
        ["export", "@last", "-o", "model.pt2", "--format", "pt2", "--member", "fold-1"],
    )
    assert codes == [0, 0, 0, 0], errors
    assert "checked  read again, on 150 training rows" in output
    (folder,) = (tmp_path / "runs").iterdir()
    state = json.loads((folder / "fold-0" / "preprocessing.json").read_text())
    assert list(state["table"]["columns"][0]["steps"][0]) == ["root"]


def test_check_knows_the_shapes_after_them(package: Path, tmp_path: Path) -> None:
    spec = SPEC.format(steps="root").replace(
        "{dense: {units: 3", "{reshape: [3, 3]}, flatten, {dense: {units: 3"
    )
    (tmp_path / "spec.yaml").write_text(spec)
    codes, output, errors = run(package, tmp_path, ["check", "spec.yaml"])
    assert codes == [3]
    assert "reshape to (3, 3) holds 9 numbers; doubled gives (8), 8 numbers" in output + errors


@pytest.mark.slow
def test_a_program_cannot_contain_a_step_without_a_formula(package: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.format(steps="[standardize, rank]"))
    export = ["export", "@last", "--member", "fold-1"]
    codes, output, errors = run(
        package,
        tmp_path,
        ["train", "spec.yaml", "-q"],
        [*export, "-o", "model.pt2", "--format", "pt2"],
        [*export, "-o", "model.safetensors", "--format", "safetensors"],
    )
    assert codes == [0, 2, 0], errors
    assert "An exported program cannot contain the preprocessing step rank." in errors
    assert "checked  read again, on 150 training rows" in output
    assert not (tmp_path / "model.pt2").exists()
