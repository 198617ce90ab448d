"""A new part of each kind, added to a copy of the package by the recipes of CONTRIBUTING.md.

Each takes its declaration, its class or function, and its line in the registry; everything else finds it by
itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
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


class Jitter(NetworkLayer):
    """While training, add uniform numbers from -amount to amount."""

    kind = "jitter"
    bare = "amount"
    amount: Annotated[float, Field(ge=0)]


'''
LAYER = """
from dataclasses import dataclass
from functools import cached_property

import torch

from nnrun.model.layers.base import Layer, Weight, along_last
from nnrun.model.layers.initializers import ones
from nnrun.spec import schema


@dataclass(frozen=True)
class DoubledLayer(Layer[schema.Doubled]):
    @cached_property
    def weights(self):
        gain = Weight(self.input_shape[-1:], initializer=ones, regularizer=self.spec.gain_regularizer)
        return {self.name("gain"): gain}

    def forward(self, parameters, x, rng, new_buffers):
        return torch.cat([x * along_last(parameters[self.name("gain")], x), x], -1)


@dataclass(frozen=True)
class JitterLayer(Layer[schema.Jitter]):
    def forward(self, parameters, x, rng, new_buffers):
        return x if rng is None else x + self.spec.amount * (2 * rng.dense(self.path, x) - 1)
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
OPTIMIZER_DECLARED = '''class SignDescent(Component):
    """The sign of a mixture of the gradient and its moving mean (Chen et al. 2023)."""

    kind = "sign_descent"
    learning_rate: Positive = 0.001
    beta_1: Decay = 0.9
    beta_2: Decay = 0.99


'''
OPTIMIZER = """def _sign_descent(spec: schema.SignDescent) -> Optimizer:
    def change(w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate) -> None:
        (mean,) = slots
        _add(w, mean.lerp(g, 1 - spec.beta_1).sign_(), -lr)
        mean.lerp_(g, 1 - spec.beta_2)

    return Optimizer(spec.learning_rate, _zeros(1), change)


"""
SCHEDULE_DECLARED = '''class LinearDecay(Component):
    """From the rate down to 0 over `epochs` epochs."""

    kind = "linear_decay"
    bare = "epochs"
    epochs: Count


'''
SCHEDULE = """        case schema.LinearDecay(epochs=epochs):
            return rate * max(0.0, 1 - done / epochs)
"""
LOSS_DECLARED = '''class Cauchy(Component):
    """log(1 + error^2)."""

    kind = "cauchy"


'''
LOSS = """def _cauchy(spec: schema.Cauchy) -> RowLoss:
    return lambda z, outputs, targets: _mean_over_outputs((outputs - targets).square().log1p())


"""
METRIC_DECLARED = '''class Sharpness(ClassMetric):
    """The mean probability of the predicted class, right or not."""

    kind = "sharpness"


'''
METRIC = """def _sharpness(spec: schema.Sharpness, activation: str) -> Metric:
    def statistics(outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.maximum(outputs, 1 - outputs).double().mean(-1).sum(1, keepdim=True)

    return Metric(spec.kind, statistics)


"""
SOURCE_DECLARED = '''class Moons(DataSource):
    """Two half circles in a plane, drawn anew from `seed`; a class each."""

    kind = "moons"
    bare = "rows"
    rows: Count = 200
    seed: Seed = 0

    @property
    def facts(self) -> DatasetFacts:
        """All of them."""
        return DatasetFacts("table", "binary", 2, 2, self.rows, 0)


'''
SOURCE = """
import hashlib

import numpy as np

from nnrun.data.dataset import Dataset, Samples, SourceFile
from nnrun.data.sources.generated_rows import generated


def load(spec, context):
    if context.smoke:
        return generated("moons", spec.facts)
    rng, targets = np.random.default_rng(spec.seed), np.arange(spec.rows) % 2
    angle, side = rng.uniform(0, np.pi, spec.rows), 1 - 2 * targets
    inputs = np.stack([np.cos(angle) * side + targets, np.sin(angle) * side + targets / 2], 1)
    source = SourceFile("moons", hashlib.sha256(inputs.tobytes()).hexdigest(), spec.rows)
    return Dataset("moons", Samples(inputs, targets), None, (source,), "binary", 2)
"""
SOURCE_NAMED = """\
    schema.Moons: Source(
        "moons", (NamedSet("moons", schema.Moons(), "two half circles, a class each", home="nnrun"),)
    ),
"""
COMMAND = """
from nnrun.cli import options


def where(run: options.Run, runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR) -> None:
    \"\"\"Print the folder of a run.\"\"\"
    from nnrun.records import find_run

    print(f"kept in {find_run(run, runs_dir).path}")
"""

