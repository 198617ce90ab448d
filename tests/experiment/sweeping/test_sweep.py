"""A sweep from plan to best spec: each trial a run of its own, and what is finished is never run again."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.api import Run
from nnrun.errors import DataError, UsageError
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, Start
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.sweeping import at_work, sweep_data
from nnrun.experiment.sweeping.at_work import SweepInterrupted
from nnrun.experiment.sweeping.sweep import run_sweep
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.records import (
    RunDirectory,
    SweepDirectory,
    SweepRecord,
    TrialRecord,
    find_sweep,
    list_runs,
    list_sweeps,
)
from nnrun.spec.reading.load import load_spec
from nnrun.spec.sweep_plan import load_sweep
from nnrun.training.loop import EpochRecord
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    numbers,
    record_of,
    without_seconds,
    write_small,
)

UNITS, RATE = "layers[0].dense.units", "optimizer.rmsprop.learning_rate"
OVER = {UNITS: [4, 8], RATE: [0.01, 0.001]}


@dataclass
class Heard(SweepListener):
    """Takes note of what it is told, and does something at a moment of its own."""

    said: list[str] = field(default_factory=list)
    ended_trials: list[int] = field(default_factory=list)
    stop_in: int | None = None

    def message(self, text: str) -> None:
        self.said.append(text)

    def epoch(self, trial: TrialRecord, epoch: EpochRecord) -> None:
        if trial.number == self.stop_in and epoch.epoch == 2:
            raise KeyboardInterrupt

    def trial_ended(self, trial: TrialRecord) -> None:
        self.ended_trials.append(trial.number)


def sweep(
    folder: Path,
    over: dict[str, Any] = OVER,
    spec: dict[str, Any] = REGRESSION,
    *,
    heard: SweepListener | None = None,
    new: bool = False,
    smoke: bool = False,
    arrays: dict[str, np.ndarray] | None = None,
    **changes: Any,
) -> SweepDirectory:
    section = {"over": over, **changes.pop("sweep", {})}
    plan = load_sweep(write_small(folder, spec, arrays, sweep=section, **changes))
    settings = Settings("sweep", folder / "runs", smoke=smoke)
    return run_sweep(plan, settings, heard, new=new)


def runs_of(folder: Path) -> dict[int, Path]:
    """Trial → its only run."""
    found: dict[int, Path] = {}
    for run in list_runs(folder / "runs"):
        number = record_of(run.run.path)["trial"]["number"]
        assert number not in found
        found[number] = run.run.path
    return found


def test_every_trial_is_a_run_linked_to_the_sweep(tmp_path: Path) -> None:
    made = sweep(tmp_path)
    record = made.read_record()
    assert (record.status, record.monitor, record.maximize, record.total) == (
        "completed",
        "val_loss",
        False,
        4,
    )
    runs = runs_of(tmp_path)
    assert sorted(runs) == [1, 2, 3, 4]
    for trial in record.trials:
        run = record_of(runs[trial.number])
        assert run["trial"] == {"number": trial.number, "values": trial.values}
        assert run["sweep"] == run["parent"] == made.id
        assert (run["command"], run["status"], run["id"]) == ("sweep", "completed", trial.run)
        assert (trial.status, trial.score, trial.epoch) == (
            "completed",
            run["best"]["val_loss"],
            run["best_epoch"],
        )
        assert trial.seconds == run["training_seconds"]


def test_inner_rows_choose_the_epochs_of_trials_that_validation_rows_rank(tmp_path: Path) -> None:
    stopping = {"on": "inner", "patience": 2}
    made = sweep(tmp_path, {RATE: [0.1, 0.01]}, early_stopping=stopping, epochs=12)
    record = made.read_record()
    assert record.monitor == "val_loss"
    runs = runs_of(tmp_path)
    for trial in record.trials:
        run = RunDirectory(runs[trial.number])
        table = run.read_history()
        assert trial.epoch == run.read_record().best_epoch == int(table["inner_loss"].argmin()) + 1
        assert trial.score == table["val_loss"].iloc[trial.epoch - 1]


def test_a_trial_is_what_train_would_make_of_its_values(tmp_path: Path) -> None:
    """Byte for byte, where each trains alone."""
    sweep(tmp_path, sweep={"together": 1})
    for run in runs_of(tmp_path).values():
        values = record_of(run)["trial"]["values"]
        loaded = load_spec(tmp_path / "small.yaml", {**values, "sweep": None})
        alone = run_experiment(loaded, Settings("train", tmp_path / "alone")).path
        assert without_seconds(alone) == without_seconds(run)
        assert (alone / "resolved.yaml").read_bytes() == (run / "resolved.yaml").read_bytes()
        assert (alone / "weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()


def test_trials_of_one_architecture_train_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to `together`; and where that does not do, in halves."""
    groups: list[list[int]] = []
    real = at_work.train_stacked

    def heard(together: Any) -> Any:
        groups.append([candidate.settings.trial.number for candidate in together.candidates])
        return real(together)

    monkeypatch.setattr(at_work, "train_stacked", heard)
    over = {RATE: [0.01, 0.001, 0.0001], UNITS: [4, 8], "seed": [0, 1]}
    sweep(tmp_path, over)
    assert groups == [[1, 2, 5, 6, 9, 10], [3, 4, 7, 8, 11, 12]]
    groups.clear()
    sweep(tmp_path, over, sweep={"together": 4})
    assert groups == [[1, 2, 5, 6], [9, 10], [3, 4, 7, 8], [11, 12]]
    groups.clear()
    monkeypatch.setattr(
        "nnrun.experiment.running.side_by_side.MOST_PARAMETERS", 100
    )  # 4 networks of 21, or 2 of 41
    made = sweep(tmp_path, over, new=True)
    assert groups == [[1, 2, 5], [6, 9, 10], [4, 7], [11, 12]]  # and 3 and 8 alone
    record = made.read_record()
    assert {trial.status for trial in record.trials} == {"completed"}


