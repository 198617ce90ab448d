"""Optuna's TPE behind a sweep: what it proposes, what it prunes, and that a kill changes neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnrun.errors import DataError, UsageError
from nnrun.experiment.running.job import Settings
from nnrun.experiment.sweeping.at_work import SweepInterrupted
from nnrun.experiment.sweeping.sweep import run_sweep
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.experiment.sweeping.tpe import TpeStudy, require_optuna
from nnrun.records import SweepDirectory, TrialRecord, list_runs
from nnrun.spec import schema
from nnrun.spec.sweep_plan import load_sweep
from nnrun.training.loop import EpochRecord
from tests.support.small_experiments import BINARY, REGRESSION, record_of, write_small

RATE, UNITS = "optimizer.rmsprop.learning_rate", "layers[0].dense.units"
OVER: dict[str, Any] = {
    RATE: {"log_uniform": [1e-4, 0.1]},
    UNITS: {"int_uniform": [2, 8]},
    "layers[0].dense.activation": ["relu", "tanh"],
}


def section(**changes: Any) -> schema.Sweep:
    return schema.Sweep.model_validate({"method": "tpe", "trials": 12, "over": OVER, **changes})


def study(folder: Path, *, seed: int = 0, maximize: bool = False, **changes: Any) -> TpeStudy:
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    return TpeStudy((folder / "study.log").absolute(), section(**changes), seed, maximize)


def loss(point: Any) -> float:
    """Best at the highest rate, with tanh."""
    return abs(float(point[RATE]) - 0.1) + (0 if point["layers[0].dense.activation"] == 1 else 0.5)


def tell(into: TpeStudy, number: int, score: float) -> None:
    into.ended(TrialRecord(number=number, values={}, status="completed", score=score))


def ask_and_tell(into: TpeStudy, numbers: range) -> list[dict[str, Any]]:
    points = []
    for number in numbers:
        points.append(dict(into.point(number)))
        tell(into, number, loss(points[-1]))
    return points


def test_points_lie_in_the_sweep(tmp_path: Path) -> None:
    for point in ask_and_tell(study(tmp_path), range(1, 13)):
        assert list(point) == list(OVER)
        assert 1e-4 <= point[RATE] <= 0.1
        assert point[UNITS] in range(2, 9)
        assert point["layers[0].dense.activation"] in (0, 1)


def test_it_learns(tmp_path: Path) -> None:
    """The later trials are better than those that were drawn at random."""
    losses = [loss(point) for point in ask_and_tell(study(tmp_path), range(1, 41))]
    assert sum(losses[30:]) < sum(losses[:10]) / 2


def test_a_study_that_is_opened_again_goes_on_as_if_it_had_not_been_closed(tmp_path: Path) -> None:
    """At whatever trial, and also where a trial was thought of and not told of yet."""
    for folder in ("once", "twice"):
        (tmp_path / folder).mkdir()
    once = ask_and_tell(study(tmp_path / "once"), range(1, 16))
    first = study(tmp_path / "twice")
    points = ask_and_tell(first, range(1, 12))
    thought_of = first.point(12)
    again = study(tmp_path / "twice")
    assert again.point(12) == thought_of
    assert again.point(3) == points[2]
    assert [*points, *ask_and_tell(again, range(12, 16))] == once


def test_a_trial_that_a_kill_left_half_thought_of_is_thought_of_to_the_end(tmp_path: Path) -> None:
    for folder in ("once", "twice"):
        (tmp_path / folder).mkdir()
    expected = ask_and_tell(study(tmp_path / "once"), range(1, 3))
    ask_and_tell(study(tmp_path / "twice"), range(1, 3))
    file = tmp_path / "twice" / "study.log"
    lines = file.read_text().splitlines(keepends=True)
    of_second = [place for place, line in enumerate(lines) if json.loads(line)["op_code"] == 5][3:]
    file.write_text("".join(lines[: of_second[0] + 1]))  # its first key was suggested, and no more
    assert dict(study(tmp_path / "twice").point(2)) == expected[1]


def test_seeds_differ(tmp_path: Path) -> None:
    points = []
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        points.append(dict(study(tmp_path / str(seed), seed=seed).point(1)))
    assert points[0] != points[1]


def test_a_study_that_was_lost_is_missed(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        study(tmp_path).point(4)
    assert str(caught.value) == (
        f"{tmp_path / 'study.log'} has 0 trials and not the 3 before this one. Restore the file, or start "
        "another sweep with --new."
    )


def report(into: TpeStudy, number: int, values: list[float]) -> int | None:
    """The epoch after which a trial was ended, or None; told of as it ended."""
    into.point(number)
    for epoch, value in enumerate(values, start=1):
        if into.should_stop(number, epoch, value):
            into.ended(TrialRecord(number=number, values={}, status="pruned"))
            return epoch
    tell(into, number, values[-1])
    return None


@pytest.mark.parametrize("maximize", [False, True])
def test_what_is_worse_than_the_median_is_ended_after_the_second_epoch(
    tmp_path: Path, maximize: bool
) -> None:
    sign = -1.0 if maximize else 1.0
    made = study(tmp_path, maximize=maximize)
    for number in range(1, 6):
        assert report(made, number, [sign * number, sign * number, sign * number]) is None
    assert report(made, 6, [sign * 4.0] * 3) == 2
    assert report(made, 7, [sign * 2.0] * 3) is None


def test_without_prune_nothing_is_ended(tmp_path: Path) -> None:
    made = study(tmp_path, prune=False)
    for number in range(1, 6):
        report(made, number, [1.0, 1.0])
    assert report(made, 6, [9.0, 9.0, 9.0]) is None


def test_a_run_that_begins_anew_is_ended_where_the_first_would_have_been(tmp_path: Path) -> None:
    made = study(tmp_path)
    for number in range(1, 6):
        report(made, number, [1.0, 1.0, 1.0])
    made.point(6)
    assert not made.should_stop(6, 1, 9.0)
    assert made.should_stop(6, 2, 9.0)  # and now it is killed
    again = study(tmp_path)
    assert report(again, 6, [9.0, 9.0, 9.0]) == 2


def test_what_is_no_number_is_left_to_others(tmp_path: Path) -> None:
    made = study(tmp_path)
    for number in range(1, 6):
        report(made, number, [1.0, 1.0])
    made.point(6)
    assert not made.should_stop(6, 1, 1.0)
    assert not made.should_stop(6, 2, float("nan"))


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError) as caught:
        require_optuna()
    assert str(caught.value) == (
        "`method: tpe` (without it there is --method random) needs Optuna, which this Python does not have. "
        "Install the extra: pip install 'nnrun[sweep]' (from a checkout: pip install -e '.[sweep]')."
    )


# --- the whole ---------------------------------------------------------------------------------------------


class Heard(SweepListener):
    """Takes note of what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


