"""A sweep within outer folds: no row of one has a say in which trial is chosen there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.data.load_data import load_data
from nnrun.errors import NnrunError, UsageError
from nnrun.experiment.finished.nested_choice import choose_within
from nnrun.experiment.finished.run_scores import read_run_spec
from nnrun.experiment.running.final import final_of_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.nested import go_on_with_nested, score_members
from nnrun.experiment.setup.folds import outer_folds_of
from nnrun.experiment.sweeping import nested_sweep, tpe
from nnrun.experiment.sweeping.at_work import SweepInterrupted
from nnrun.experiment.sweeping.nested_sweep import OuterFolds
from nnrun.experiment.sweeping.sweep import run_sweep
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.records import Member, RunDirectory, SweepDirectory, TrialRecord, list_runs
from nnrun.records.run_record import NestedRecord
from nnrun.spec.reading.overrides import Override
from nnrun.spec.sweep_plan import SweepPlan, load_sweep
from nnrun.training.loop import EpochRecord
from nnrun.training.pace import Pace
from nnrun.validation.summary import interval_of_mean, interval_of_share
from tests.support.clocks import let_trials_take_seconds, ticking
from tests.support.small_experiments import BINARY, REGRESSION, numbers, write_small

K = 3
UNITS, RATE = "layers[0].dense.units", "optimizer.adam.learning_rate"
GRID: dict[str, Any] = {"over": {UNITS: [2, 8], RATE: [0.003, 0.1]}}
TPE: dict[str, Any] = {
    "over": {UNITS: [2, 8], RATE: {"log_uniform": [1e-3, 0.3]}},
    "method": "tpe",
    "trials": 3,
}
SWEEPS = {"grid": GRID, "tpe": TPE}
SPEC: dict[str, Any] = {"optimizer": {"adam": 0.01}, "epochs": 4, "nested": K}
KFOLD = {"kfold": {"k": 2, "shuffle": True}}


def plan_of(folder: Path, section: dict[str, Any], **changes: Any) -> SweepPlan:
    spec = {**SPEC, "validation": {"holdout": {"fraction": 0.3}}, **changes}
    return load_sweep(write_small(folder, REGRESSION, sweep=section, **spec))


def swept(
    plan: SweepPlan, folder: Path, listener: SweepListener | None = None, **options: Any
) -> SweepDirectory:
    return run_sweep(plan, Settings("sweep", folder / "runs", **options), listener)


def nested_of(sweep: SweepDirectory) -> NestedRecord:
    nested = sweep.read_record().nested
    assert nested is not None
    return nested


def run_named(sweep: SweepDirectory, id_: str | None) -> RunDirectory:
    return RunDirectory(sweep.path.parent / str(id_))


@pytest.mark.parametrize("validation", [KFOLD, {"holdout": {"fraction": 0.3}}])
def test_each_outer_fold_has_the_trial_that_its_inner_folds_rank_first(
    validation: Any, tmp_path: Path
) -> None:
    sweep = swept(plan_of(tmp_path, GRID, validation=validation), tmp_path)
    record, nested = sweep.read_record(), nested_of(sweep)
    assert record.status == "completed"
    assert [trial.outer_fold for trial in record.trials] == [None] * 4
    within = {}
    for trial in record.trials:
        run = sweep.run_of(trial)
        assert len(run.members()) == K * nested.inner_folds
        within[trial.number] = choose_within(run.read_history_table(), read_run_spec(run), record.monitor)
    assert [fold.fold for fold in nested.folds] == list(range(K))
    for fold in nested.folds:
        scores = {number: own[fold.fold].inner["val_loss"] for number, own in within.items()}
        best = min(scores, key=lambda number: (scores[number] or 0.0, number))
        assert (fold.trial, fold.epoch) == (best, within[best][fold.fold].epoch)
        assert fold.values == record.trials[best - 1].values
        outer = run_named(sweep, fold.run)
        history = outer.read_history()
        last = history[history["fold"] == fold.fold].iloc[-1]
        assert (int(last["epoch"]), last["val_mae"]) == (fold.epoch, fold.scores["val_mae"])
        assert outer.read_record().parent == sweep.id
    assert nested.scores["val_mae"] == pytest.approx(np.mean([f.scores["val_mae"] for f in nested.folds]))


def test_tpe_searches_within_each_outer_fold(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    sweep = swept(plan_of(tmp_path, TPE), tmp_path)
    record = sweep.read_record()
    assert record.total == len(record.trials) == 3 * K
    assert [trial.outer_fold for trial in record.trials] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert not record.has_best
    assert not sweep.best_spec.exists()
    for fold in nested_of(sweep).folds:
        assert record.trials[(fold.trial or 0) - 1].outer_fold == fold.fold
    for trial in record.trials:
        assert [m.id for m in sweep.run_of(trial).members()] == [trial.outer_fold]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SweepDirectory]:
    """Method → the sweep on the rows as they are."""
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    found = {}
    for method, section in SWEEPS.items():
        folder = tmp_path_factory.mktemp(method)
        found[method] = swept(plan_of(folder, section), folder)
    return found


@pytest.mark.parametrize("method", SWEEPS)
@pytest.mark.parametrize("outer", range(K))
def test_rows_of_an_outer_fold_change_nothing_that_is_chosen_within_it(
    outer: int, method: str, before: dict[str, SweepDirectory], tmp_path: Path
) -> None:
    """What is tried there, the scores that it is chosen by, the trial, the epoch, the weights."""
    plan = plan_of(tmp_path, SWEEPS[method])
    spec = plan.base.spec
    rows = outer_folds_of(spec, load_data(spec), 0)[outer].validation_rows
    arrays, rng = numbers(), np.random.default_rng(outer)
    for name in ("x_train", "y_train"):
        arrays[name] = arrays[name].copy()
        arrays[name][rows] = 100 + 9 * rng.normal(size=arrays[name][rows].shape)
    np.savez(tmp_path / "small.npz", **arrays)  # type: ignore[arg-type]
    then, now = before[method], swept(plan, tmp_path)
    chosen = [nested_of(sweep).folds[outer] for sweep in (then, now)]
    for name in ("trial", "values", "epoch", "inner"):
        assert getattr(chosen[0], name) == getattr(chosen[1], name), name
    assert chosen[0].scores != chosen[1].scores
    member = Member("fold", outer)
    one, two = (
        run_named(sweep, fold.run).read_weights(member)
        for sweep, fold in zip((then, now), chosen, strict=True)
    )
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)
    of_fold = [
        [(t.values, t.status, t.score) for t in sweep.read_record().trials if t.outer_fold == outer]
        for sweep in (then, now)
    ]
    assert of_fold[0] == of_fold[1]
    assert len(of_fold[0]) == (3 if method == "tpe" else 0)


def test_a_trial_that_diverges_within_some_outer_folds_may_be_chosen_within_others(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"over": {RATE: [0.003, 0.1]}})
    sweep = swept(plan, tmp_path)
    record = sweep.read_record()
    best = nested_of(sweep).folds[0].trial
    run = sweep.run_of(record.trials[(best or 0) - 1])
    changed = run.read_record()
    assert changed.nested is not None
    changed.nested.diverged = [0]
    run.write_record(changed)
    folds = _choices(plan, sweep)
    assert folds[0].trial == 3 - (best or 0)
    assert [fold.trial for fold in folds[1:]] == [fold.trial for fold in nested_of(sweep).folds[1:]]


def _choices(plan: SweepPlan, sweep: SweepDirectory) -> list[Any]:
    settings = Settings("sweep", sweep.path.parent)
    of = OuterFolds(plan.base, settings, sweep, sweep.read_record(), load_data, SweepListener(), lambda: None)
    return of._choices()


def test_inner_folds_that_diverge_do_not_end_the_others(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"over": {"optimizer": [{"sgd": 0.001}, {"sgd": 1e30}]}})
    sweep = swept(plan, tmp_path)
    record = sweep.read_record()
    assert [trial.status for trial in record.trials] == ["completed", "diverged"]
    assert record.trials[1].error == ("its loss stopped being a finite number within outer fold 0, 1 and 2")
    assert [fold.trial for fold in nested_of(sweep).folds] == [1] * K


def test_without_a_score_nothing_is_chosen(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"over": {"optimizer": [{"sgd": 1e30}]}})
    with pytest.raises(NnrunError) as caught:
        swept(plan, tmp_path)
    assert str(caught.value).startswith(
        "Within outer folds 0, 1 and 2 no trial has a score, so there is nothing to choose; "
    )


class Stops(SweepListener):
    """Interrupts in a trial."""

    def __init__(self, trial: int) -> None:
        self.trial = trial

    def epoch(self, trial: TrialRecord, epoch: EpochRecord) -> None:
        if (trial.number, epoch.epoch) == (self.trial, 2):
            raise KeyboardInterrupt


class Heard(SweepListener):
    """Takes note of what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize(("method", "trial"), [("grid", 3), ("tpe", 5)])
