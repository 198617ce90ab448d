"""A network as a picture: what stands in its boxes, and from where the shapes are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import FancyBboxPatch

import nnrun
from nnrun.experiment.describing.network_picture import (
    KnownNetwork,
    network_figure,
    network_of_run,
    network_of_spec,
)
from nnrun.experiment.finished.load_run import load_run_spec
from nnrun.experiment.running.listener import Listener
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.spec.reading.load import load_spec
from tests.support.runs_on_disk import make_run
from tests.support.small_experiments import load_small, numbers, spec_text, write_small

GRAPH: dict[str, Any] = {
    "dataset": {"npz": {"path": "small.npz"}},
    "inputs": {"a": {"array": "x", "preprocessing": "standardize"}, "x": {}},
    "shared": {"encoder": [{"dense": 4}]},
    "layers": {
        "left": [{"from": "a"}, {"use": "encoder"}],
        "right": [{"from": "x"}, {"residual": [{"dense": {"units": 3, "activation": "relu"}}]}],
        "both": [{"concatenate": ["left", "right"]}, {"dropout": 0.5}],
        "again": [{"from": "x"}, {"use": "encoder"}],
        "size": [{"add": ["left", "again"]}, {"dense": 1}],
        "kind": [{"from": "both"}, {"dense": {"units": 2, "activation": "softmax"}}],
    },
    "outputs": {
        "size": {"target": "y", "loss": "mse", "loss_weight": 0.25},
        "kind": {"target": "k", "loss": "categorical_crossentropy", "preprocessing": "one_hot"},
    },
    "epochs": 1,
}


def arrays() -> dict[str, np.ndarray]:
    found = numbers()
    return {**found, **{f"k_{part}": (found[f"y_{part}"] > 0).astype(int) for part in ("train", "test")}}


def lines_of(spec: schema.ExperimentSpec, known: KnownNetwork) -> list[str]:
    return [text.get_text() for text in network_figure(spec, known).axes[0].texts]


def test_the_boxes_of_a_graph(tmp_path: Path) -> None:
    spec = load_small(tmp_path, GRAPH, arrays=arrays()).spec
    assert lines_of(spec, network_of_spec(spec, None)) == [
        *("input a", "array x", "standardize", "→ 3"),
        *("input x", "array x", "→ 3"),
        *("dense, linear", "left.1.0 → 4", "16 parameters", "shared encoder"),
        *("dense, relu", "right.1.0 → 3", "12 parameters"),
        *("add (residual)", "right.1 → 3"),
        *("dense, linear", "again.1.0 → 4", "the same weights", "shared encoder"),
        *("concatenate", "both.0 → 7"),
        *("dropout 0.5", "both.1 → 7"),
        *("add", "size.0 → 4"),
        *("dense, linear", "size.1 → 1", "5 parameters"),
        *("dense, softmax", "kind.1 → 2", "16 parameters"),
        *("output size", "0.25 * mse", "target y"),
        *("output kind", "categorical_crossentropy", "target k, one_hot"),
    ]


def test_the_boxes_of_a_list(tmp_path: Path) -> None:
    spec = load_small(tmp_path).spec
    assert lines_of(spec, network_of_spec(spec, None)) == [
        *("input", "small.npz", "standardize", "→ 3"),
        *("dense, relu", "0 → 8", "32 parameters"),
        *("dense, linear", "1 → 1", "9 parameters"),
        *("output", "mse"),
    ]


def test_long_lists_of_steps_and_columns_are_told_in_short(tmp_path: Path) -> None:
    columns = [f"a_column_of_the_table_{number}" for number in range(4)]
    steps = [{"impute": {"strategy": "median", "indicator": True}}, "standardize", "one_hot"]
    spec = spec_text(
        {
            "dataset": {"csv": {"path": "t.csv"}},
            "inputs": {"x": {"columns": columns, "preprocessing": steps}},
            "layers": {"price": [{"from": "x"}, {"dense": 1}]},
            "outputs": {"price": {"loss": "mse"}},
            "epochs": 1,
        }
    ).spec
    assert lines_of(spec, KnownNetwork(None))[:3] == [
        "input x",
        "4 columns",
        "impute, standardize, one_hot",
    ]


def test_without_shapes_the_spec_tells_what_a_layer_is(tmp_path: Path) -> None:
    layers = [
        {
            "parallel": {
                "merge": "add",
                "branches": [[{"dense": {"units": 8, "activation": "relu"}}], [{"dense": 8}]],
            }
        },
        "batch_normalization",
        {"dense": 1},
    ]
    spec = spec_text(dataset={"csv": {"path": "t.csv", "target": "price"}}, layers=layers).spec
    assert lines_of(spec, KnownNetwork(None)) == [
        *("input", "t.csv", "standardize"),
        *("dense", "0.0.0", "units: 8, activation: relu"),
        *("dense", "0.1.0", "8"),
        *("add (parallel)", "0"),
        *("batch_normalization", "1"),
        *("dense", "2", "1"),
        *("output", "mse", "target price"),
    ]


def test_what_the_spec_tells_alone_needs_no_data(specs_dir: Path, tmp_path: Path) -> None:
    """Reuters with its 10,000 words; nothing is loaded, and so nothing is said."""
    said: list[str] = []

    class Ears(Listener):
        def message(self, text: str) -> None:
            said.append(text)

    spec = load_spec(specs_dir / "reuters.yaml").spec
    known = network_of_spec(spec, tmp_path, Ears())
    assert known.network is not None
    assert known.network.inputs == {"(input)": (10_000,)}
    assert said == []


def test_every_example_can_be_drawn(specs_dir: Path) -> None:
    """By the spec alone: a box for each input, layer, merge and output."""
    for path in sorted(specs_dir.glob("*.yaml")):
        spec = load_spec(path).spec
        graph = graph_of(spec)
        frames = network_figure(spec, KnownNetwork(None)).axes[0].patches
        boxes = sum(isinstance(frame, FancyBboxPatch) for frame in frames) // 2  # its face and its edge
        assert boxes == len(graph.inputs) + len(graph.nodes) + len(graph.outputs), path


def test_missing_data_are_told(tmp_path: Path) -> None:
    loaded = spec_text(dataset={"csv": {"path": str(tmp_path / "t.csv"), "target": "price"}})
    known = network_of_spec(loaded.spec, None)
    assert known.network is None
    assert known.missing == f"{tmp_path / 't.csv'} does not exist."


def test_custom_code_that_may_not_run_is_told(tmp_path: Path) -> None:
    layers = [{"custom": "mine:Layer"}, {"dense": 1}]
    spec = load_small(tmp_path, layers=layers).spec
    known = network_of_spec(spec, None)
    assert known.network is None
    assert known.missing == "the shapes follow from custom code, which runs with --allow-custom mine"
    assert lines_of(spec, known)[3:6] == ["custom", "0", '"mine:Layer"']


def test_a_run_is_drawn_by_what_it_kept(tmp_path: Path) -> None:
    """Its data are gone."""
    path = write_small(tmp_path, GRAPH, arrays())
    run = RunDirectory(nnrun.train(path, runs_dir=tmp_path / "runs").path)
    (tmp_path / "small.npz").unlink()
    spec = load_run_spec(run).spec
    assert network_of_spec(spec, None).network is None
    drawn = lines_of(spec, network_of_run(run, spec, None))
    assert drawn[:4] == ["input a", "array x", "standardize", "→ 3"]
    assert "16 parameters" in drawn


def test_a_run_that_kept_nothing_is_drawn_by_its_spec(tmp_path: Path) -> None:
    spec = load_small(tmp_path).spec
    known = network_of_run(make_run(tmp_path / "runs", "one"), spec, None)
    assert known.network is not None
    assert [row.parameters for row in known.network.summary()] == [32, 9]