def test_the_best_spec_repeats_the_best_trial(tmp_path: Path) -> None:
    made = sweep(tmp_path)
    record = made.read_record()
    best = record.ranked()[0]
    scores = [trial.score or 0.0 for trial in record.trials]
    assert (best.score, best.number) == (min(scores), record.best)
    loaded = load_spec(made.best_spec)
    assert loaded.spec.sweep is None
    assert loaded.source_text.startswith(
        f"# The best so far of {made.id}: trial {best.number} of 4, run {best.run},\n# val_loss "
    )
    again = run_experiment(loaded, Settings("train", tmp_path / "again"))
    assert without_seconds(again.path) == without_seconds(runs_of(tmp_path)[best.number])


def test_of_measures_of_which_more_is_better_the_most_is_best(tmp_path: Path) -> None:
    record = sweep(tmp_path, spec=BINARY, sweep={"monitor": "val_accuracy"}).read_record()
    assert record.maximize
    assert record.ranked()[0].score == max(trial.score or 0.0 for trial in record.trials)


def test_the_files_of_a_sweep(tmp_path: Path) -> None:
    made = sweep(tmp_path)
    files = sorted(str(path.relative_to(made.path)) for path in made.path.rglob("*") if path.is_file())
    assert files == [
        "best.yaml",
        "plots/sweep.png",
        "resolved.yaml",
        "spec.yaml",
        "sweep.json",
        "trials.csv",
    ]
    assert (made.path / "spec.yaml").read_text() == (tmp_path / "small.yaml").read_text()
    assert len((made.path / "trials.csv").read_text().splitlines()) == 5


def test_a_finished_sweep_runs_nothing(tmp_path: Path) -> None:
    made = sweep(tmp_path)
    before = runs_of(tmp_path)
    heard = Heard()
    assert sweep(tmp_path, heard=heard) == made
    assert heard.said == [f"{made.id} is already complete. To run it again: --new."]
    assert (runs_of(tmp_path), heard.ended_trials) == (before, [])
    other = sweep(tmp_path, heard=heard, new=True)
    assert (other != made, heard.ended_trials) == (True, [1, 2, 3, 4])


