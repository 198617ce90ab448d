"""With `use_ema` a run trains and validates the weights, and ends with their averages, as Keras's fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.experiment.finished.used_weights import recorded_weights
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from nnrun.spec.reading.load import load_spec
from tests.support.small_experiments import REGRESSION, load_small, without_seconds, write_small

FOLDS: dict[str, Any] = {"validation": {"kfold": {"k": 3}}}


def trained(folder: Path, only_fold: int | None = None, **changes: Any) -> RunDirectory:
    """A small run; its folder and its rows are those of its number among the folder's.

    PyTorch trains it with averages or without them, so that both round alike.
    """
    loaded = load_small(folder, REGRESSION, **changes)
    selection = Selection(only_fold=only_fold)
    return run_experiment(loaded, Settings("train", folder / "runs", selection=selection, compile="off"))


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, name)


def test_history_and_best_weights_are_those_without_averages(tmp_path: Path) -> None:
    plain = trained(tmp_path, optimizer={"adam": 0.1}, epochs=5)
    run = trained(tmp_path, optimizer={"adam": {"learning_rate": 0.1, "use_ema": True}}, epochs=5)
    assert without_seconds(run.path) == without_seconds(plain.path)
    best, plain_best = (dict(each.read_kept_weights(None, "best").arrays) for each in (run, plain))
    assert_equal(best, plain_best)
    averaged, last = run.read_weights(), plain.read_weights()
    assert all((averaged[name] != last[name]).any() for name in last)


@pytest.mark.parametrize(("momentum", "epochs"), [(0.0, 4), (1.0, 1)])
def test_kept_are_the_averages(momentum: float, epochs: int, tmp_path: Path) -> None:
    """With momentum 0 they are the last weights, with 1 those of the first update, which is epoch 1's."""
    at_once = {"batch_size": 100}
    options = {"learning_rate": 0.1, "use_ema": True, "ema_momentum": momentum}
    run = trained(tmp_path, optimizer={"adam": options}, epochs=4, **at_once)
    plain = trained(tmp_path, optimizer={"adam": 0.1}, epochs=epochs, **at_once)
    assert_equal(dict(run.read_weights()), dict(plain.read_weights()))


def test_a_run_says_that_its_weights_are_averages(tmp_path: Path) -> None:
    """Even where the last epoch is the best: the weights of that are kept beside them."""
    run = trained(tmp_path, optimizer={"sgd": {"learning_rate": 0.001, "use_ema": True}}, epochs=4)
    record = run.read_record()
    assert record.best_epoch == record.epochs_run == 4
    assert record.to_json()["weights_averaged"] is True
    used = recorded_weights(record)
    assert used is not None
    assert used.sentence == (
        "weights: epoch 4, the last, averaged over its updates (use_ema); "
        "--weights best uses those of epoch 4, the best by val_loss"
    )
    last, best = (run.read_kept_weights(None, which).epoch for which in ("last", "best"))
    assert last is not None
    assert best is not None
    assert (last.averaged, last.best, best.averaged, best.best) == (True, False, False, True)


def test_weights_that_early_stopping_restores_are_no_averages(tmp_path: Path) -> None:
    early: dict[str, Any] = {"early_stopping": {"patience": 1, "restore_best": True}, "epochs": 30}
    plain = trained(tmp_path, optimizer={"adam": 0.5}, **early)
    run = trained(tmp_path, optimizer={"adam": {"learning_rate": 0.5, "use_ema": True}}, **early)
    assert_equal(dict(run.read_weights()), dict(plain.read_weights()))
    assert "weights_averaged" not in run.read_record().to_json()


@pytest.mark.parametrize(("kind", "rate"), [("adam", 0.05), ("muon", 0.4)])
def test_a_fold_alone_ends_where_it_ends_beside_others(kind: str, rate: float, tmp_path: Path) -> None:
    """Folds of other sizes make other numbers of updates, and one of them stops early."""
    options = {"learning_rate": rate, "use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 7}
    changes = {**FOLDS, "optimizer": {kind: options}, "batch_size": 5, "epochs": 12}
    changes["early_stopping"] = {"patience": 1}
    together = trained(tmp_path, **changes)
    stopped = [together.read_record().network(member).stopped_early for member in together.members()]
    assert len(set(stopped)) > 1, "folds that end together would prove less"
    for number, member in enumerate(together.members()):
        alone = trained(tmp_path, number, **changes)
        for name, value in together.read_weights(member).items():
            found = alone.read_weights(member)[name]
            np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_cpp_leaves_averages_to_pytorch(tmp_path: Path) -> None:
    from nnrun.training.backends.native import unknown_in

    path = write_small(tmp_path, optimizer={"adam": {"use_ema": True}})
    assert unknown_in(load_spec(path).spec) == "`use_ema` of `adam`"
    path = write_small(tmp_path, optimizer="muon")
    assert unknown_in(load_spec(path).spec) == "`muon`"
