"""`nnrun kfold --nested`: no row of an outer fold has a say in what is chosen, trained and scored there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import device

from nnrun.cli import main
from nnrun.data.load_data import load_data
from nnrun.errors import UsageError
from nnrun.experiment.evaluating.compare import compare_runs
from nnrun.experiment.evaluating.compare_text import notes
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.finished.load_run import load_networks
from nnrun.experiment.finished.nested_choice import choose_within
from nnrun.experiment.finished.used_weights import recorded_weights
from nnrun.experiment.predicting.outputs import outputs_function
from nnrun.experiment.running import checkpointer
from nnrun.experiment.running.ensemble import final_of_members
from nnrun.experiment.running.final import final_of_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, StopTraining
from nnrun.experiment.running.nested import go_on_with_nested, run_nested
from nnrun.experiment.running.reproduce import reproduce_run
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.folds import outer_folds_of
from nnrun.experiment.setup.groups import Selection
from nnrun.records import Member, RunDirectory, list_runs
from nnrun.spec.reading.load import LoadedSpec
from nnrun.training.loop import EpochRecord
from tests.support.history_tables import history_table
from tests.support.small_experiments import REGRESSION, load_small, numbers, without_seconds

K = 3
INNER: dict[str, Any] = {
    "kfold": {"kfold": {"k": 2, "shuffle": True}},
    "holdout": {"holdout": {"fraction": 0.3}},
}


def load(folder: Path, validation: str = "kfold", **changes: Any) -> LoadedSpec:
    settings = {"validation": INNER[validation], "optimizer": {"adam": 0.1}, "epochs": 8, "nested": K}
    return load_small(folder, REGRESSION, **{**settings, **changes})


def runs_of(folder: Path) -> tuple[RunDirectory, RunDirectory]:
    """The inner run and the outer run in a folder."""
    found = {summary.nested: summary.run for summary in list_runs(folder / "runs")}
    return found["inner"], found["outer"]


def nested(loaded: LoadedSpec, folder: Path, **others: Any) -> tuple[RunDirectory, RunDirectory]:
    outer = run_nested(loaded, Settings("kfold", folder / "runs", **others))
    inner, found = runs_of(folder)
    assert found.path == outer.path
    return inner, outer


@pytest.mark.parametrize("validation", INNER)
def test_the_score_is_that_of_the_epoch_chosen_within(validation: str, tmp_path: Path) -> None:
    loaded = load(tmp_path, validation)
    inner, outer = nested(loaded, tmp_path)
    chosen, record = choose_within(inner.read_history_table(), loaded.spec), outer.read_record()
    assert record.nested is not None
    assert record.parent == inner.id
    table, n = inner.read_history(), loaded.spec.validation.number_of_folds
    for fold in record.nested.folds:
        assert fold.epoch == chosen[fold.fold].epoch
        own = table[(table["fold"] // n == fold.fold) & (table["epoch"] == fold.epoch)]
        assert len(own) == n
        assert fold.inner["val_mae"] == pytest.approx(own["val_mae"].mean())
        history = outer.read_history()
        last = history[history["fold"] == fold.fold].iloc[-1]
        assert int(last["epoch"]) == fold.epoch
        assert fold.scores == {"val_loss": last["val_loss"], "val_mae": last["val_mae"]}
    maes = [fold.scores["val_mae"] for fold in record.nested.folds]
    assert record.nested.scores["val_mae"] == pytest.approx(np.mean(maes))
    assert record.nested.scores_std["val_mae"] == pytest.approx(np.std(maes, ddof=1))
    low, high = record.nested.interval["val_mae"]
    assert low < np.mean(maes) < high
    assert record.last["val_mae"] == record.listed_scores["val_mae"] == record.nested.scores["val_mae"]


def test_a_holdout_chooses_as_a_run_on_the_same_rows_would(tmp_path: Path) -> None:
    """The epoch of one outer fold is that of a plain run that validates on the inner rows."""
    loaded = load(tmp_path, "holdout")
    inner, _ = nested(loaded, tmp_path)
    table = inner.read_history()
    for fold, choice in choose_within(history_table(table), loaded.spec).items():
        own = table[table["fold"] == fold]
        assert choice.epoch == int(own["val_loss"].to_numpy().argmin()) + 1
        assert choice.smoothed_over is None


Parts = tuple[RunDirectory, RunDirectory]
SHORT: dict[str, Any] = {"epochs": 4, "preprocessing": {"inputs": ["standardize"]}}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Parts]:
    """Validation → the inner and the outer run on the rows as they are."""
    found = {}
    for validation in INNER:
        folder = tmp_path_factory.mktemp(validation)
        found[validation] = nested(load(folder, validation, **SHORT), folder)
    return found


@pytest.mark.parametrize("validation", INNER)
@pytest.mark.parametrize("outer", range(K))
def test_rows_of_an_outer_fold_change_nothing_that_is_chosen_within_it(
    outer: int, validation: str, before: dict[str, Parts], tmp_path: Path
) -> None:
    """Whatever stands in them: the epoch, the weights that it is chosen by, and those that are scored."""
    loaded = load(tmp_path, validation, **SHORT)
    rows = outer_folds_of(loaded.spec, load_data(loaded.spec), 0)[outer].validation_rows
    arrays, rng = numbers(), np.random.default_rng(outer)
    for name in ("x_train", "y_train"):
        arrays[name] = arrays[name].copy()
        arrays[name][rows] = 100 + 9 * rng.normal(size=arrays[name][rows].shape)
    np.savez(tmp_path / "small.npz", **arrays)  # type: ignore[arg-type]
    then, now = before[validation], nested(loaded, tmp_path)
    n = loaded.spec.validation.number_of_folds
    histories = [run.read_history().drop(columns="seconds") for run, _ in (then, now)]
    own = [table[table["fold"] // n == outer] for table in histories]
    others = [table[table["fold"] // n != outer] for table in histories]
    assert own[0].equals(own[1])
    assert not others[0].equals(others[1])
    choices = [choose_within(history_table(table), loaded.spec)[outer] for table in histories]
    assert choices[0] == choices[1]
    inner = [Member("fold", n * outer + place) for place in range(n)]
    for place, members in ((0, inner), (1, [Member("fold", outer)])):
        for member in members:
            one, two = then[place].read_weights(member), now[place].read_weights(member)
            assert all(one[name].tobytes() == two[name].tobytes() for name in one)
            states = [parts[place].read_preprocessing(member) for parts in (then, now)]
            assert states[0] == states[1]


def test_one_outer_fold_alone_is_that_fold_of_the_whole(tmp_path: Path) -> None:
    whole, alone = tmp_path / "whole", tmp_path / "alone"
    for folder in (whole, alone):
        folder.mkdir()
    _, every = nested(load(whole), whole)
    _, one = nested(load(alone), alone, selection=Selection(only_fold=1))
    of_all, record = every.read_record().nested, one.read_record()
    assert of_all is not None
    assert record.nested is not None
    assert record.folds == [1]
    assert record.nested.folds == [of_all.folds[1]]
    assert record.nested.scores == of_all.folds[1].scores
    assert not record.nested.interval


def test_early_stopping_and_a_time_limit_are_for_the_choice_alone(tmp_path: Path) -> None:
    stopping = {"patience": 1, "restore_best": True}
    loaded = load(tmp_path, early_stopping=stopping, time_limit="10m", epochs=30)
    inner, outer = nested(loaded, tmp_path)
    assert any(member.stopped_early for member in inner.read_record().members)
    record = outer.read_record()
    assert not any(member.stopped_early for member in record.members)
    assert record.time_limit is None
    for member, epoch in zip(record.members, [f.epoch for f in record.nested.folds], strict=True):  # type: ignore[union-attr]
        assert member.epochs == member.weights_epoch == epoch


def test_the_outer_run_predicts_and_is_compared_as_a_k_fold_run(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    _, outer = nested(loaded, tmp_path)
    found = evaluate_run(outer, split="validation")
    assert found.combination == "out_of_fold"
    assert not found.chosen_on_these_rows
    plain = load_small(tmp_path, REGRESSION, epochs=4, validation={"kfold": {"k": K, "shuffle": True}})
    other = run_experiment(plain, Settings("kfold", tmp_path / "plain"))
    compared = compare_runs([outer, other])
    nested_ = outer.read_record().nested
    assert nested_ is not None
    first, second, third = (fold.epoch for fold in nested_.folds)
    note = "The validation scores of A are of outer folds, which no choice has seen; how long to train was "
    note += f"chosen within each: A for {first}, {second} and {third} epochs."
    assert [text for text in notes(compared) if "outer folds" in text] == [note]
    assert "The best epoch of B was chosen by val_loss" in " ".join(notes(compared))
    scores = compared.runs[0].all_scores()
    record = outer.read_record()
    assert record.nested is not None
    assert scores["val_mae"].mean == pytest.approx(record.nested.scores["val_mae"])


def test_it_is_reproduced_bit_for_bit(tmp_path: Path) -> None:
    for run in nested(load(tmp_path), tmp_path):
        assert reproduce_run(run, runs_dir=tmp_path / "again").identical


def test_other_commands_leave_it_out(tmp_path: Path) -> None:
    told: list[str] = []

    class Hears(Listener):
        def message(self, text: str) -> None:
            told.append(text)

    run = run_experiment(load(tmp_path), Settings("train", tmp_path / "runs"), Hears())
    assert "nested" not in run.read_resolved()
    assert run.read_record().nested is None
    assert told[0] == "the nested section was left out: see `nnrun kfold` and `nnrun sweep`"


@pytest.mark.parametrize(("validation", "verb"), [("kfold", "kfold"), ("holdout", "train")])
def test_a_final_run_of_it_says_what_to_type_instead(validation: str, verb: str, tmp_path: Path) -> None:
    inner, outer = nested(load(tmp_path, validation), tmp_path)

    def refusal() -> str:
        with pytest.raises(UsageError) as caught:
            final_of_run(outer, Settings("final", tmp_path / "final"))
        return str(caught.value)

    command = [verb, f"{inner.path}/resolved.yaml", "--set", "nested=null"]
    assert refusal() == (
        f"{outer.id} has no best epoch, since each of its folds has the epoch that was chosen within it. For "
        f"the model, choose once more on all rows, without outer folds: nnrun {' '.join(command)}, and then "
        "nnrun final with that run. Or say how long to train with --epochs N."
    )
    assert main([*command, "--runs-dir", str(tmp_path / "again"), "-q"]) == 0
    (again,) = list_runs(tmp_path / "again")
    assert again.nested is None
    assert final_of_run(again.run, Settings("final", tmp_path / "final")).read_record().status == "completed"
    shutil.rmtree(inner.path)
    assert ", by the same command without --nested, and then nnrun final with that run" in refusal()


def test_weights_of_members_that_ended_by_themselves_were_not_restored(tmp_path: Path) -> None:
    """Each at the epoch that was chosen within its fold, without early stopping; also of their average."""
    _, outer = nested(load(tmp_path), tmp_path)
    epochs = [member.epochs for member in outer.read_record().members]
    assert len(set(epochs)) > 1
    average = final_of_members(outer, Settings("final", tmp_path / "final"), "folds")
    for run in (outer, average):
        used = recorded_weights(run.read_record())
        assert used is not None
        assert used.text == f"each fold's last epoch (epochs {', '.join(map(str, epochs))})"


# --- the average of the inner networks ---------------------------------------------------------------------

MEMBERS: dict[str, Any] = {**SHORT, "nested": {"k": K, "members": "folds"}}


def averaged(loaded: LoadedSpec, folder: Path, **others: Any) -> RunDirectory:
    run = run_nested(loaded, Settings("kfold", folder / "runs", **others))
    (only,) = list_runs(folder / "runs")
    assert only.run.path == run.path
    return run


def test_the_score_is_that_of_the_average_of_the_inner_networks(tmp_path: Path) -> None:
    """As each of them predicts the rows of the outer fold, which it has not seen."""
    loaded = load(tmp_path, **MEMBERS)
    run = averaged(loaded, tmp_path)
    record, dataset = run.read_record(), load_data(loaded.spec)
    assert record.nested is not None
    assert record.has_outer_scores
    assert not record.is_optimistic
    assert list_runs(tmp_path / "runs")[0].nested == "outer"
    networks, _ = load_networks(run)
    scores = []
    for fold, outer in zip(record.nested.folds, outer_folds_of(loaded.spec, dataset, 0), strict=True):
        rows = dataset.train.take(outer.validation_rows)
        predicted = []
        for network in networks[2 * fold.fold : 2 * fold.fold + 2]:
            outputs = outputs_function(loaded.spec, network.fitted, network.weights, device("cpu"))
            predicted.append(outputs(rows.by_input(network.fitted.inputs)))
        mean = np.mean([next(iter(of.values())) for of in predicted], axis=0)
        error = np.abs(mean.reshape(-1) - rows.targets.reshape(-1)).mean()
        assert fold.scores["val_mae"] == pytest.approx(error, rel=1e-5)
        scores.append(fold.scores["val_mae"])
    assert record.listed_scores["val_mae"] == pytest.approx(np.mean(scores))
    low, high = record.nested.interval["val_mae"]
    assert low < np.mean(scores) < high
    plain = load_small(tmp_path, REGRESSION, epochs=4, validation={"kfold": {"k": K, "shuffle": True}})
    other = run_experiment(plain, Settings("kfold", tmp_path / "plain"))
    compared = compare_runs([run, other])
    assert compared.runs[0].all_scores()["val_mae"].mean == pytest.approx(np.mean(scores))
    assert "The validation scores of A are of outer folds, which no choice has seen." in notes(compared)


@pytest.mark.parametrize("outer", range(K))
def test_rows_of_an_outer_fold_change_nothing_of_the_average_that_is_scored_there(
    outer: int, tmp_path: Path
) -> None:
    """Whatever stands in them, the members have the same weights; the score is of other rows."""
    loaded, folders = load(tmp_path, **MEMBERS), [tmp_path / "before", tmp_path / "after"]
    then = averaged(loaded, folders[0])
    rows = outer_folds_of(loaded.spec, load_data(loaded.spec), 0)[outer].validation_rows
    arrays, rng = numbers(), np.random.default_rng(outer)
    for name in ("x_train", "y_train"):
        arrays[name] = arrays[name].copy()
        arrays[name][rows] = 100 + 9 * rng.normal(size=arrays[name][rows].shape)
    np.savez(tmp_path / "small.npz", **arrays)  # type: ignore[arg-type]
    now = averaged(loaded, folders[1])
    folds = [run.read_record().nested.folds[outer] for run in (then, now)]  # type: ignore[union-attr]
    assert folds[0].inner == folds[1].inner
    assert folds[0].scores != folds[1].scores
    for member in (Member("fold", 2 * outer), Member("fold", 2 * outer + 1)):
        one, two = then.read_weights(member), now.read_weights(member)
        assert all(one[name].tobytes() == two[name].tobytes() for name in one)
        assert then.read_preprocessing(member) == now.read_preprocessing(member)


def test_interrupted_before_its_score_it_is_scored_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointer, "EVERY_SECONDS", 0.0)
    loaded, settings = load(tmp_path, **MEMBERS), Settings("kfold", tmp_path / "runs")
    expected = averaged(loaded, tmp_path / "whole").read_record().nested
    with pytest.raises(StopTraining):
        run_nested(loaded, settings, StopsIn(1, 2))
    (left,) = [summary.run for summary in list_runs(tmp_path / "runs")]
    assert not left.read_record().has_outer_scores
    assert resume_run(left)
    assert go_on_with_nested(left, settings).path == left.path
    assert left.read_record().nested == expected
    before = left.read_record()
    assert go_on_with_nested(left, settings).read_record() == before


def test_networks_of_inner_folds_are_no_members_of_a_final_model(tmp_path: Path) -> None:
    run = averaged(load(tmp_path, **MEMBERS), tmp_path)
    with pytest.raises(UsageError) as caught:
        final_of_members(run, Settings("final", tmp_path / "final"), "folds")
    assert f"nnrun kfold {run.path}/resolved.yaml --set nested=null, and name that run" in str(caught.value)


def test_one_outer_fold_alone_has_the_score_of_its_members(tmp_path: Path) -> None:
    loaded = load(tmp_path, **MEMBERS)
    every = averaged(loaded, tmp_path / "whole").read_record().nested
    one = averaged(loaded, tmp_path / "alone", selection=Selection(only_fold=1)).read_record().nested
    assert every is not None
    assert one is not None
    assert one.folds == [every.folds[1]]


# --- interrupted -------------------------------------------------------------------------------------------


class StopsIn(Listener):
    """Interrupts one of the runs after an epoch."""

    def __init__(self, run: int, epoch: int) -> None:
        self.run, self.last, self.begun = run, epoch, 0

    def started(self, start: Any) -> None:
        self.begun += 1

    def epoch(self, record: EpochRecord) -> None:
        if (self.begun, record.epoch) == (self.run, self.last):
            raise StopTraining("as planned")


@pytest.mark.parametrize("run", [1, 2])
def test_interrupted_and_resumed_it_is_the_same(
    run: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointer, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(checkpointer, "COST_SHARE", 1e9)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    expected = nested(load(whole), whole)
    settings = Settings("kfold", stopped / "runs")
    with pytest.raises(StopTraining):
        run_nested(load(stopped), settings, StopsIn(run, 2))
    left = list_runs(stopped / "runs")[0].run
    assert resume_run(left)
    go_on_with_nested(left, settings)
    found = runs_of(stopped)
    for one, other in zip(expected, found, strict=True):
        assert without_seconds(one.path) == without_seconds(other.path)
    of_whole, of_resumed = (run.read_record().nested for run in (expected[1], found[1]))
    assert of_whole is not None
    assert of_resumed == of_whole


def test_an_inner_run_that_was_killed_at_its_end_goes_on_with_the_outer_one(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    settings = Settings("kfold", tmp_path / "runs", inner_folds=True)
    inner = run_experiment(loaded, settings)
    outer = go_on_with_nested(inner, Settings("kfold", tmp_path / "elsewhere"))
    assert outer.read_record().parent == inner.id
    assert outer.runs_dir == inner.runs_dir
    assert go_on_with_nested(inner, settings).path == outer.path
    assert go_on_with_nested(outer, settings).path == outer.path
