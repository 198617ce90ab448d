"""One run from spec to record: what is written when, and what is left however it ends."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from safetensors.numpy import save_file

from nnrun.errors import DataError, DivergedError, NnrunError, UsageError
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import SILENT, Listener, Start
from nnrun.experiment.running.recorder import RunInterrupted
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.limits import cxx_compiler
from nnrun.native.library import NotCompiledError
from nnrun.records import HistoryWriter, Member, RunDirectory
from nnrun.spec.reading.load import LoadedSpec, load_spec
from nnrun.training.loop import EpochRecord
from nnrun.validation.splits import make_folds
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    files_of,
    growing_tokens,
    load_small,
    numbers,
    of_members,
    only_run,
    record_of,
    spec_text,
    standardized,
    without_seconds,
    write_small,
)

DIVERGES = {"sgd": {"learning_rate": 1e30}}
# Each step multiplies the weights: some epochs pass before they leave the range of a float.
DIVERGES_LATER: dict[str, Any] = {"optimizer": {"sgd": {"learning_rate": 1.0}}, "layers": [{"dense": 1}]}


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(**({"command": "train", "runs_dir": folder / "runs"} | changes))


def train(folder: Path, spec: dict[str, Any] = REGRESSION, **changes: Any) -> RunDirectory:
    return run_experiment(load_small(folder, spec, **changes), settings(folder))


class Watcher(Listener):
    """Notes what it hears, looks at the run's files at each moment, and may do something to the run."""

    def __init__(self, *, at: str = "", act: BaseException | None = None) -> None:
        self.heard: list[str] = []
        self.seen: list[tuple[str, int]] = []
        self.start: Start | None = None
        self._at, self._act = at, act

    def message(self, text: str) -> None:
        self._note(f"message {text}")

    def detail(self, text: str) -> None:
        self._note(f"detail {text}")

    def started(self, start: Start) -> None:
        self.start = start
        self._note("started")

    def epoch(self, record: EpochRecord) -> None:
        self._note(f"epoch {record.epoch}")

    def ended(self) -> None:
        self._note("ended")

    def _note(self, text: str) -> None:
        self.heard.append(text)
        if self.start is not None:
            history = self.start.run.path / "history.csv"
            self.seen.append((record_of(self.start.run.path)["status"], history.read_text().count("\n") - 1))
        if text == self._at and self._act is not None:
            raise self._act


# --- a run that goes well ----------------------------------------------------------------------------------


def test_who_listens_hears_all_in_order_and_may_read_the_files_meanwhile(tmp_path: Path) -> None:
    watcher = Watcher()
    run = run_experiment(load_small(tmp_path), settings(tmp_path, compile="off"), watcher)
    record = record_of(run.path)
    assert watcher.heard == [
        f"detail data: {tmp_path}/small.npz, 60 rows, SHA-256 {record['data'][0]['sha256']}",
        "detail step by step, as --compile off says",
        "started",
        "epoch 1",
        "epoch 2",
        "epoch 3",
        "ended",
    ]
    # A row is on the disk before anybody hears of its epoch.
    assert watcher.seen == [("running", rows) for rows in (0, 1, 2, 3, 3)]
    assert watcher.start == Start(run, "small", None, [0], 3, 32, 16, 41, "cpu")


def test_the_record_says_that_compiling_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str, on_message: object) -> None:
        raise NotCompiledError("c++ failed: error: no such thing")

    monkeypatch.setattr("nnrun.training.backends.native.load_library", fails)
    monkeypatch.setattr("nnrun.training.backends.native.cxx_compiler", lambda: "/usr/bin/c++")
    assert record_of(train(tmp_path).path)["compiled"] is False