@pytest.mark.parametrize(
    "changes",
    [
        {"over": {**OVER, UNITS: [4, 9]}},
        {"epochs": 2},
        {"seed": 1},
        {"arrays": numbers(seed=1)},
        {"smoke": True},
    ],
    ids=["values", "spec", "seed", "data", "smoke"],
)
def test_another_content_is_another_sweep(tmp_path: Path, changes: dict[str, Any]) -> None:
    made = sweep(tmp_path)
    assert sweep(tmp_path, **changes) != made


def test_what_the_spec_says_in_other_words_is_the_same_sweep(tmp_path: Path) -> None:
    made = sweep(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(f"# a comment\n{path.read_text()}")
    assert run_sweep(load_sweep(path), Settings("sweep", tmp_path / "runs")) == made


def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    alone = {"together": 1}
    with pytest.raises(SweepInterrupted) as caught:
        sweep(tmp_path, heard=Heard(stop_in=2), sweep=alone)
    made = caught.value.sweep
    record = made.read_record()
    assert record.status == "interrupted"
    assert [trial.status for trial in record.trials] == ["completed", "interrupted", "waiting", "waiting"]
    before = runs_of(tmp_path)
    assert record_of(before[2])["status"] == "interrupted"

    heard = Heard()
    assert sweep(tmp_path, heard=heard, sweep=alone) == made
    assert heard.ended_trials == [2, 3, 4]
    assert heard.said == [f"resuming {made.id}: 1 of 4 trials have finished"]
    record = made.read_record()
    assert (record.status, {trial.status for trial in record.trials}) == ("completed", {"completed"})
    statuses = [run.status for run in list_runs(tmp_path / "runs")]
    assert sorted(statuses) == ["completed"] * 4 + ["interrupted"]


def test_a_finished_run_that_sweep_json_does_not_know_of_counts(tmp_path: Path) -> None:
    """A kill between the end of a run and the note of it."""
    made = sweep(tmp_path)
    record = made.read_record()
    known = record.trials[2]
    record.status = "running"
    record.trials[2] = TrialRecord(number=known.number, values=known.values, status="running", run=known.run)
    made.write_record(record)
    heard = Heard()
    sweep(tmp_path, heard=heard)
    assert heard.ended_trials == []
    assert made.read_record().trials[2] == known


def test_a_dead_run_is_marked_and_its_trial_runs_anew(tmp_path: Path) -> None:
    made = sweep(tmp_path)
    record = made.read_record()
    known = record.trials[2]
    dead = runs_of(tmp_path)[3]
    run = record_of(dead)
    (dead / "run.json").write_text(json.dumps({**run, "status": "running", "ended": None}))
    record.status = "running"
    record.trials[2] = TrialRecord(number=known.number, values=known.values, status="running", run=known.run)
    made.write_record(record)
    heard = Heard()
    sweep(tmp_path, heard=heard)
    assert heard.ended_trials == [3]
    assert record_of(dead)["status"] == "interrupted"
    assert record_of(dead)["ended"] is not None
    again = made.read_record().trials[2]
    assert (again.score, again.status) == (known.score, "completed")
    assert again.run != known.run


# --- what goes wrong ---------------------------------------------------------------------------------------


def test_a_diverged_trial_has_no_score_and_the_others_go_on(tmp_path: Path) -> None:
    rates = [{"sgd": {"learning_rate": rate}} for rate in (0.001, 1e30, 0.0001)]
    made = sweep(tmp_path, {"optimizer": rates})
    record = made.read_record()
    assert [trial.status for trial in record.trials] == ["completed", "diverged", "completed"]
    assert (record.trials[1].score, record.status) == (None, "completed")
    assert record.trials[1].error == record_of(runs_of(tmp_path)[2])["error"]
    assert (record.trials[1].error or "").startswith("the training loss stopped being a finite number in ")
    heard = Heard()
    sweep(tmp_path, {"optimizer": rates}, heard=heard)
    assert heard.ended_trials == []


def test_where_all_diverge_there_is_no_best(tmp_path: Path) -> None:
    made = sweep(tmp_path, {"optimizer": [{"sgd": {"learning_rate": 1e30}}]})
    assert (made.read_record().best, made.best_spec.exists(), made.figure.exists()) == (None, False, False)


def test_initial_weights_that_are_gone_are_named_before_the_first_trial_starts(tmp_path: Path) -> None:
    weights = tmp_path / "start.safetensors"
    weights.touch()
    plan = load_sweep(write_small(tmp_path, REGRESSION, sweep={"over": OVER}, init_weights=str(weights)))
    weights.unlink()
    with pytest.raises(DataError) as caught:
        run_sweep(plan, Settings("sweep", tmp_path / "runs"))
    assert str(caught.value) == f"{weights} cannot be read: No such file or directory."
    assert not (tmp_path / "runs").exists()


def test_a_trial_that_its_data_do_not_suit_is_found_before_the_first_starts(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        sweep(
            tmp_path,
            {"loss": ["mse", "binary_crossentropy"]},
            sweep={"monitor": "val_mae"},
            layers=[{"dense": {"units": 1, "activation": "sigmoid"}}],
        )
    assert str(caught.value).startswith(
        "trial 2 (loss binary_crossentropy) cannot run, so nothing was run: Row "
    )
    assert not (tmp_path / "runs").exists()


def test_a_wrong_device_ends_it_before_it_begins(tmp_path: Path) -> None:
    plan = load_sweep(write_small(tmp_path, sweep={"over": OVER}))
    with pytest.raises(UsageError):
        run_sweep(plan, Settings("sweep", tmp_path / "runs", device="cuda:99"))
    assert not (tmp_path / "runs").exists()


def test_data_are_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    real = sweep_data.load_data

    def counted(dataset: Any, **others: Any) -> Any:
        loads.append(dataset)
        return real(dataset, **others)

    monkeypatch.setattr(sweep_data, "load_data", counted)
    monkeypatch.setattr("nnrun.experiment.running.job.load_data", None)
    sweep(tmp_path)
    assert len(loads) == 1


def test_a_sweep_over_inputs_loads_each(tmp_path: Path) -> None:
    """The same rows, so that scores compare; each choice of columns is a data set of its own."""
    table = numbers()
    lines = [f"{a},{b},{c},{y}" for (a, b, c), y in zip(table["x_train"], table["y_train"], strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,y", *lines]) + "\n")
    made = sweep(
        tmp_path,
        {"dataset.csv.inputs": [["a"], ["a", "b", "c"]]},
        dataset={"csv": {"path": "t.csv", "target": "y"}},
    )
    record = made.read_record()
    assert [source["name"] for source in record.data] == ["t.csv", "t.csv", "t.csv"]  # the spec's own as well
    assert record.best == 2


@pytest.mark.parametrize(
    ("together", "validation"),
    [(8, {"holdout": {"first": 16}}), (1, {"holdout": {"first": 16}}), (8, {"kfold": {"k": 3}})],
)
def test_a_trial_has_its_best_epoch_by_the_monitor(
    tmp_path: Path, together: int, validation: dict[str, Any]
) -> None:
    """And its run's record says so, so that `final` trains as long as that."""
    made = sweep(
        tmp_path,
        {"loss": ["mse", "mae"], "optimizer": [{"rmsprop": 0.3}, {"rmsprop": 0.1}]},
        sweep={"monitor": "val_mae", "together": together},
        epochs=8,
        validation=validation,
    )
    record = made.read_record()
    different = 0
    for trial in record.trials:
        run = Run(tmp_path / "runs" / str(trial.run))
        by_epoch = run.history.groupby("epoch")[["val_mae", "val_loss"]].mean()
        assert trial.epoch == run.best_epoch == by_epoch["val_mae"].idxmin()
        assert trial.score == run.best["val_mae"] == pytest.approx(by_epoch["val_mae"].min())
        assert run.record["chosen_by"] == "val_mae"
        different += int(by_epoch["val_loss"].idxmin() != trial.epoch)
    assert different > 0 or "kfold" in validation
    assert record.ranked()[0].score == min(trial.score or 9e9 for trial in record.trials)


def test_folds_have_the_score_of_their_mean(tmp_path: Path) -> None:
    made = sweep(tmp_path, validation={"kfold": 3})
    for trial in made.read_record().trials:
        run = record_of(tmp_path / "runs" / str(trial.run))
        assert (run["folds"], trial.score) == ([0, 1, 2], run["best"]["val_loss"])


def test_a_smoke_sweep(tmp_path: Path) -> None:
    record = sweep(
        tmp_path, spec={**REGRESSION, "dataset": {"sklearn": "diabetes"}}, smoke=True
    ).read_record()
    assert (record.smoke, [source["note"] for source in record.data]) == (True, ["generated"])


def test_train_leaves_the_sweep_out_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []

    class Said(Listener):
        def message(self, text: str) -> None:
            said.append(text)

    path = write_small(tmp_path, sweep={"over": OVER})
    run = run_experiment(load_spec(path), Settings("train", tmp_path / "runs"), Said())
    assert said == ["the sweep section was left out: this trains the spec itself (see `nnrun sweep`)"]
    assert "\nsweep:" not in run.read_resolved()
    assert "\nsweep:" in run.read_spec()
    assert list_sweeps(tmp_path / "runs") == []


def test_the_record_goes_on_changing_for_who_listens(tmp_path: Path) -> None:
    class Board(SweepListener):
        record: SweepRecord | None = None
        seen: list[int] = []  # noqa: RUF012

        def began(self, record: SweepRecord) -> None:
            self.record = record

        def trial_began(self, trial: TrialRecord, start: Start) -> None:
            on_disk = SweepDirectory(start.run.path.parent / record_of(start.run.path)["sweep"]).read_record()
            registered = on_disk.trials[trial.number - 1]
            assert (registered.run, registered.status) == (start.run.id, "running")

        def trial_ended(self, trial: TrialRecord) -> None:
            assert self.record is not None
            self.seen.append(len(self.record.ranked()))

    board = Board()
    sweep(tmp_path, heard=board)
    assert board.seen == [1, 2, 3, 4]


# --- more trials, and damaged records ----------------------------------------------------------------------

DRAWN = {RATE: {"log_uniform": [1e-4, 1e-1]}, UNITS: {"int_uniform": [2, 4]}}


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_more_trials_go_on_from_those_there_are(tmp_path: Path, method: str) -> None:
    if method == "tpe":
        pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    (tmp_path / "once").mkdir()
    section = {"method": method, "prune": False}
    once = sweep(tmp_path / "once", DRAWN, sweep={**section, "trials": 7, "together": 1}).read_record()
    first = sweep(tmp_path, DRAWN, sweep={**section, "trials": 4, "together": 1})
    before = {trial.run for trial in first.read_record().trials}
    heard = Heard()
    again = sweep(tmp_path, DRAWN, sweep={**section, "trials": 7, "together": 1}, heard=heard)
    record = again.read_record()
    assert (again, record.total, record.status) == (first, 7, "completed")
    assert heard.ended_trials == [5, 6, 7]
    assert heard.said == [
        f"resuming {first.id}: 4 of 7 trials have finished",
        "the sweep had 4 trials; 3 trials more will be trained",
    ]
    assert {trial.run for trial in record.trials[:4]} == before
    assert [(t.values, t.score) for t in record.trials] == [(t.values, t.score) for t in once.trials]
    assert "trials: 7" in again.resolved_spec.read_text()
    heard = Heard()
    assert sweep(tmp_path, DRAWN, sweep={**section, "trials": 5, "together": 1}, heard=heard) == first
    assert (heard.ended_trials, len(first.read_record().trials)) == ([], 7)
    assert "has already finished 7 trials, and 5 were requested" in heard.said[0]


def test_fewer_trials_leave_out_those_that_have_not_begun(tmp_path: Path) -> None:
    section = {"method": "random", "trials": 6, "together": 1}
    with pytest.raises(SweepInterrupted) as stopped:
        sweep(tmp_path, {RATE: DRAWN[RATE]}, sweep=section, heard=Heard(stop_in=3))
    made = sweep(tmp_path, {RATE: DRAWN[RATE]}, sweep={**section, "trials": 4})
    assert made == stopped.value.sweep
    record = made.read_record()
    assert (record.total, [trial.status for trial in record.trials]) == (4, ["completed"] * 4)


HUGE = 10**400


@pytest.mark.parametrize("status", ["interrupted", "completed"])
def test_a_damaged_trial_is_taken_from_its_run(tmp_path: Path, status: str) -> None:
    made = sweep(tmp_path)
    whole = made.read_record()
    path = made.path / "sweep.json"
    sound = path.read_text()
    for damage in (
        *({"score": value} for value in ("x", float("nan"), HUGE, None, [])),
        *({"number": value} for value in ("1", 1.0, HUGE, 2, 0, True)),
        *({"status": value} for value in ([], "done", None)),
        *({"run": value} for value in (5, "../elsewhere", "")),
        *({"epoch": value} for value in (-1, 2.5, HUGE)),
        {"seconds": float("inf")},
        {"values": 3},
        {"error": 3},
        "a text",
        None,
        5,
    ):
        record = json.loads(sound)
        record["status"] = status
        record["trials"][0] = {**record["trials"][0], **damage} if isinstance(damage, dict) else damage
        path.write_text(json.dumps(record))
        with pytest.raises(DataError, match="is damaged"):
            made.read_record()
        heard = Heard()
        assert sweep(tmp_path, heard=heard) == made
        assert heard.ended_trials == []
        assert heard.said[0].startswith(f"the record of {made.id} is damaged (trials["), damage
        assert made.read_record() == whole.model_copy(update={"ended": made.read_record().ended})


@pytest.mark.parametrize("trials", [5, "x", None, {}, []])
def test_trials_that_are_no_list_are_taken_from_the_runs(tmp_path: Path, trials: Any) -> None:
    made = sweep(tmp_path)
    whole = made.read_record()
    path = made.path / "sweep.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trials": trials, "best": 99}))
    assert sweep(tmp_path) == made
    assert made.read_record() == whole.model_copy(update={"ended": made.read_record().ended})


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"started": 5, "id": 3}', "NaN", "1" * 5000])
def test_a_torn_record_disturbs_no_other_sweep(tmp_path: Path, text: str) -> None:
    """Whichever of the two is older."""
    made = sweep(tmp_path)
    for date in ("20200101T000000Z", "21990101T000000Z"):
        other = made.path.with_name(f"small-sweep-{date}-0000")
        shutil.copytree(made.path, other)
        (other / "sweep.json").write_text(text)
    assert find_sweep("@last", tmp_path / "runs") == made
    heard = Heard()
    assert sweep(tmp_path, heard=heard) == made
    assert sum("this sweep and its trials are skipped" in said for said in heard.said) == 2
    shutil.rmtree(made.path)
    with pytest.raises(DataError, match=r"sweep\.json"):
        find_sweep("@last", tmp_path / "runs")