def test_interrupted_in_a_trial_it_goes_on(
    method: str, trial: int, before: dict[str, SweepDirectory], tmp_path: Path
) -> None:
    plan = plan_of(tmp_path, SWEEPS[method])
    with pytest.raises(SweepInterrupted):
        swept(plan, tmp_path, Stops(trial))
    assert _alike(nested_of(swept(plan, tmp_path)), nested_of(before[method]))


def test_interrupted_among_the_outer_folds_it_keeps_those_that_were_scored(
    before: dict[str, SweepDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = {**TPE, "together": 1}
    plan, trained, train = plan_of(tmp_path, one_by_one), [], nested_sweep.train_side_by_side

    def interrupted_second(*args: Any) -> list[RunDirectory]:
        trained.append(1)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train(*args)

    monkeypatch.setattr(nested_sweep, "train_side_by_side", interrupted_second)
    with pytest.raises(SweepInterrupted):
        swept(plan, tmp_path)
    first = [summary.id for summary in list_runs(tmp_path / "runs") if summary.nested == "outer"]
    found = nested_of(swept(plan, tmp_path))
    assert _alike(found, nested_of(before["tpe"]))
    assert found.folds[0].run in first
    assert len(trained) == 2 + len({fold.trial for fold in found.folds[1:]})
    heard = Heard()
    assert nested_of(swept(plan, tmp_path, heard)) == found
    assert heard.said[-1].endswith("is already complete. To run it again: --new.")


def _alike(one: NestedRecord, two: NestedRecord) -> bool:
    """The same but for the ids of runs, and for how sums are rounded."""
    plain = [nested.model_dump(mode="json", exclude={"folds": {"__all__": {"run"}}}) for nested in (one, two)]
    ours, theirs = (dict(_values(document)) for document in plain)
    return ours == {
        place: pytest.approx(value, rel=1e-5) if isinstance(value, float) else value
        for place, value in theirs.items()
    }


def _values(document: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Where each value of a document stands, and the value."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if isinstance(value, (dict, list)):
            yield from _values(value, (*place, key))
        else:
            yield (*place, key), value


def networks_at_once(sweep: SweepDirectory) -> list[int]:
    """Of every run of a sweep, in the order in which they were trained."""
    runs = [summary.run.read_record() for summary in list_runs(sweep.path.parent)]
    return [run.networks_at_once or 0 for run in sorted(runs, key=lambda run: str(run.id))]


@pytest.mark.parametrize("method", SWEEPS)
@pytest.mark.parametrize("validation", [KFOLD, {"holdout": {"fraction": 0.3}}], ids=["kfold", "holdout"])
def test_side_by_side_or_one_by_one_it_is_the_same(method: str, validation: Any, tmp_path: Path) -> None:
    """Trials, outer folds of TPE, and what was chosen: nothing depends on who trains beside it."""
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    found = []
    for together in (8, 1):
        folder = tmp_path / str(together)
        folder.mkdir()
        over = {"over": {**SWEEPS[method]["over"], UNITS: [4]}}
        section = {**SWEEPS[method], **over, "together": together}
        found.append(swept(plan_of(folder, section, validation=validation), folder))
    bundled, alone = (sweep.read_record() for sweep in found)
    assert _alike(nested_of(found[0]), nested_of(found[1]))
    for one, other in zip(bundled.trials, alone.trials, strict=True):
        assert (one.values, one.status, one.epoch) == (other.values, other.status, other.epoch)
        assert one.score == pytest.approx(other.score, rel=1e-5)
        ours, theirs = (
            sweep.run_of(trial).read_history().drop(columns="seconds").sort_values(["fold", "epoch"])
            for sweep, trial in zip(found, (one, other), strict=True)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    inner = nested_of(found[0]).inner_folds
    # A grid has 2 trials, TPE the next of each of 3 outer folds.
    most = [max(networks_at_once(sweep)) for sweep in found]
    assert most == ([2 * K * inner, K * inner] if method == "grid" else [K * inner, inner])


def test_pruned_trials_leave_those_of_other_outer_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which ones are pruned is what each outer fold's search alone would say."""
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    monkeypatch.setattr(tpe, "_TRIALS_BEFORE_PRUNING", 1)
    found = []
    for together in (8, 1):
        folder = tmp_path / str(together)
        folder.mkdir()
        over = {"over": {RATE: {"log_uniform": [1e-5, 0.3]}}, "trials": 6, "together": together}
        found.append(swept(plan_of(folder, {**TPE, **over}, epochs=6), folder).read_record())
    statuses = [[(trial.outer_fold, trial.status) for trial in record.trials] for record in found]
    assert statuses[0] == statuses[1]
    assert {status for _, status in statuses[0]} == {"completed", "pruned"}
    assert found[0].nested is not None
    assert found[1].nested is not None
    assert _alike(found[0].nested, found[1].nested)


def test_time_is_shared_by_the_searches_of_tpe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each outer fold has its next trial in turn, so that no search takes it all."""
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    let_trials_take_seconds(monkeypatch)
    monkeypatch.setattr(nested_sweep, "Pace", lambda seconds: Pace(seconds, ticking()))
    sweep = swept(plan_of(tmp_path, {**TPE, "time_limit": "24s"}), tmp_path)
    record = sweep.read_record()
    assert record.ended_by_time == "24s"
    assert {trial.outer_fold for trial in record.trials} == {0, 1, 2}
    ended = [trial.outer_fold for trial in record.trials if trial.status == "completed"]
    assert len(ended) < record.total
    assert {ended.count(fold) for fold in range(K)} <= {ended.count(0), ended.count(0) - 1}
    assert nested_of(sweep).scores


@pytest.mark.parametrize("method", SWEEPS)
def test_the_average_of_the_chosen_trial_s_inner_networks_is_scored(method: str, tmp_path: Path) -> None:
    """Nothing is trained for that, and the same command again finds it done."""
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    plan = plan_of(tmp_path, SWEEPS[method], validation=KFOLD, nested={"k": K, "members": "folds"})
    sweep = swept(plan, tmp_path)
    record, nested = sweep.read_record(), nested_of(sweep)
    assert {summary.nested for summary in list_runs(tmp_path / "runs")} == {"inner"}
    assert nested.members == "folds"
    spec = plan.base.spec
    for fold in nested.folds:
        run = sweep.run_of(record.trials[(fold.trial or 0) - 1])
        assert fold.run == run.id
        own = score_members(run, read_run_spec(run), load_data(spec), [fold.fold], "cpu")[fold.fold]
        assert fold.scores == pytest.approx(own)
    heard = Heard()
    assert nested_of(swept(plan, tmp_path, heard)) == nested
    assert heard.said[-1].endswith("is already complete. To run it again: --new.")


def test_a_final_run_of_it_says_what_to_type_instead(before: dict[str, SweepDirectory]) -> None:
    sweep = before["grid"]
    outer = run_named(sweep, nested_of(sweep).folds[0].run)
    with pytest.raises(UsageError) as caught:
        final_of_run(outer, Settings("final", sweep.path.parent))
    assert f"nnrun sweep {sweep.resolved_spec} --set nested=null, and then" in str(caught.value)
    assert load_sweep(sweep.resolved_spec, [Override.of_text("nested=null")]).base.spec.nested is None


def test_a_smoke_run(tmp_path: Path) -> None:
    sweep = swept(plan_of(tmp_path, GRID, nested=20), tmp_path, smoke=True)
    assert len(nested_of(sweep).folds) == nested_of(sweep).k == 8


def test_on_noise_the_plain_best_is_above_chance_and_the_outer_folds_are_not(tmp_path: Path) -> None:
    """Rows and labels drawn at random: 200 such tables are in tests/benchmarks/nested.py."""
    noise = {
        **BINARY,
        "epochs": 8,
        "validation": {"holdout": {"fraction": 0.3, "stratify": True}},
        "sweep": {"over": {"optimizer": [{"adam": 0.003}, {"adam": 0.1}]}, "monitor": "val_accuracy"},
    }
    plain, outer = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        arrays = {"x_train": rng.normal(size=(60, 5)), "y_train": rng.permutation(60) % 2}
        for nested in (None, 5):
            plan = load_sweep(write_small(tmp_path, noise, arrays, seed=seed, nested=nested))
            sweep = swept(plan, tmp_path)
            if nested is None:
                plain.append(sweep.read_record().ranked()[0].score)
            else:
                outer.append(nested_of(sweep).scores["val_accuracy"])
    low, high = interval_of_mean(float(np.mean(outer)), float(np.std(outer, ddof=1)), len(outer))
    assert low <= 0.5 <= high
    assert min(plain) >= 0.5
    assert np.mean(plain) > max(0.55, np.mean(outer))


def test_a_trial_alone_trains_nothing_for_outer_folds(
    before: dict[str, SweepDirectory], tmp_path: Path
) -> None:
    trial = before["grid"].read_record().trials[0]
    run = before["grid"].run_of(trial)
    assert go_on_with_nested(run, Settings("train", tmp_path)).path == run.path


@pytest.mark.parametrize("members", [None, "folds"])
def test_outer_folds_without_an_error_make_the_interval_of_all_their_rows(
    members: str | None, tmp_path: Path
) -> None:
    y = np.arange(48) % 2
    x = 2.0 * y[:, None] + np.random.RandomState(0).normal(0, 0.1, (48, 3))
    spec = {**SPEC, "optimizer": {"adam": 0.1}, "nested": {"k": K, "members": members}, "validation": KFOLD}
    path = write_small(tmp_path, BINARY, {"x_train": x, "y_train": y}, sweep={"over": {UNITS: [8]}}, **spec)
    nested = nested_of(swept(load_sweep(path), tmp_path))
    assert (nested.scores["val_accuracy"], nested.scores_std["val_accuracy"]) == (1, 0)
    assert nested.interval["val_accuracy"] == pytest.approx(interval_of_share(1, 48))
    n, std = K, nested.scores_std["val_loss"]
    low, high = interval_of_mean(nested.scores["val_loss"] or 0.0, std or 0.0, n)
    assert nested.interval["val_loss"] == pytest.approx([max(low, 0.0), high])