def test_the_record_says_how_it_was(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, seed=7)
    run = run_experiment(loaded, settings(tmp_path, parent="small-before", device="cpu"))
    record = record_of(run.path)
    told = {
        "name": "small",
        "command": "train",
        "status": "completed",
        "seed": 7,
        "device": "cpu",
        "threads": 1,
        "smoke": False,
        "parent": "small-before",
        "folds": None,
        "seeds": None,
        "epochs": 3,
        "epochs_run": 3,
        "rows": {"train": 32, "validation": 16, "test": 12},
        "parameters": 41,
        "compiled": cxx_compiler() is not None,
        "networks_at_once": 1,
        "test_uses": [],
        "baseline_on": "validation",
        "best_epoch": 3,
        "chosen_by": "val_loss",
    }
    assert {key: record[key] for key in told} == told
    assert record["id"] == run.path.name
    assert record["started"] <= record["ended"]
    assert record["training_seconds"] > 0
    history = run.read_history()
    measured = history.drop(columns=["epoch", "learning_rate", "seconds"])
    assert record["last"] == record["best"] == dict(measured.iloc[-1])


def test_the_same_spec_gives_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = train(tmp_path), train(tmp_path), train(tmp_path, seed=1)
    assert without_seconds(first.path) == without_seconds(again.path)
    assert without_seconds(first.path) != without_seconds(other.path)
    for name, value in first.read_weights().items():
        assert np.array_equal(value, again.read_weights()[name])
        assert not np.array_equal(value, other.read_weights()[name])


def test_the_test_set_plays_no_part_in_training(tmp_path: Path) -> None:
    """Numbers that no float32 can hold would end the run, if anyone looked at them."""
    arrays = dict(np.load(write_small(tmp_path).with_suffix(".npz")))
    usual = train(tmp_path)
    changed = train(tmp_path, arrays=arrays | {"x_test": arrays["x_test"] * 1e300})
    assert without_seconds(changed.path) == without_seconds(usual.path)
    assert record_of(changed.path)["test_uses"] == []
    assert "test" not in record_of(changed.path)


@pytest.mark.parametrize("dropout", [0, 0.3])
def test_rows_that_validate_change_no_bit_of_training(tmp_path: Path, dropout: float) -> None:
    """Shuffled and standardized: with the first 16 rows to validate on, and without them."""
    both = {"layers": [*([{"dropout": dropout}] if dropout else []), *REGRESSION["layers"]]}
    arrays = dict(np.load(write_small(tmp_path).with_suffix(".npz")))
    watched = train(tmp_path, **both)
    cut = {name: a[16:] if name.endswith("train") else a for name, a in arrays.items()}
    alone = train(tmp_path, arrays=cut, validation="none", **both)
    assert watched.read_preprocessing() == alone.read_preprocessing()
    for name, value in alone.read_weights().items():
        assert watched.read_weights()[name].tobytes() == value.tobytes()
    columns = ["epoch", "loss", "mae", "learning_rate"]
    assert watched.read_history()[columns].equals(alone.read_history()[columns])


def test_given_weights_are_where_it_starts(tmp_path: Path) -> None:
    """With a step too small to count, they are also where it ends; folds all start there."""
    rng = np.random.RandomState(5)
    given = {
        "0.weight": rng.normal(size=(8, 3)),
        "0.bias": rng.normal(size=8),
        "1.weight": rng.normal(size=(1, 8)),
        "1.bias": rng.normal(size=1),
    }
    given = {name: value.astype(np.float32) for name, value in given.items()}
    save_file(given, tmp_path / "given.safetensors")
    changes = {"init_weights": "given.safetensors", "optimizer": {"sgd": {"learning_rate": 1e-30}}}
    alone = train(tmp_path, **changes)
    folds = train(tmp_path, validation=KFOLD, **changes)
    for found in (alone.read_weights(), *(folds.read_weights(Member("fold", i)) for i in (0, 2))):
        assert {name: value.tobytes() for name, value in found.items()} == {
            name: value.tobytes() for name, value in given.items()
        }


