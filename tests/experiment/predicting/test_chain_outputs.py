"""Chains of dense layers, predicted in C++: PyTorch's numbers, whoever is beside a row."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data import load_dataset
from nnrun.data.dataset import taken_rows
from nnrun.data.rows import DenseRows, SparseRows
from nnrun.experiment.finished.load_run import choose_networks, load_spec_of_networks
from nnrun.experiment.predicting import outputs
from nnrun.experiment.predicting.chain_outputs import chain_outputs
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.limits import cxx_compiler
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.training.backends.native_outputs import NativeOutputs
from nnrun.training.device import is_surely_cpu, resolve_device
from tests.support.small_experiments import BINARY, REGRESSION, growing_tokens, load_small, numbers, spec_text

pytestmark = pytest.mark.skipif(cxx_compiler() is None, reason="needs a C++ compiler")

CPU = resolve_device("cpu")
THREE = [{"dense": {"units": 8, "activation": "relu"}}, {"dense": {"units": 3, "activation": "softmax"}}]
CLASSES = {
    **REGRESSION,
    "layers": THREE,
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
}
TOKENS = {**BINARY, "preprocessing": {"inputs": "multi_hot"}}


def three_classes() -> dict[str, np.ndarray]:
    arrays = numbers()
    return {name: (a > 3).astype(int) + (a > 6) if name[0] == "y" else a for name, a in arrays.items()}


def trained(folder: Path, spec: dict[str, Any], arrays: Any = None, **changes: Any) -> RunDirectory:
    loaded = load_small(folder, spec, **({} if arrays is None else {"arrays": arrays}), **changes)
    return run_experiment(loaded, Settings("train", folder / "runs", None, "cpu"))


@pytest.mark.parametrize(
    ("spec", "arrays", "rows"),
    [
        (REGRESSION, None, numbers(seed=1)["x_train"]),
        (BINARY, None, numbers(seed=1)["x_train"]),
        (CLASSES, three_classes(), numbers(seed=1)["x_train"]),
        (TOKENS, growing_tokens(), None),
        ({**BINARY, "calibrate": "temperature"}, None, numbers(seed=1)["x_train"]),
        (
            {**REGRESSION, "optimizer": "nadam", "loss": "log_cosh", "gradient_clip": {"norm": 1.0}},
            None,
            numbers(seed=1)["x_train"],
        ),
    ],
    ids=["linear", "sigmoid", "softmax", "sparse rows", "calibrated", "trained by PyTorch"],
)
@pytest.mark.parametrize("logits", [False, True])
def test_they_are_pytorch_s(
    spec: dict[str, Any], arrays: Any, rows: Any, logits: bool, tmp_path: Path
) -> None:
    run = trained(tmp_path, spec, arrays)
    (network,), _ = choose_networks(run, None, "last")
    own = load_spec_of_networks(run)
    if own.calibrate is not None:
        own = own.model_copy(update={"calibrate": schema.Temperature(temperature=0.7)})
    if rows is None:
        rows = load_dataset(own.dataset).train.inputs
    ours = chain_outputs(own, network.fitted, network.weights, logits=logits)
    assert ours is not None
    found = ours({INPUT: rows})[OUTPUT]
    made = outputs.make_inputs([network.fitted], {INPUT: rows}, CPU)
    theirs = outputs.outputs_of_inputs(own, network.fitted, network.weights, CPU, logits=logits)
    expected = theirs(made, len(rows))[OUTPUT]
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    empty = ours({INPUT: taken_rows(rows, np.arange(0))})[OUTPUT]
    assert empty.shape == (1, 0, found.shape[2])


def network(hidden: int, units: int) -> tuple[schema.ExperimentSpec, dict[str, np.ndarray]]:
    layers = [{"dense": {"units": hidden, "activation": "tanh"}}, {"dropout": 0.5}, {"dense": units}]
    rng = np.random.default_rng(0)
    weights = {
        "0.weight": rng.normal(size=(21, hidden)),
        "0.bias": rng.normal(size=hidden),
        "2.weight": rng.normal(size=(hidden, units)),
        "2.bias": rng.normal(size=units),
    }
    spec = spec_text(layers=layers).spec
    return spec, {name: value.astype(np.float32) for name, value in weights.items()}


@given(
    st.sampled_from([1, 2, 7, 64, 130]),
    st.sampled_from([1, 3, 70]),
    st.integers(1, 700),
    st.integers(0, 699),
    st.booleans(),
)
def test_a_row_has_the_same_bits_whoever_is_beside_it(
    hidden: int, units: int, rows: int, first: int, sparse: bool
) -> None:
    native = NativeOutputs.of(*network(hidden, units))
    assert native is not None
    x = np.random.default_rng(1).normal(size=(1400, 21)).astype(np.float32)
    x[np.abs(x) < 1] = 0

    def asked(chosen: np.ndarray) -> np.ndarray:
        if not sparse:
            return native.of_dense(DenseRows(chosen).x_NF)
        from scipy.sparse import csr_array

        found = SparseRows.of_matrix(csr_array(chosen))
        return native.of_sparse(found.indptr, found.indices, found.values)

    assert asked(x[first : first + rows]).tobytes() == asked(x)[first : first + rows].tobytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": [{"dense": 4}, "batch_normalization", {"dense": 1}]},
        {"layers": [{"dense": {"units": 1, "activation": "softplus"}}]},
        {"ensemble": {"members": 2}},
    ],
    ids=["another layer", "another last activation", "an ensemble"],
)
def test_pytorch_computes_the_others(changes: dict[str, Any], tmp_path: Path) -> None:
    run = trained(tmp_path, REGRESSION, **changes)
    (network,), _ = choose_networks(run, None, "last")
    assert chain_outputs(load_spec_of_networks(run), network.fitted, network.weights) is None


def test_many_rows_are_prepared_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tmp_path, REGRESSION)
    (network,), _ = choose_networks(run, None, "last")
    spec, rows = load_spec_of_networks(run), numbers(seed=2)["x_train"]
    at_once = chain_outputs(spec, network.fitted, network.weights)
    monkeypatch.setattr("nnrun.experiment.predicting.chain_outputs.BLOCK_ELEMENTS", 15)
    in_blocks = chain_outputs(spec, network.fitted, network.weights)
    assert at_once is not None
    assert in_blocks is not None
    assert at_once({INPUT: rows})[OUTPUT].tobytes() == in_blocks({INPUT: rows})[OUTPUT].tobytes()


@pytest.mark.parametrize("wanted", ["auto", "cpu", "cuda"])
def test_the_cpu_is_known_without_pytorch_only_where_it_is_the_device(wanted: str) -> None:
    code = (
        f"import sys; from nnrun.training.device import is_surely_cpu, resolve_device; "
        f"known = is_surely_cpu({wanted!r}); assert 'torch' not in sys.modules; "
        f"print(known and resolve_device({wanted!r}).type != 'cpu')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert not is_surely_cpu("cuda")