SCHEMA = "spec/schema/"
RECIPES: dict[str, list[tuple[str, str, str]]] = {
    "layer": [
        (SCHEMA + "basic_layers.py", "BasicLayer = Union[", LAYER_DECLARED),
        (SCHEMA + "basic_layers.py", "Prelu, Flatten", "Doubled, Jitter, "),
        ("model/layers/doubled.py", "", LAYER),
        (
            "model/layers/__init__.py",
            "LAYERS: ",
            "from nnrun.model.layers.doubled import DoubledLayer, JitterLayer\n\n",
        ),
        (
            "model/layers/__init__.py",
            "    schema.Dense: DenseLayer,\n",
            "    schema.Doubled: DoubledLayer,\n    schema.Jitter: JitterLayer,\n",
        ),
    ],
    "optimizer": [
        (SCHEMA + "optimizers_and_schedules.py", "Optimizer = Annotated[\n", OPTIMIZER_DECLARED),
        (SCHEMA + "optimizers_and_schedules.py", "        Adagrad,\n", "        SignDescent,\n"),
        ("training/optimizers.py", "OPTIMIZERS: ", OPTIMIZER),
        (
            "training/optimizers.py",
            "    schema.Adagrad: _adagrad,\n",
            "    schema.SignDescent: _sign_descent,\n",
        ),
    ],
    "learning-rate schedule": [
        (SCHEMA + "optimizers_and_schedules.py", "LearningRateSchedule = Annotated[\n", SCHEDULE_DECLARED),
        (SCHEMA + "optimizers_and_schedules.py", "        ReduceOnPlateau,\n", "        LinearDecay,\n"),
        ("training/learning_rate.py", "        case schema.Rates(", SCHEDULE),
    ],
    "loss": [
        (SCHEMA + "loss_components.py", "Loss = Annotated[\n", LOSS_DECLARED),
        (SCHEMA + "loss_components.py", "        Huber,\n", "        Cauchy,\n"),
        ("training/losses.py", "LOSSES: ", LOSS),
        ("training/losses.py", "    schema.Huber: _huber,\n", "    schema.Cauchy: _cauchy,\n"),
    ],
    "metric": [
        (SCHEMA + "metric_components.py", "class CustomMetric(Custom):\n", METRIC_DECLARED),
        (SCHEMA + "metric_components.py", "        Accuracy,\n", "        Sharpness,\n"),
        ("training/class_metrics.py", "CLASS_METRICS: ", METRIC),
        ("training/class_metrics.py", "    schema.TopK: _top_k,\n", "    schema.Sharpness: _sharpness,\n"),
    ],
    "data source": [
        (SCHEMA + "sources.py", "FILES = (", SOURCE_DECLARED),
        (SCHEMA + "sources.py", "        Reuters,\n", "        Moons,\n"),
        ("data/sources/moons.py", "", SOURCE),
        ("data/sources/__init__.py", "    schema.Npz: ", SOURCE_NAMED),
    ],
    "preprocessing step": [
        (SCHEMA + "preprocessing_steps.py", "InputStep = Annotated[\n", STEPS_DECLARED),
        (SCHEMA + "preprocessing_steps.py", "        MultiHot,\n", "        Root,\n        Rank,\n"),
        ("data/preprocess/roots.py", "", STEPS),
        (
            "data/preprocess/registry.py",
            "STEPS: ",
            "from nnrun.data.preprocess.roots import FittedRank, FittedRoot\n\n",
        ),
        ("data/preprocess/registry.py", "    FittedPad,\n]", "    FittedRoot,\n    FittedRank,\n"),
    ],
    "command": [
        ("cli/where.py", "", COMMAND),
        ("cli/app.py", '    "init": "nnrun.cli.init:init",\n', '    "where": "nnrun.cli.where:where",\n'),
    ],
}
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
MOONS = """
dataset: {moons: 120}
layers:
  - dense: {units: 4, activation: tanh}
  - dropout: 0.1
  - jitter: 0.1
  - dense: {units: 1, activation: sigmoid}
loss: cauchy
optimizer: {sign_descent: {learning_rate: 0.01}}
learning_rate_schedule: {linear_decay: 4}
metrics: [sharpness]
early_stopping: {monitor: val_sharpness, patience: 3}
validation: {holdout: {fraction: 0.25}}
epochs: 3
"""