def test_a_kfold_keeps_each_fold_and_their_mean(tmp_path: Path) -> None:
    run = train(tmp_path, validation={"kfold": {"k": 3, "shuffle": True}})
    history, mean = run.read_history(), run.read_history_mean()
    assert list(history.columns)[:2] == ["fold", "epoch"]
    assert sorted(zip(history["fold"], history["epoch"], strict=True)) == [
        (fold, epoch) for fold in range(3) for epoch in (1, 2, 3)
    ]
    by_epoch = history.groupby("epoch")
    for column in ("loss", "mae", "val_loss", "val_mae"):
        assert mean[f"{column}_mean"].tolist() == pytest.approx(by_epoch[column].mean().tolist())
        assert mean[f"{column}_std"].tolist() == pytest.approx(by_epoch[column].std().tolist())
    assert run.members() == [Member("fold", fold) for fold in (0, 1, 2)]
    assert record_of(run.path)["folds"] == [0, 1, 2]


def test_folds_of_different_vocabularies_are_all_in_the_history(tmp_path: Path) -> None:
    tokens = {**BINARY, "preprocessing": {"inputs": "multi_hot"}, "validation": KFOLD}
    run = train(tmp_path, tokens, arrays=growing_tokens())
    history = run.read_history()
    assert sorted(zip(history["fold"], history["epoch"], strict=True)) == [
        (fold, epoch) for fold in range(3) for epoch in (1, 2, 3)
    ]
    assert len(run.read_history_mean()) == 3
    widths = [run.read_weights(Member("fold", fold))["0.weight"].shape[1] for fold in range(3)]
    assert widths == [34, 34, 26]
    assert [
        run.read_preprocessing(Member("fold", fold))["inputs"][0]["multi_hot"]["dimension"]
        for fold in range(3)
    ] == widths


def test_early_stopping_is_written_down(tmp_path: Path) -> None:
    """A learning rate of 3 makes the loss jump about; what it jumps to is best early on."""
    stopping = {"monitor": "val_loss", "patience": 2, "restore_best": True}
    run = train(tmp_path, early_stopping=stopping, epochs=50, optimizer={"rmsprop": {"learning_rate": 3.0}})
    record, history = record_of(run.path), run.read_history()
    best = int(history["val_loss"].idxmin()) + 1
    assert record["best_epoch"] == best
    assert record["stopped_early"] == best + 2
    assert (record["epochs"], record["epochs_run"], len(history)) == (50, best + 2, best + 2)

    # The weights that are kept are those of the best epoch: a run of just so many epochs ends with them.
    short = train(tmp_path, epochs=best, optimizer={"rmsprop": {"learning_rate": 3.0}})
    for name, value in short.read_weights().items():
        assert np.array_equal(run.read_weights()[name], value)


def test_early_stopping_of_folds_in_several_groups_is_all_written_down(tmp_path: Path) -> None:
    """Folds of different vocabularies train one group after the other; one may not hide the other."""
    tokens = {**BINARY, "preprocessing": {"inputs": "multi_hot"}, "validation": KFOLD}
    stopping = {"monitor": "val_loss", "patience": 1}
    fast = {"optimizer": {"rmsprop": {"learning_rate": 0.3}}, "epochs": 30}
    run = train(tmp_path, tokens, arrays=growing_tokens(), early_stopping=stopping, **fast)
    last = run.read_history().groupby("fold")["epoch"].max()
    assert (last < 30).all()  # each of them stopped
    assert of_members(run.path, "stopped_early") == {str(fold): epoch for fold, epoch in last.items()}


def test_a_smoke_run_says_so(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path, epochs=9), settings(tmp_path, smoke=True))
    record = record_of(run.path)
    assert (record["smoke"], record["epochs"], record["epochs_run"]) == (True, 2, 2)
    assert record["data"][0]["note"] == "the first rows only"


def test_two_runs_at_once_share_no_folder(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, epochs=1)
    paths = {run_experiment(loaded, settings(tmp_path)).path for _ in range(5)}
    assert len(paths) == 5


# --- several seeds -----------------------------------------------------------------------------------------


def train_seeds(folder: Path, seeds: int, spec: dict[str, Any] = REGRESSION, **changes: Any) -> RunDirectory:
    selection = Selection(seeds=seeds)
    return run_experiment(load_small(folder, spec, **changes), settings(folder, selection=selection))


