"""Runs of an ensemble: all that reads them takes it for one network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnrun
from nnrun.experiment.describing.describe_spec import describe_spec
from nnrun.experiment.exporting.export import export_run
from nnrun.experiment.predicting.predict_split import predict_split
from nnrun.experiment.running import checkpointer
from nnrun.experiment.running.final import final_of_spec
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, StopTraining
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from nnrun.training.loop import EpochRecord
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    load_small,
    numbers,
    record_of,
    without_seconds,
    yes_or_no,
)

WITH_DROPOUT = [
    {"dense": {"units": 6, "activation": "relu"}},
    {"dropout": 0.25},
    "batch_normalization",
    {"dense": 1},
]
ENSEMBLE: dict[str, Any] = {"ensemble": {"members": 4}, "layers": WITH_DROPOUT}


def trained(folder: Path, selection: Selection | None = None, **changes: Any) -> RunDirectory:
    loaded = load_small(folder, REGRESSION, **{**ENSEMBLE, **changes})
    return run_experiment(loaded, Settings("train", folder / "runs", selection=selection or Selection()))


@pytest.mark.parametrize("kind", ["batch", "independent"])
@pytest.mark.parametrize("targets", ["none", "standardize", "log1p"])
def test_predictions_of_new_rows_and_of_its_own_give_the_recorded_scores(
    kind: str, targets: str, tmp_path: Path
) -> None:
    arrays = {name: np.abs(a) if name.startswith("y") else a for name, a in numbers().items()}
    loaded = load_small(
        tmp_path,
        {**REGRESSION, **ENSEMBLE},
        ensemble={"members": 3, "kind": kind},
        preprocessing={"inputs": "standardize", "targets": targets},
    )
    np.savez(tmp_path / "small.npz", **arrays)  # type: ignore[arg-type]
    run = run_experiment(loaded, Settings("train", tmp_path / "runs"))
    x, y = arrays["x_train"][:16], arrays["y_train"][:16]
    of_split = predict_split(run, "validation").table()["prediction"].to_numpy(float)
    of_new = nnrun.predict(run.path, x)["prediction"].to_numpy(float)
    np.testing.assert_allclose(of_new, of_split, rtol=1e-6)
    last = run.read_history().iloc[-1]
    assert last["val_mae"] == pytest.approx(np.abs(of_new - y).mean(), rel=1e-5)
    scale, std = (np.log1p if targets == "log1p" else np.asarray), 1.0
    if targets == "standardize":
        std = arrays["y_train"][16:].std()
    wanted = (((scale(of_new) - scale(y)) / std) ** 2).mean()
    assert last["val_loss"] == pytest.approx(wanted, rel=1e-4)


def test_probabilities_are_the_mean_of_the_members(tmp_path: Path) -> None:
    """By the weights file, computed by hand."""
    loaded = load_small(tmp_path, BINARY, ensemble={"members": 3}, preprocessing={"inputs": "none"})
    run = run_experiment(loaded, Settings("train", tmp_path / "runs"))
    own, x = run.read_weights(), yes_or_no()["x_test"]
    members = []
    for k in range(3):
        h = np.maximum((x * own["0.r"][k]) @ own["0.weight"].T * own["0.s"][k] + own["0.bias"][k], 0)
        members.append(1 / (1 + np.exp(-(h @ own["1.weight"][k].T + own["1.bias"][k])[:, 0])))
    found = nnrun.predict(run.path, x)
    positive = np.where(found["prediction"] == 1, found["probability"], 1 - found["probability"])
    np.testing.assert_allclose(positive.astype(float), np.mean(members, axis=0), atol=1e-6)


def test_a_fold_alone_is_the_fold_beside_others(tmp_path: Path) -> None:
    together = trained(tmp_path, validation=KFOLD)
    for fold, member in enumerate(together.members()):
        alone = trained(tmp_path, Selection(only_fold=fold), validation=KFOLD)
        for name, value in together.read_weights(member).items():
            found = alone.read_weights(member)[name]
            np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_seeds_are_replicas_of_it(tmp_path: Path) -> None:
    run = trained(tmp_path, Selection(seeds=2))
    first, second = (run.read_weights(member) for member in run.members())
    assert first["0.weight"].shape == (6, 3)
    assert first["3.weight"].shape == (4, 1, 6)
    assert not np.array_equal(first["0.weight"], second["0.weight"])


class _StopsAfter(Listener):
    def __init__(self, epoch: int) -> None:
        self.last = epoch
        self.run: RunDirectory | None = None

    def started(self, start: Any) -> None:
        self.run = start.run

    def epoch(self, record: EpochRecord) -> None:
        if record.epoch == self.last:
            raise StopTraining("enough")


def test_it_goes_on_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(checkpointer, "COST_SHARE", 1e9)
    whole = trained(tmp_path, validation=KFOLD)
    loaded, listener = load_small(tmp_path, REGRESSION, **ENSEMBLE, validation=KFOLD), _StopsAfter(2)
    with pytest.raises(StopTraining):
        run_experiment(loaded, Settings("train", tmp_path / "stopped"), listener)
    assert listener.run is not None
    run = listener.run
    resume_run(run)
    assert without_seconds(run.path) == without_seconds(whole.path)
    for member in whole.members():
        for name, value in whole.read_weights(member).items():
            np.testing.assert_array_equal(run.read_weights(member)[name], value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("format_", ["safetensors", "pt2", "onnx"])
@pytest.mark.parametrize("targets", ["none", "log1p", "quantile"])
def test_a_file_holds_the_whole_of_it(format_: Any, targets: str, tmp_path: Path) -> None:
    """Writing compares the file's predictions with the run's."""
    if format_ == "onnx":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(name, reason="ONNX comes with the extra `onnx`")
    arrays = {name: np.abs(a) if name.startswith("y") else a for name, a in numbers().items()}
    preprocessing = {"inputs": "standardize", "targets": targets}
    loaded = load_small(tmp_path, {**REGRESSION, **ENSEMBLE}, preprocessing=preprocessing)
    np.savez(tmp_path / "small.npz", **arrays)  # type: ignore[arg-type]
    run = run_experiment(loaded, Settings("train", tmp_path / "runs"))
    found = export_run(run, tmp_path / "file", format_)
    assert found.difference < 1e-5
    assert (tmp_path / "file").exists()


def test_the_final_network_is_one_and_its_test_score_that_of_the_mean(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, REGRESSION, **ENSEMBLE)
    run = final_of_spec(loaded, Settings("final", tmp_path / "runs"))
    arrays = numbers()
    found = nnrun.predict(run.path, arrays["x_test"])["prediction"].to_numpy(float)
    mae = np.abs(found - arrays["y_test"]).mean()
    assert record_of(run.path)["test"]["mae"] == pytest.approx(mae, rel=1e-5)


def test_memory_grows_with_the_members(tmp_path: Path) -> None:
    small = describe_spec(load_small(tmp_path, REGRESSION).spec, None)
    large = describe_spec(load_small(tmp_path, REGRESSION, ensemble={"members": 30}).spec, None)
    assert small.memory is not None
    assert large.memory is not None
    assert small.parameters == 41
    assert large.parameters == 24 + 30 * (3 + 8 + 8 + 8 + 1)
    assert large.memory.work > 5 * small.memory.work
    assert large.memory.least > 20 * small.memory.least


def test_memory_counts_the_kernels_that_are_made_for_members(tmp_path: Path) -> None:
    """Shared kernels are few parameters, and a step holds one for each member."""
    layers = [{"dense": 600}, {"dense": 600}, {"dense": 1}]
    spec = load_small(tmp_path, REGRESSION, layers=layers, ensemble={"members": 16}).spec
    memory = describe_spec(spec, None).memory
    assert memory is not None
    assert memory.work > 6 * 16 * 4 * 600 * 600


@pytest.mark.parametrize("folds", [False, True])
def test_spread_is_that_of_the_members(folds: bool, tmp_path: Path) -> None:
    """Of folds that of all their members; the mean beside it is what is said without it."""
    changes: dict[str, Any] = {"ensemble": {"members": 3}, "preprocessing": {"inputs": "none"}}
    loaded = load_small(tmp_path, REGRESSION, **changes, **({"validation": KFOLD} if folds else {}))
    run = run_experiment(loaded, Settings("train", tmp_path / "runs"))
    x, said = numbers()["x_test"], []
    for member in run.members() or [None]:
        own = run.read_weights(member)
        for k in range(3):
            h = np.maximum((x * own["0.r"][k]) @ own["0.weight"].T * own["0.s"][k] + own["0.bias"][k], 0)
            said.append((h @ own["1.weight"][k].T + own["1.bias"][k])[:, 0])
    found = nnrun.predict(run.path, x, spread=True)
    assert found["prediction"].to_numpy() == pytest.approx(np.mean(said, axis=0), rel=1e-4)
    assert found["prediction_std"].to_numpy() == pytest.approx(np.std(said, axis=0, ddof=1), rel=1e-3)
    of_split = nnrun.predict(run.path, split="test", spread=True)
    for column in ("prediction", "prediction_std"):
        assert of_split[column].to_numpy() == pytest.approx(found[column].to_numpy(), rel=1e-5)
    validated = nnrun.predict(run.path, split="validation", spread=True)
    assert (validated["prediction_std"] > 0).all()