def insert(path: Path, before: str, text: str) -> None:
    """Write a text before another one, or into a file of its own."""
    if not before:
        assert not path.exists()
        path.write_text(text)
        return
    content = path.read_text()
    assert content.count(before) == 1, (path, before)
    path.write_text(content.replace(before, text + before))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package that has the new parts."""
    folder = tmp_path_factory.mktemp("copy")
    copy = folder / "nnrun"
    # With its bytecode files, but for those that another worker is writing.
    shutil.copytree(Path(nnrun.__file__).parent, copy, ignore=shutil.ignore_patterns("*.pyc.*"))
    for recipe in RECIPES.values():
        for file, before, text in recipe:
            insert(copy / file, before, text)
    return folder


@pytest.mark.parametrize("part", RECIPES)
def test_a_recipe_touches_three_files_at_most_and_contributing_names_them(part: str) -> None:
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^\*\*An? {part}\*\*.*?(?=^\*\*An? |^#|\Z)", text, re.DOTALL | re.MULTILINE)
    files = {file if before else f"{Path(file).parent}/" for file, before, _ in RECIPES[part]}
    assert len({file for file, _, _ in RECIPES[part]}) <= 3
    assert [file for file in files if f"`{file}" not in section] == []


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
def test_new_parts_of_every_kind_train_predict_and_are_exported(package: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.format(steps="root"))
    (tmp_path / "moons.yaml").write_text(MOONS)
    rows = "5.1,3.5,1.4,0.2\n6.2,2.9,4.3,1.3\n"
    (tmp_path / "rows.csv").write_text(rows)
    codes, output, errors = run(
        package,
        tmp_path,
        ["check", "spec.yaml"],
        ["train", "spec.yaml", "-q"],
        ["predict", "@last", "rows.csv"],
        ["export", "@last", "-o", "model.pt2", "--format", "pt2", "--member", "fold-1"],
        ["check", "moons.yaml"],
        ["train", "moons.yaml", "-q"],
        ["where", "moons-"],
        ["data", "ls"],
        ["train", "moons.yaml", "-q", "--smoke", "--runs-dir", "tried"],
    )
    assert codes == [0] * 9, errors
    assert re.search(r"moons +two half circles, a class each +200 +- +comes with nnrun", output)
    assert "checked  read again, on 150 training rows" in output
    folder, moons = sorted((tmp_path / "runs").iterdir(), key=lambda run: run.name, reverse=True)
    state = json.loads((folder / "fold-0" / "preprocessing.json").read_text())
    assert list(state["table"]["columns"][0]["steps"][0]) == ["root"]
    assert f"kept in runs/{moons.name}" in output
    history = pd.read_csv(moons / "history.csv")
    assert history["learning_rate"].tolist() == pytest.approx([0.01, 0.0075, 0.005])
    best = json.loads((moons / "run.json").read_text())["best_epoch"]
    assert best == history["val_sharpness"].idxmax() + 1


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