def test_seeds_are_kept_each_and_their_mean(tmp_path: Path) -> None:
    run = train_seeds(tmp_path, 3, seed=5)
    history, mean, record = run.read_history(), run.read_history_mean(), record_of(run.path)
    columns = ["loss", "mae", "val_loss", "val_mae"]
    assert list(history.columns) == ["seed", "epoch", *columns, "learning_rate", "seconds"]
    assert history["seed"].tolist() == [5, 6, 7] * 3
    assert history["epoch"].tolist() == [1] * 3 + [2] * 3 + [3] * 3
    assert list(mean.columns) == [
        "epoch",
        *(f"{name}_{part}" for name in history.columns[2:] for part in ("mean", "std")),
    ]
    by_epoch = history.groupby("epoch")
    for column in columns:
        assert mean[f"{column}_mean"].tolist() == pytest.approx(by_epoch[column].mean().tolist())
        assert mean[f"{column}_std"].tolist() == pytest.approx(by_epoch[column].std().tolist())
    assert run.members() == [Member("seed", seed) for seed in (5, 6, 7)]
    kept = [name for name in files_of(run.path) if not name.startswith("checkpoint-")]
    assert kept == sorted(
        [
            *("history.csv", "history_mean.csv", "labels.json", "oof.csv"),
            *("resolved.yaml", "run.json", "spec.yaml"),
            *(
                f"seed-{s}/{name}"
                for s in (5, 6, 7)
                for name in ("preprocessing.json", "weights.safetensors")
            ),
        ]
    )
    assert (record["seeds"], record["folds"], record["seed"]) == ([5, 6, 7], None, 5)
    assert of_members(run.path, "weights_epoch") == {"5": 3, "6": 3, "7": 3}
    at_best = history[history["epoch"] == record["best_epoch"]]
    for column in columns:
        values = at_best[column].to_numpy()
        assert record["best"][column] == pytest.approx(values.mean())
        assert record["best_std"][column] == pytest.approx(values.std(ddof=1))
        low, high = scipy.stats.t.interval(0.95, 2, values.mean(), scipy.stats.sem(values))
        assert record["best_interval"][column] == pytest.approx([max(low, 0), high])


def test_the_baseline_of_seeds_is_the_mean_of_those_of_their_splits(tmp_path: Path) -> None:
    drawn = {"validation": {"holdout": {"fraction": 0.25, "shuffle": True}}}
    together = record_of(train_seeds(tmp_path, 3, **drawn).path)["baseline"]
    alone = [record_of(train(tmp_path, seed=seed, **drawn).path)["baseline"] for seed in range(3)]
    assert together == pytest.approx({n: np.mean([b[n] for b in alone]) for n in together}, rel=1e-6)
    assert len({b["loss"] for b in alone}) == 3


def test_one_seed_has_its_name_too(tmp_path: Path) -> None:
    run = train_seeds(tmp_path, 1, seed=9)
    assert run.read_history()["seed"].tolist() == [9, 9, 9]
    assert run.members() == [Member("seed", 9)]
    record = record_of(run.path)
    assert record["seeds"] == [9]
    assert "best_std" not in record


def test_given_weights_are_where_every_seed_starts(tmp_path: Path) -> None:
    """The seeds then differ by the order of their rows; without shuffling, by nothing."""
    given = train(tmp_path, seed=50).path / "weights.safetensors"
    still: dict[str, Any] = {"init_weights": str(given), "optimizer": {"sgd": {"learning_rate": 1e-30}}}
    run = train_seeds(tmp_path, 2, **still)
    for member in run.members():
        weights = run.read_weights(member)
        for name, value in RunDirectory(given.parent).read_weights().items():
            assert weights[name].tobytes() == value.tobytes()
    for shuffle in (True, False):
        history = train_seeds(tmp_path, 2, init_weights=str(given), shuffle=shuffle).read_history()
        first, second = (history[history["seed"] == seed]["loss"].tolist() for seed in (0, 1))
        assert (first == pytest.approx(second, rel=1e-6)) != shuffle


