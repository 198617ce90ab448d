"""A run goes on as if it had never stopped, or says why it cannot."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnrun.errors import DataError, DivergedError, LockedError, UsageError
from nnrun.experiment.running import checkpointer, resume, train
from nnrun.experiment.running.final import final_of_spec
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, StopTraining
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.limits import cxx_compiler
from nnrun.records import RunDirectory, RunRecord, member_type_of
from nnrun.records.run_record import TrialOfSweep
from nnrun.spec.reading.load import LoadedSpec, load_spec
from nnrun.training.device import exact_on
from nnrun.training.loop import EpochRecord
from tests.support.runs_on_disk import write_record
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    growing_tokens,
    load_small,
    numbers,
    record_of,
    without_seconds,
    write_small,
)


@pytest.fixture(autouse=True)
def _every_epoch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(checkpointer, "COST_SHARE", 1e9)


class StopsAfter(Listener):
    """Interrupts after an epoch, and remembers the run and what it was told."""

    def __init__(self, epoch: int | None = None) -> None:
        self.last, self.epochs, self.messages = epoch, [], []
        self.run: RunDirectory | None = None

    epochs: list[int]
    messages: list[str]
    earlier: list[EpochRecord]

    def message(self, text: str) -> None:
        self.messages.append(text)

    def started(self, start: Any) -> None:
        self.run = start.run
        self.earlier = list(start.earlier)

    def epoch(self, record: EpochRecord) -> None:
        self.epochs.append(record.epoch)
        if record.epoch == self.last:
            raise StopTraining("enough")


def stopped(
    loaded: LoadedSpec, folder: Path, epoch: int, selection: Selection | None = None, **settings: Any
) -> RunDirectory:
    """A run that was interrupted after an epoch."""
    listener = StopsAfter(epoch)
    with pytest.raises(StopTraining):
        run_experiment(
            loaded,
            Settings("train", folder / "stopped", selection=selection or Selection(), **settings),
            listener,
        )
    assert listener.run is not None
    return listener.run


def check_same(run: RunDirectory, whole: RunDirectory) -> None:
    assert without_seconds(run.path) == without_seconds(whole.path)
    assert run.members() == whole.members()
    for member in [*run.members()] or [None]:
        for which in ("last", "best"):
            mine, theirs = run.read_kept_weights(member, which), whole.read_kept_weights(member, which)
            assert mine.epoch == theirs.epoch
            assert {name: value.tobytes() for name, value in mine.arrays.items()} == {
                name: value.tobytes() for name, value in theirs.arrays.items()
            }
    changing = {"id", "started", "ended", "training_seconds", "resumed", "error"}
    mine_, theirs_ = run.read_record().to_json(), whole.read_record().to_json()
    assert {k: v for k, v in mine_.items() if k not in changing} == {
        k: v for k, v in theirs_.items() if k not in changing
    }


OPTIMIZERS: dict[str, Any] = {
    "rmsprop, centered, momentum": {"rmsprop": {"centered": True, "momentum": 0.9}},
    "sgd, nesterov": {"sgd": {"momentum": 0.9, "nesterov": True}},
    "adam, amsgrad": {"adam": {"amsgrad": True}},
    "adamw": "adamw",
    "adagrad": "adagrad",
    "muon": {"muon": {"learning_rate": 0.01, "exclude_layers": 1}},
    "averages": {"adam": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 5}},
}
DROPOUT: list[Any] = [{"dense": {"units": 8, "activation": "relu"}}, {"dropout": 0.4}, {"dense": 1}]
_IMAGES = np.random.default_rng(0).normal(size=(48, 5, 4)).astype(np.float32)
SPECS: dict[str, dict[str, Any]] = {
    "augmented images": {
        "arrays": {"x_train": _IMAGES, "y_train": _IMAGES.sum((1, 2))},
        "preprocessing": {"inputs": {"augment": {"flip": "both", "shift": 0.2, "rotate": 9, "zoom": 0.1}}},
        "layers": ["flatten", {"dense": {"units": 8, "activation": "relu"}}, {"dense": 1}],
    },
    **{name: {"optimizer": optimizer} for name, optimizer in OPTIMIZERS.items()},
    "dropout": {"layers": DROPOUT},
    "no shuffle": {"shuffle": False},
    "folds": {"validation": {"kfold": {"k": 3, "shuffle": True, "repeats": 2}}},
    "early stopping": {
        "validation": {"kfold": {"k": 3}},
        "early_stopping": {"patience": 1, "restore_best": True},
        "optimizer": {"adam": 0.1},
    },
    "averages and early stopping": {
        "validation": {"kfold": {"k": 3}},
        "early_stopping": {"patience": 1},
        "optimizer": {"muon": {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.8}},
    },
    "plateau": {
        "learning_rate_schedule": {"reduce_on_plateau": {"patience": 1}},
        "validation": {"kfold": {"k": 3}},
        "optimizer": {"adam": 0.1},
    },
    "clipped": {"gradient_clip": 0.1},
    "no decay of biases": {"optimizer": {"adam": {"weight_decay": 0.5, "exclude_from_weight_decay": "bias"}}},
    "quantiles of the target": {"preprocessing": {"targets": "quantile"}, "validation": {"kfold": {"k": 3}}},
    "inner rows": {
        "validation": {"kfold": {"k": 3}},
        "early_stopping": {"on": "inner", "patience": 1, "restore_best": True},
        "learning_rate_schedule": {"reduce_on_plateau": {"patience": 0}},
        "optimizer": {"adam": 0.1},
    },
    "ema": {"weight_averaging": "ema", "validation": {"kfold": {"k": 3}}, "optimizer": "adamw"},
    "swa": {"weight_averaging": {"swa": 2}, "early_stopping": {"patience": 1, "restore_best": True}},
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("epoch", [1, 4])
def test_bit_for_bit(name: str, epoch: int, tmp_path: Path) -> None:
    loaded = load_small(tmp_path, REGRESSION, **(SPECS[name] | {"epochs": 6}))
    whole = run_experiment(loaded, Settings("train", tmp_path / "whole"))
    run = stopped(loaded, tmp_path, epoch)
    listener = StopsAfter()
    assert resume_run(run, listener=listener)
    assert listener.epochs == list(range(epoch + 1, whole.read_record().epochs_run + 1))
    assert listener.messages[0] == f"resuming {run.id} after epoch {epoch}"
    check_same(run, whole)
    assert [record.epoch for record in listener.earlier] == list(range(1, epoch + 1))
    table = whole.read_history()
    kind = member_type_of(table.columns)
    for record in listener.earlier:
        rows = table[table["epoch"] == record.epoch]
        numbers = [0] if kind is None else rows[kind].tolist()
        assert {n: row["val_loss"] for n, row in record.rows.items()} == dict(
            zip(numbers, rows["val_loss"], strict=True)
        )


@pytest.mark.parametrize("epoch", [1, 3])
def test_sparse_rows_of_folds_of_several_widths(epoch: int, tmp_path: Path) -> None:
    spec = {"preprocessing": {"inputs": "multi_hot"}, "validation": {"kfold": {"k": 3}}, "epochs": 4}
    write_small(tmp_path, BINARY, growing_tokens(), **spec, batch_size=2)
    loaded = load_spec(tmp_path / "small.yaml")
    whole = run_experiment(loaded, Settings("train", tmp_path / "whole"))
    run = stopped(loaded, tmp_path, epoch)
    resume_run(run)
    check_same(run, whole)


def test_seeds(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, BINARY, epochs=5)
    selection = Selection(seeds=3)
    whole = run_experiment(loaded, Settings("train", tmp_path / "whole", selection=selection))
    run = stopped(loaded, tmp_path, 2, selection)
    resume_run(run)
    check_same(run, whole)


def test_one_fold_alone(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, epochs=5, validation={"kfold": {"k": 3}})
    selection = Selection(only_fold=2)
    whole = run_experiment(loaded, Settings("train", tmp_path / "whole", selection=selection))
    run = stopped(loaded, tmp_path, 3, selection)
    resume_run(run)
    check_same(run, whole)


def test_given_weights_need_not_be_there_any_more(tmp_path: Path) -> None:
    first = run_experiment(load_small(tmp_path, epochs=1), Settings("train", tmp_path / "first"))
    given = tmp_path / "given.safetensors"
    given.write_bytes((first.path / "weights.safetensors").read_bytes())
    loaded = load_small(tmp_path, epochs=4, init_weights=str(given))
    whole = run_experiment(loaded, Settings("train", tmp_path / "whole"))
    run = stopped(loaded, tmp_path, 2)
    given.unlink()
    resume_run(run)
    check_same(run, whole)


def test_a_final_run_looks_at_the_test_set_once(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, epochs=4)
    whole = final_of_spec(loaded, Settings("final", tmp_path / "whole"))
    listener = StopsAfter(2)
    with pytest.raises(StopTraining):
        final_of_spec(loaded, Settings("final", tmp_path / "stopped"), listener=listener)
    run = listener.run
    assert run is not None
    assert run.read_record().test_uses == []
    resume_run(run)
    record = run.read_record().to_json()
    assert record["test"] == whole.read_record().test
    assert len(record["test_uses"]) == 1
    assert not resume_run(run)
    assert len(run.read_record().test_uses) == 1


def test_rows_written_after_the_checkpoint_are_trained_again(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, epochs=5)
    whole = run_experiment(loaded, Settings("train", tmp_path / "whole"))
    run = stopped(loaded, tmp_path, 3)
    history = run.path / "history.csv"
    history.write_bytes(history.read_bytes() + b"4,9.0,9.0,9.0,9.0,0.001,1.0\n5,1.")
    resume_run(run)
    check_same(run, whole)


def test_a_run_that_completed_is_left_as_it_is(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path), Settings("train", tmp_path / "runs"))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert not resume_run(run)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_more_epochs(tmp_path: Path) -> None:
    whole = run_experiment(load_small(tmp_path, epochs=6), Settings("train", tmp_path / "whole"))
    run = run_experiment(load_small(tmp_path, epochs=3), Settings("train", tmp_path / "runs"))
    assert resume_run(run, overrides=["epochs=6"])
    check_same(run, whole)
    assert run.read_resolved() == whole.read_resolved()
    other = stopped(load_small(tmp_path, epochs=3), tmp_path, 2)
    assert resume_run(other, spec=load_small(tmp_path, epochs=6).spec)
    check_same(other, whole)


def test_more_epochs_of_what_they_would_change(tmp_path: Path) -> None:
    run = stopped(load_small(tmp_path, epochs=3, learning_rate_schedule="cosine"), tmp_path, 2)
    with pytest.raises(
        UsageError, match=r"to 6 epochs: its cosine schedule was made for 3\. Start a new run\."
    ):
        resume_run(run, overrides={"epochs": 6})
    final = final_of_spec(load_small(tmp_path), Settings("final", tmp_path / "runs"))
    with pytest.raises(UsageError, match="decided before the test set is used"):
        resume_run(final, overrides={"epochs": 6})


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"batch_size": 4}, "batch_size: 8 in the run, 4 now"),
        ({"epochs": 2}, "epochs: 3 in the run, 2 now"),
        ({"optimizer": "adam"}, "optimizer: rmsprop in the run, adam now"),
        ({"layers[0].dense.units": 4}, "layers[0].dense.units: 8 in the run, 4 now"),
    ],
)
def test_another_spec_is_refused(changes: dict[str, Any], line: str, tmp_path: Path) -> None:
    loaded = load_small(tmp_path)
    run = stopped(loaded, tmp_path, 2)
    expected = (
        f"{run.id} cannot be resumed with a different spec; only the number of epochs may grow:\n  {line}\n"
        "Undo the changes, or start a new run."
    )
    for given in ({"overrides": changes}, {"spec": load_spec(tmp_path / "small.yaml", changes).spec}):
        with pytest.raises(UsageError) as refused:
            resume_run(run, **given)  # type: ignore[arg-type]
        assert str(refused.value) == expected


def test_an_edited_spec_is_refused(tmp_path: Path) -> None:
    run = stopped(load_small(tmp_path), tmp_path, 2)
    resolved = run.path / "resolved.yaml"
    resolved.write_text(resolved.read_text().replace("batch_size: 8", "batch_size: 4"))
    with pytest.raises(UsageError, match=r"batch_size: 8 in the run, 4 in its folder"):
        resume_run(run)


def test_other_data_are_refused(tmp_path: Path) -> None:
    run = stopped(load_small(tmp_path), tmp_path, 2)
    np.savez(tmp_path / "small.npz", **numbers(seed=1))  # type: ignore[arg-type]
    with pytest.raises(
        UsageError, match=r"cannot be resumed with different data:\n  small\.npz: SHA-256 [0-9a-f]{64} in"
    ):
        resume_run(run)


def test_other_versions_only_with_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stopped(load_small(tmp_path), tmp_path, 2)
    present = resume.versions()
    then = present["torch"]
    monkeypatch.setattr(resume, "versions", lambda: present | {"torch": "9.9"})
    with pytest.raises(UsageError) as refused:
        resume_run(run)
    assert str(refused.value) == (
        f"{run.id} would not continue exactly as it started:\n  torch: {then} then, 9.9 now\n"
        "Continue anyway with --allow-inexact; the run's record will say so."
    )
    assert resume_run(run, allow_inexact=True)
    (entry,) = run.read_record().to_json()["resumed"]
    assert entry["inexact"] == {"torch": {"then": then, "now": "9.9"}}


def test_a_compiled_run_that_is_not_compiled_any_more_goes_on_only_with_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As runs that torch.compile trained, in earlier versions."""
    run = stopped(load_small(tmp_path, gradient_clip={"norm": 1.0}), tmp_path, 2)
    compiled = resume.read_checkpoint_state(run)
    compiled.conditions.compiled = True
    monkeypatch.setattr(resume, "read_checkpoint_state", lambda run: compiled)
    with pytest.raises(UsageError, match="compiled: True then, False now"):
        resume_run(run)
    assert resume_run(run, allow_inexact=True)
    (entry,) = run.read_record().resumed
    assert entry.inexact == {"compiled": {"then": True, "now": False}}