def test_damaged_runs_of_trials_disturb_no_sweep(tmp_path: Path) -> None:
    made = sweep(tmp_path, sweep={"together": 1})
    path = tmp_path / "runs" / str(made.read_record().trials[0].run) / "run.json"
    sound, whole = path.read_text(), (made.path / "sweep.json").read_text()
    for damage in (
        {"trial": [1]},
        {"trial": {"number": []}},
        {"status": ["completed"]},
        {"best": "x"},
        {"best": {"val_loss": "x"}},
        {"best": {"val_loss": HUGE}},
        {"training_seconds": HUGE},
        {"best_epoch": 2.5},
    ):
        path.write_text(json.dumps({**json.loads(sound), **damage}))
        record = json.loads(whole)
        record["trials"][0] |= {"status": "running", "score": None}
        (made.path / "sweep.json").write_text(json.dumps({**record, "status": "running", "best": None}))
        sweep(tmp_path, sweep={"together": 1})
        assert made.read_record().status == "completed"


def test_what_is_resumed_is_that_very_sweep(tmp_path: Path) -> None:
    first, second = sweep(tmp_path), sweep(tmp_path, new=True)
    plan = load_sweep(first.resolved_spec)
    settings = Settings("sweep", tmp_path / "runs")
    assert run_sweep(plan, settings, resume=first) == first
    assert run_sweep(plan, settings) == second
    np.savez(tmp_path / "small.npz", **numbers(seed=5))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="cannot be continued: its data"):
        run_sweep(plan, settings, resume=first)