def test_early_stopping_ends_each_seed_where_it_would_alone(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "early_stopping": {"monitor": "val_loss", "patience": 1, "restore_best": True},
        "optimizer": {"rmsprop": {"learning_rate": 0.3}},
        "epochs": 30,
    }
    run = train_seeds(tmp_path, 3, **changes)
    history, record = run.read_history(), record_of(run.path)
    ends = {}
    for seed in range(3):
        alone = train(tmp_path, seed=seed, **changes)
        told = record_of(alone.path)
        ends[str(seed)] = told["stopped_early"]
        assert of_members(run.path, "weights_epoch")[str(seed)] == told["weights_epoch"]
        assert (history["seed"] == seed).sum() == len(alone.read_history())
        weights = run.read_weights(Member("seed", seed))
        for name, value in alone.read_weights().items():
            np.testing.assert_allclose(weights[name], value, rtol=1e-5, atol=1e-6)
    assert of_members(run.path, "stopped_early") == ends
    assert len(set(ends.values())) > 1
    assert record["epochs_run"] == max(ends.values())
    assert record["best_epoch"] <= min(ends.values())  # of the mean over all three


def test_a_seed_that_diverges_is_named(tmp_path: Path) -> None:
    """One row is far off: seed 0 is validated on it, which a float32 can hold, and seed 1 trains on it."""
    changes: dict[str, Any] = {
        "validation": {"holdout": {"fraction": 0.5, "shuffle": True}},
        "preprocessing": {"inputs": "none"},
        "metrics": [],
        "layers": [{"dense": 1}],
        "optimizer": {"sgd": {"learning_rate": 0.001}},
        "epochs": 1,
    }
    spec, rows = spec_text(**changes).spec, numbers()
    trained = [set(make_folds(spec.validation, 48, None, seed)[0].train_rows.tolist()) for seed in (0, 1)]
    rows["x_train"][min(trained[1] - trained[0])] = 1e12
    with pytest.raises(DivergedError) as caught:
        train_seeds(tmp_path, 2, arrays=rows, **changes)
    run = RunDirectory(only_run(tmp_path / "runs"))
    assert " of seed 1 " in str(caught.value)
    record = record_of(run.path)
    assert record["status"] == "diverged"
    assert str(caught.value) == f"{record['error']} What was recorded so far is kept in {run.path}."


def test_without_validation_the_last_epoch_has_its_deviation(tmp_path: Path) -> None:
    run = train_seeds(tmp_path, 3, validation="none")
    last = run.read_history().tail(3)
    record = record_of(run.path)
    assert (record["best_epoch"], record["last_epoch"]) == (None, 3)
    assert record["last"] == pytest.approx({name: last[name].mean() for name in ("loss", "mae")})
    assert record["last_std"] == pytest.approx({name: last[name].std() for name in ("loss", "mae")})


def test_seeds_of_different_vocabularies_are_all_in_the_history(tmp_path: Path) -> None:
    """A split that is drawn may leave the last tokens out: such networks train one group after the other."""
    tokens: dict[str, Any] = {
        **BINARY,
        "preprocessing": {"inputs": "multi_hot"},
        "validation": {"holdout": {"fraction": 0.5, "shuffle": True}},
    }
    run = train_seeds(tmp_path, 4, tokens, arrays=growing_tokens())
    widths = [run.read_weights(member)["0.weight"].shape[1] for member in run.members()]
    assert len(set(widths)) > 1
    history = run.read_history()
    assert sorted(zip(history["seed"], history["epoch"], strict=True)) == [
        (seed, epoch) for seed in range(4) for epoch in (1, 2, 3)
    ]
    assert record_of(run.path)["seeds"] == [0, 1, 2, 3]
    for seed in range(4):
        alone = train(tmp_path, tokens, arrays=growing_tokens(), seed=seed).read_history()
        mine = history[history["seed"] == seed]
        assert mine["val_loss"].tolist() == pytest.approx(alone["val_loss"].tolist(), rel=1e-5)