class StopIn(SweepListener):
    def __init__(self, trial: int | None) -> None:
        self.trial = trial
        self.ended_trials: list[int] = []

    def epoch(self, trial: TrialRecord, epoch: EpochRecord) -> None:
        if trial.number == self.trial and epoch.epoch == 2:
            raise KeyboardInterrupt

    def trial_ended(self, trial: TrialRecord) -> None:
        self.ended_trials.append(trial.number)


def sweep(folder: Path, *, stop_in: int | None = None, **changes: Any) -> tuple[SweepDirectory, list[int]]:
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    folder.mkdir(exist_ok=True)
    over = {"method": "tpe", "trials": 12, "over": OVER, **changes}
    listener = StopIn(stop_in)
    plan = load_sweep(write_small(folder, REGRESSION, epochs=6, sweep=over))
    try:
        return run_sweep(plan, Settings("sweep", folder / "runs"), listener), listener.ended_trials
    except SweepInterrupted as interruption:
        return interruption.sweep, listener.ended_trials


def outcomes(made: SweepDirectory) -> list[tuple[Any, ...]]:
    return [(trial.values, trial.status, trial.score) for trial in made.read_record().trials]


def test_a_sweep_by_tpe(tmp_path: Path) -> None:
    made, ended = sweep(tmp_path)
    record = made.read_record()
    assert (record.status, ended) == ("completed", list(range(1, 13)))
    statuses = [trial.status for trial in record.trials]
    assert statuses[:5] == ["completed"] * 5
    assert set(statuses) == {"completed", "pruned"}
    for trial in record.trials:
        run = record_of(tmp_path / "runs" / str(trial.run))
        assert run["status"] == ("completed" if trial.status == "completed" else "interrupted")
        assert (trial.score is None) == (trial.status == "pruned")
        if trial.status == "pruned":
            assert run["error"] == trial.error
            assert run["epochs_run"] in (2, 3, 4, 5, 6)
    assert made.figure.is_file()


def test_an_interrupted_sweep_by_tpe_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole, _ = sweep(tmp_path / "whole")
    stopped, ended = sweep(tmp_path / "stopped", stop_in=8)
    assert (stopped.read_record().status, ended) == ("interrupted", list(range(1, 8)))
    again, ended = sweep(tmp_path / "stopped")
    assert (again, ended) == (stopped, list(range(8, 13)))
    assert outcomes(again) == outcomes(whole)
    assert len(list_runs(tmp_path / "stopped" / "runs")) == 13


def test_without_pruning_every_trial_completes(tmp_path: Path) -> None:
    made, _ = sweep(tmp_path, prune=False)
    assert {trial.status for trial in made.read_record().trials} == {"completed"}


def test_a_combination_that_cannot_be_is_a_failed_trial(tmp_path: Path) -> None:
    """What only a combination of values makes wrong is found when it comes."""
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    last = "layers[1].dense.activation"
    over = {"loss": ["mse", "binary_crossentropy"], last: ["sigmoid", "relu", "tanh"], "seed": [0, 1, 2]}
    section = {"method": "tpe", "trials": 9, "over": over, "prune": False, "monitor": "val_mae", "seed": 0}
    spec = {**BINARY, "metrics": ["mae"]}
    plan = load_sweep(write_small(tmp_path, spec, sweep=section))
    trials = run_sweep(plan, Settings("sweep", tmp_path / "runs")).read_record().trials
    failed = [trial for trial in trials if trial.status == "failed"]
    wrong = [t for t in trials if t.values["loss"] == "binary_crossentropy" and t.values[last] != "sigmoid"]
    assert failed == wrong
    assert failed


def test_a_trial_of_a_known_spec_is_not_trained_again(tmp_path: Path) -> None:
    """Two values may be spellings of one."""
    over = {"optimizer": ["adam", {"adam": {"learning_rate": 0.001}}, {"adam": {"beta_1": 0.9}}]}
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    heard = Heard()
    section = {"method": "tpe", "trials": 3, "over": over}
    plan = load_sweep(write_small(tmp_path, REGRESSION, sweep=section))
    made = run_sweep(plan, Settings("sweep", tmp_path / "runs"), heard)
    trials = made.read_record().trials
    assert {trial.status for trial in trials} == {"completed"}
    assert len({trial.run for trial in trials}) == len({trial.score for trial in trials}) == 1
    assert len(list_runs(tmp_path / "runs")) == 1
    assert "trial 2 has the same spec as trial 1: not trained again" in heard.said