def test_on_a_gpu_only_deterministic_runs_go_on_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU stands for a GPU."""
    monkeypatch.setattr(resume, "exact_on", lambda device_type, wanted: exact_on("cuda", wanted))
    run = stopped(load_small(tmp_path), tmp_path, 2)
    with pytest.raises(UsageError) as refused:
        resume_run(run)
    assert str(refused.value) == (
        f"{run.id} would not continue exactly as it started:\n"
        "  deterministic: false, and a GPU may sum in a different order each time\n"
        "Continue anyway with --allow-inexact; the run's record will say so."
    )
    assert resume_run(run, allow_inexact=True)
    (entry,) = run.read_record().to_json()["resumed"]
    assert entry["inexact"] == {"deterministic": {"then": False, "now": False}}
    other = stopped(load_small(tmp_path, deterministic=True), tmp_path, 2)
    assert resume_run(other)
    record = other.read_record().to_json()
    assert record["deterministic"] is True
    assert "inexact" not in record["resumed"][0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_deterministic_run_goes_on_exactly_on_cuda() -> None:
    """In a process of its own: this one may have used the GPU already."""
    command = [sys.executable, "-m", "nnrun", "doctor", "--verify-resume", "--device", "cuda", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["resume"]["exact"] is True


@pytest.mark.parametrize("compiled", ["off", "on"])
def test_deterministic_changes_nothing_on_a_cpu(compiled: Any, tmp_path: Path) -> None:
    if compiled == "on" and cxx_compiler() is None:
        pytest.skip("there is no C++ compiler")
    one, other = (
        run_experiment(
            load_small(tmp_path, deterministic=wanted),
            Settings("train", tmp_path / "runs", device="cpu", compile=compiled),
        )
        for wanted in (False, True)
    )
    assert without_seconds(one.path) == without_seconds(other.path)
    weights = "weights.safetensors"
    assert (one.path / weights).read_bytes() == (other.path / weights).read_bytes()


def test_the_thread_count_is_that_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stopped(load_small(tmp_path), tmp_path, 2)
    asked: list[int] = []
    cpu_setup = train.cpu_setup
    monkeypatch.setattr(train, "cpu_setup", lambda threads: asked.append(threads) or cpu_setup(threads))
    resume_run(run)
    assert asked == [run.read_record().threads]


def test_without_a_checkpoint(tmp_path: Path) -> None:
    run = stopped(load_small(tmp_path), tmp_path, 2)
    again = f" From the start: nnrun train {run.path}/resolved.yaml"
    (checkpoint,) = run.path.glob("checkpoint-*")
    (checkpoint / "state.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match="has no intact checkpoint") as caught:
        resume_run(run)
    assert str(caught.value).endswith(again)
    for file in checkpoint.iterdir():
        file.unlink()
    checkpoint.rmdir()
    with pytest.raises(DataError, match="has no checkpoint: it ended before the first was written") as caught:
        resume_run(run)
    assert str(caught.value).endswith(again)


@pytest.mark.parametrize(
    ("record", "command"),
    [
        ({"command": "train"}, "nnrun train"),
        ({"command": "train", "seeds": [3, 4]}, "nnrun train --seeds 2"),
        ({"command": "kfold", "folds": [0, 1, 2], "smoke": True}, "nnrun train --smoke"),
        ({"command": "kfold", "folds": [2]}, "nnrun kfold --fold 2"),
        ({"command": "final"}, "nnrun final"),
        ({"command": "final", "seeds": [0, 1]}, "nnrun final --seeds 2"),
    ],
)
def test_the_command_from_the_start_trains_the_same(
    record: dict[str, Any], command: str, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "a b")
    found = run.command_again(RunRecord(id=run.id, **record))
    assert found == f"{command} '{tmp_path}/a b/resolved.yaml'"


@pytest.mark.parametrize("key", ["group", "conditions", "history", "record"])
def test_a_checkpoint_of_somebody_else(key: str, tmp_path: Path) -> None:
    run = stopped(load_small(tmp_path), tmp_path, 2)
    kept = run.read_checkpoint(lambda found: found)
    run.write_checkpoint(kept.arrays, {k: v for k, v in kept.document.items() if k != key})
    with pytest.raises(DataError, match="was not written by nnrun"):
        resume_run(run)


def test_tensors_of_another_network(tmp_path: Path) -> None:
    run = stopped(load_small(tmp_path), tmp_path, 2)
    kept = run.read_checkpoint(lambda found: found)
    arrays = {name: array[..., :1] for name, array in kept.arrays.items()}
    run.write_checkpoint(arrays, kept.document)
    with pytest.raises(DataError, match="not those of this spec's networks"):
        resume_run(run)


def test_a_history_of_fewer_epochs(tmp_path: Path) -> None:
    run = stopped(load_small(tmp_path), tmp_path, 2)
    kept = run.read_checkpoint(lambda found: found)
    header = kept.document["history"].split("\n")[0] + "\n"
    run.write_checkpoint(kept.arrays, {**kept.document, "history": header})
    with pytest.raises(DataError, match="has the history of different epochs"):
        resume_run(run)


def test_what_diverged_would_diverge_again(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, optimizer={"sgd": 1e30}, epochs=5)
    listener = StopsAfter()
    with pytest.raises(DivergedError):
        run_experiment(loaded, Settings("train", tmp_path / "runs"), listener)
    assert listener.run is not None
    with pytest.raises(UsageError, match="cannot be resumed: it diverged, and would again"):
        resume_run(listener.run)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    run = stopped(load_small(tmp_path), tmp_path, 2)
    with run.owned(), pytest.raises(LockedError, match="another process is working on"):
        resume_run(run)


def test_a_trial_goes_on_with_its_sweep(tmp_path: Path) -> None:
    run = stopped(load_small(tmp_path), tmp_path, 2, trial=TrialOfSweep(number=1), parent="s-sweep")
    assert not run.has_checkpoint()
    with pytest.raises(UsageError, match="is a trial of s-sweep, and trials keep no checkpoints"):
        resume_run(run)


def test_checkpoints_are_rare_where_they_cost_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = RunDirectory.write_checkpoint
    monkeypatch.setattr(
        RunDirectory,
        "write_checkpoint",
        lambda run, arrays, document: written.append(document["epoch"]) or write(run, arrays, document),
    )
    monkeypatch.setattr(checkpointer, "EVERY_SECONDS", 1000.0)
    run_experiment(load_small(tmp_path, epochs=5), Settings("train", tmp_path / "runs"))
    assert written == [0, 5], "the beginning and the end"
    monkeypatch.setattr(checkpointer, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(checkpointer, "COST_SHARE", 1e-9)
    run_experiment(load_small(tmp_path, epochs=5), Settings("train", tmp_path / "runs"))
    assert written[2:] == [0, 5]


def test_nothing_in_a_checkpoint_needs_pickle(tmp_path: Path) -> None:
    run = stopped(load_small(tmp_path), tmp_path, 2)
    (checkpoint,) = run.path.glob("checkpoint-*")
    files = {path.name for path in checkpoint.iterdir()}
    assert files == {"state.safetensors", "state.json", "manifest.json"}
    assert json.loads((checkpoint / "state.json").read_text())["epoch"] == 2


NUMBERS = [10**400, -1, 2.5, float("nan"), float("inf"), True, None, "3", [], {}, 10**30]


def rewrite(run: RunDirectory, change: Any) -> None:
    """Change the state of the newest checkpoint, and its manifest with it."""
    folder = max(run.path.glob("checkpoint-*"))
    state, manifest = folder / "state.json", folder / "manifest.json"
    document = json.loads(state.read_text())
    change(document)
    state.write_text(json.dumps(document))
    written = json.loads(manifest.read_text())
    data = state.read_bytes()
    written["files"]["state.json"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest.write_text(json.dumps(written))


def test_a_record_and_a_checkpoint_with_maps_of_folds_are_resumed(tmp_path: Path) -> None:
    """As version 1 of run.json had them, and checkpoints beside it."""
    loaded = load_small(tmp_path, validation=KFOLD, epochs=3)
    whole = run_experiment(loaded, Settings("train", tmp_path / "whole"))
    run = stopped(loaded, tmp_path, 2)
    record = record_of(run.path)
    epochs = {m["member"].removeprefix("fold-"): m.pop("weights_epoch") for m in record["members"]}
    assert set(epochs.values()) == {2}
    write_record(run, record | {"version": 1, "weights_epoch": epochs})
    rewrite(run, lambda document: document.update(record={"epochs_run": 2, "weights_epoch": epochs}))
    assert resume_run(run)
    check_same(run, whole)
    assert record_of(run.path)["members"] == record_of(whole.path)["members"]


@pytest.mark.parametrize("key", ["group", "epoch", "seconds", "threads", "epochs_run", "stopped_early"])
def test_any_number_that_json_can_hold_is_refused_in_a_sentence(tmp_path: Path, key: str) -> None:
    run = stopped(load_small(tmp_path, epochs=3), tmp_path, 1)
    kept = max(run.path.glob("checkpoint-*"))
    sound = {file.name: file.read_bytes() for file in kept.iterdir()}
    before = without_seconds(run.path)
    for value in NUMBERS:

        def change(document: dict[str, Any], value: Any = value) -> None:
            if key == "threads":
                document["conditions"]["threads"] = value
            elif key in ("epochs_run", "stopped_early"):
                document["record"][key] = value
            else:
                document[key] = value

        if (key == "seconds" and value in (2.5, 10**30)) or (
            key in ("epochs_run", "stopped_early") and value in (None, {})
        ):
            continue  # these may be
        rewrite(run, change)
        with pytest.raises(DataError, match="checkpoint"):
            resume_run(run)
        assert without_seconds(run.path) == before
        for name, data in sound.items():
            (kept / name).write_bytes(data)
    assert resume_run(run)


@pytest.mark.parametrize("changes", [{"epoch": 0}, {"epoch": 2}, {"group": 1}])
def test_a_checkpoint_of_other_epochs_or_networks_is_refused(tmp_path: Path, changes: dict[str, int]) -> None:
    run = stopped(load_small(tmp_path, epochs=3), tmp_path, 1)
    rewrite(run, lambda document: document.update(changes))
    with pytest.raises(DataError, match="checkpoint"):
        resume_run(run)


def test_a_record_that_lost_its_rows_is_filled_in(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, epochs=4)
    run = stopped(loaded, tmp_path, 2)
    record = run.read_record().to_json()
    del record["rows"]
    write_record(run, record)
    assert resume_run(run)
    whole = run_experiment(loaded, Settings("train", tmp_path / "whole"))
    check_same(run, whole)


def test_what_ends_a_training_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows from the history comes after it, and its own faults must not hide the first."""

    def broken(*arguments: Any) -> Any:
        raise KeyError("weights_epoch")

    monkeypatch.setattr("nnrun.experiment.running.recorder.verdict", broken)
    listener = StopsAfter(2)
    with pytest.raises(StopTraining, match="enough"):
        run_experiment(load_small(tmp_path, epochs=4), Settings("train", tmp_path / "runs"), listener)
    assert listener.run is not None
    assert listener.run.read_record().error == "enough"
    assert (
        listener.messages[-1] == f"warning: the record of {listener.run.id} lacks its scores: 'weights_epoch'"
    )