# --- what cannot be run makes no folder --------------------------------------------------------------------


def test_missing_data(tmp_path: Path) -> None:
    loaded = load_small(tmp_path)
    os.remove(tmp_path / "small.npz")
    with pytest.raises(DataError) as caught:
        run_experiment(loaded, settings(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}/small.npz does not exist. The dataset npz needs a file with arrays x_train and y_train."
    )
    assert not (tmp_path / "runs").exists()


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    save_file({"0.weight": np.zeros((7, 3), np.float32)}, tmp_path / "given.safetensors")
    loaded = load_small(tmp_path, init_weights="given.safetensors")
    with pytest.raises(DataError) as caught:
        run_experiment(loaded, settings(tmp_path))
    assert str(caught.value) == (
        f"The weights in {tmp_path}/given.safetensors do not fit the network:\n"
        "  0.bias: needs (8,), the file has nothing\n"
        "  0.weight: needs (8, 3), the file has (7, 3)\n"
        "  1.bias: needs (1,), the file has nothing\n"
        "  1.weight: needs (1, 8), the file has nothing"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"selection": Selection(only_fold=5)}, "--fold 5: there are 3 folds, numbered from 0 to 2."),
        (
            {"selection": Selection(seeds=2)},
            "--seeds trains one split with several seeds, and this spec declares k-fold. For several splits "
            "use `nnrun kfold --repeats N` (it needs shuffle: true), or change `validation`.",
        ),
        ({"device": "gpu"}, "--device is 'gpu'; it must be auto, cpu, cuda or cuda:N, N a number from 0."),
    ],
)
def test_a_fold_or_device_that_is_not_there(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        run_experiment(load_small(tmp_path, validation=KFOLD), settings(tmp_path, **changes))
    assert str(caught.value) == sentence
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU here")
def test_a_gpu_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        run_experiment(load_small(tmp_path), settings(tmp_path, device="cuda"))
    assert str(caught.value) == (
        "--device cuda: PyTorch finds no CUDA GPU here. Use --device cpu, or see `nnrun doctor`."
    )
    assert not (tmp_path / "runs").exists()


def test_a_runs_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UsageError) as caught:
        run_experiment(load_small(tmp_path), settings(tmp_path))
    assert str(caught.value) == f"Cannot make the folder {tmp_path}/runs: a file of that name already exists."
    with pytest.raises(UsageError) as caught:
        run_experiment(load_small(tmp_path), settings(tmp_path, runs_dir=tmp_path / "runs" / "mine"))
    assert str(caught.value) == f"Cannot make the folder {tmp_path}/runs/mine: {tmp_path}/runs is a file."


# --- a run that ends before its time -----------------------------------------------------------------------


def interrupted(loaded: LoadedSpec, folder: Path, listener: Listener = SILENT) -> RunDirectory:
    """What is left of a run that somebody stops."""
    with pytest.raises(KeyboardInterrupt) as caught:
        run_experiment(loaded, settings(folder), listener)
    assert isinstance(caught.value, RunInterrupted)
    run = caught.value.run
    assert str(caught.value) == f"interrupted; what was recorded so far is kept in {run.path}"
    return run


@pytest.mark.parametrize("folds", [False, True])
def test_an_interrupted_run_is_a_shorter_run(tmp_path: Path, folds: bool) -> None:
    """Stopped after epoch 2 of 9, it holds what a run of 2 epochs holds, to the last bit."""
    changes: dict[str, Any] = {"validation": KFOLD} if folds else {}
    watcher = Watcher(at="epoch 2", act=KeyboardInterrupt())
    run = interrupted(load_small(tmp_path, epochs=9, **changes), tmp_path, watcher)
    assert watcher.heard[-1] == "ended"

    short = train(tmp_path, epochs=2, **changes)
    assert without_seconds(run.path) == without_seconds(short.path)
    for member in [Member("fold", i) for i in range(3)] if folds else [None]:
        for name, value in short.read_weights(member).items():
            assert np.array_equal(run.read_weights(member)[name], value)
    record, other = record_of(run.path), record_of(short.path)
    assert (record["status"], record["epochs"], record["epochs_run"]) == ("interrupted", 9, 2)
    assert record["ended"] is not None
    for key in ("best_epoch", "best", "last", "baseline"):
        assert record[key] == other[key]
    assert (run.path / "history_mean.csv").exists() == folds


def test_ctrl_c_between_the_rows_of_an_epoch_leaves_whole_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real signal, at the moment when fold 0 has its row of epoch 2 and the other folds have none."""
    append = HistoryWriter.append

    def append_and_signal(writer: HistoryWriter, row: dict[str, Any]) -> None:
        append(writer, row)
        if (row["fold"], row["epoch"]) == (0, 2):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(HistoryWriter, "append", append_and_signal)
    run = interrupted(load_small(tmp_path, epochs=9, validation=KFOLD), tmp_path)
    history = run.read_history()
    epochs = history["epoch"].max()
    assert epochs in (1, 2)
    assert len(history) == 3 * epochs
    assert record_of(run.path)["epochs_run"] == epochs


@pytest.mark.parametrize("step", ["write_spec", "write_resolved", "write_record"])
def test_ctrl_c_while_the_folder_is_made_leaves_no_half_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Either there is no folder, or its record says that the run was interrupted."""
    write = getattr(RunDirectory, step)

    def write_and_signal(run: RunDirectory, content: Any) -> None:
        write(run, content)
        monkeypatch.undo()  # the first write alone
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunDirectory, step, write_and_signal)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(load_small(tmp_path), settings(tmp_path))
    runs = list((tmp_path / "runs").iterdir())
    assert [record_of(run)["status"] for run in runs if (run / "run.json").exists()] == ["interrupted"] * len(
        runs
    )


def test_a_run_interrupted_before_its_first_epoch(tmp_path: Path) -> None:
    watcher = Watcher(at="started", act=KeyboardInterrupt())
    run = interrupted(load_small(tmp_path), tmp_path, watcher)
    record = record_of(run.path)
    assert (record["status"], record["epochs_run"]) == ("interrupted", 0)
    assert "best" not in record
    assert run.read_history().empty
    assert not (run.path / "weights.safetensors").exists()


@pytest.mark.parametrize("moment", ["epoch 2", "ended"])
def test_a_run_that_fails_says_why(tmp_path: Path, moment: str) -> None:
    with pytest.raises(RuntimeError, match=r"^the screen broke$"):
        run_experiment(
            load_small(tmp_path), settings(tmp_path), Watcher(at=moment, act=RuntimeError("the screen broke"))
        )
    run = RunDirectory(only_run(tmp_path / "runs"))
    record = record_of(run.path)
    assert (record["status"], record["error"]) == ("failed", "the screen broke")
    assert record["ended"] is not None
    assert len(run.read_history()) == (2 if moment == "epoch 2" else 3)
    assert (run.path / "weights.safetensors").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no room"),
        torch.OutOfMemoryError("no room"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte"),
    ],
)
def test_memory_that_runs_out_is_said_in_a_sentence(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(NnrunError) as caught:
        run_experiment(load_small(tmp_path), settings(tmp_path), Watcher(at="epoch 1", act=error))
    sentence = str(caught.value)
    assert sentence.startswith("out of memory")
    assert "Use a smaller batch_size, fewer units, fewer words (num_words) or columns, or fewer" in sentence
    assert caught.value.exit_code == 1
    record = record_of(only_run(tmp_path / "runs"))
    assert (record["status"], record["error"]) == ("failed", sentence)


def test_a_diverged_run_keeps_what_there_was(tmp_path: Path) -> None:
    with pytest.raises(DivergedError) as caught:
        train(tmp_path, **DIVERGES_LATER, epochs=50)
    run = RunDirectory(only_run(tmp_path / "runs"))
    record, history = record_of(run.path), run.read_history()
    assert record["status"] == "diverged"
    assert str(caught.value) == f"{record['error']} What was recorded so far is kept in {run.path}."
    assert 1 < record["epochs_run"] == len(history) < 50
    assert np.isfinite(history["loss"].iloc[0])
    lost = [name for name in ("loss", "val_loss") if not np.isfinite(history[name].iloc[-1])]
    assert lost
    # JSON has no word for infinity: what is no number is null, and the best epoch is one that had numbers.
    assert [record["last"][name] for name in lost] == [None] * len(lost)
    assert np.isfinite(record["best"]["val_loss"])
    # The weights are those before it went wrong.
    assert all(np.isfinite(value).all() for value in run.read_weights().values())


def test_a_run_that_diverges_at_once_has_no_weights(tmp_path: Path) -> None:
    with pytest.raises(DivergedError) as caught:
        train(tmp_path, optimizer=DIVERGES)
    run = RunDirectory(only_run(tmp_path / "runs"))
    assert str(caught.value) == (
        "the training loss stopped being a finite number in epoch 1, batch 2. Try a smaller learning rate, "
        f"standardized inputs, or targets on a smaller scale. What was recorded so far is kept in {run.path}."
    )
    record = record_of(run.path)
    assert (record["status"], record["best_epoch"], record["best"]) == ("diverged", None, {})
    assert record["verdict"] == "val_loss was never a finite number."
    assert len(run.read_history()) == 1
    assert not (run.path / "weights.safetensors").exists()


def test_a_test_set_that_cannot_be_used_was_still_looked_at(tmp_path: Path) -> None:
    """The look is counted before it is taken, so that no failure hides one."""
    arrays = dict(np.load(write_small(tmp_path).with_suffix(".npz")))
    loaded = load_small(tmp_path, arrays=arrays | {"x_test": np.full((12, 3), 1e300)}, validation="none")
    with pytest.raises(DataError):
        run_experiment(loaded, settings(tmp_path, command="final", use_test_set=True))
    record = record_of(only_run(tmp_path / "runs"))
    assert record["status"] == "failed"
    assert [use["command"] for use in record["test_uses"]] == ["final"]
    assert "test" not in record


# --- files -------------------------------------------------------------------------------------------------


def test_the_spec_is_kept_as_it_was_written_and_as_it_was_meant(tmp_path: Path) -> None:
    path = write_small(tmp_path)
    path.write_text("# my own words\n" + path.read_text())
    run = run_experiment(load_spec(path, ["epochs=2"]), settings(tmp_path))
    assert run.read_spec() == path.read_text()
    resolved = load_spec(run.path / "resolved.yaml").spec
    assert resolved == load_spec(path, ["epochs=2"]).spec
    assert resolved.epochs == 2
    assert resolved.optimizer.kind == "rmsprop"


def test_the_history_reads_back_bit_for_bit(tmp_path: Path) -> None:
    """By nnrun, and by whoever reads a CSV with Python's float()."""
    kept: list[EpochRecord] = []

    class Keeper(Listener):
        def epoch(self, record: EpochRecord) -> None:
            kept.append(record)

    run = run_experiment(load_small(tmp_path), settings(tmp_path), Keeper())
    with (run.path / "history.csv").open(newline="") as file:
        by_python = [{name: float(text) for name, text in row.items()} for row in csv.DictReader(file)]
    by_nnrun = [dict(row) for _, row in run.read_history().iterrows()]
    expected = []
    for record in kept:
        (columns,) = record.rows.values()
        ending = {"learning_rate": 0.001, "seconds": record.seconds}
        expected.append({"epoch": record.epoch, **columns, **ending})
    assert by_python == by_nnrun == expected
    assert [list(row) for row in by_python] == [list(row) for row in expected]


def test_the_preprocessing_of_a_run_is_that_of_its_training_rows(tmp_path: Path) -> None:
    run = train(tmp_path)
    rows = np.load(tmp_path / "small.npz")["x_train"][16:]
    state = json.loads((run.path / "preprocessing.json").read_text())
    step = standardized(state)
    assert step["mean"] == pytest.approx(rows.mean(0).tolist())
    assert step["std"] == pytest.approx(rows.std(0).tolist())
