"""The loop: each replica as if alone, nothing changed by looking, and the right weights at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnrun.errors import DivergedError
from nnrun.replica_rows import RowIndices
from nnrun.spec import schema
from nnrun.spec.random_streams import RandomSource
from nnrun.training.backends.eager import EagerBackend
from nnrun.training.engine import Engine
from nnrun.training.loop import EpochRecord, Replica, Schedule, Trainer, _finite, epoch_order
from nnrun.training.metrics import EpochMetrics
from nnrun.training.problem import TrainingProblem
from tests.support.keras_early_stopping import keras_would
from tests.support.keras_plateau import keras_rates
from tests.support.small_problems import (
    LINEAR_LAYERS,
    N,
    assert_same,
    eager,
    first_weights,
    make_problem,
    rows,
    zeros_and_ones,
)

NOBODY = np.arange(0)


def replica(number: int, train_rows: RowIndices, validation_rows: RowIndices, seed: int = 0) -> Replica:
    return Replica(number, train_rows, validation_rows, RandomSource(seed, number))


def folds(lengths: Sequence[int] = (40, 37, 25), *, validated: bool = True, seed: int = 0) -> list[Replica]:
    """Replicas that train on so many of the 60 rows and are validated on the others."""
    rng = np.random.default_rng(4)
    made = []
    for number, length in enumerate(lengths):
        order = rng.permutation(N)
        made.append(replica(number, order[:length], order[length:] if validated else NOBODY, seed))
    return made


def trainer(
    problem: TrainingProblem,
    replicas: Sequence[Replica],
    *,
    epochs: int = 3,
    shuffle: bool = True,
    stopping: schema.EarlyStopping | None = None,
    maximize: bool = False,
    rates: Sequence[schema.Component] = (),
) -> Trainer:
    engine = eager(problem, first_weights(problem, [r.number for r in replicas], replicas[0].source.seed))
    schedule = Schedule(epochs, shuffle, problem.optimizer.learning_rate, stopping, maximize, rates)
    return Trainer(engine, replicas, schedule, kind="fold")


def run(
    problem: TrainingProblem, replicas: Sequence[Replica], **settings: Any
) -> tuple[Trainer, list[EpochRecord]]:
    """Train to the end."""
    made = trainer(problem, replicas, **settings)
    return made, list(made.epochs())


def histories(records: Sequence[EpochRecord]) -> dict[int, list[dict[str, float]]]:
    """Replica number → its columns, epoch by epoch."""
    found: dict[int, list[dict[str, float]]] = {}
    for record in records:
        for number, row in record.rows.items():
            found.setdefault(number, []).append(dict(row))
    return found


def assert_same_history(found: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5, nan_ok=True)


# --- records -----------------------------------------------------------------------------------------------


def test_a_record_tells_of_every_replica_in_the_columns_of_the_history() -> None:
    problem = make_problem(metrics=["mse", "accuracy"], optimizer={"adam": 0.02})
    _, records = run(problem, folds(), epochs=2)
    assert [record.epoch for record in records] == [1, 2]
    for record in records:
        assert list(record.rows) == [0, 1, 2]
        assert record.learning_rates == {0: 0.02, 1: 0.02, 2: 0.02}
        assert record.seconds >= 0
        for row in record.rows.values():
            columns = ["loss", "mse", "accuracy", "val_loss", "val_mse", "val_accuracy"]
            assert list(row) == columns
    _, records = run(problem, folds(validated=False), epochs=1)
    assert list(records[0].rows[1]) == ["loss", "mse", "accuracy"]


def test_validation_columns_are_those_of_the_weights_after_the_epoch() -> None:
    problem, replicas = make_problem(), folds()
    made = trainer(problem, replicas)
    for record in made.epochs():
        phase = made.engine.evaluate([replica.validation_rows for replica in replicas])
        for place, row in enumerate(record.rows.values()):
            assert {k: v for k, v in row.items() if k.startswith("val_")} == phase.columns(place, "val_")


# --- together and alone, with and without looking ----------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
def test_replicas_that_train_together_do_what_each_does_alone(sparse: bool, shuffle: bool) -> None:
    """With dropout, unequal numbers of rows and short last batches: 40, 37 and 25 rows in batches of 8."""
    x_SNF = rows(1, N, 6) * zeros_and_ones(1, N, 6)
    problem = make_problem(x_SNF=x_SNF, sparse=sparse, metrics=["mse", "mae"])
    replicas = folds()
    made, records = run(problem, replicas, shuffle=shuffle)
    for replica in replicas:
        alone, alone_records = run(problem, [replica], shuffle=shuffle)
        assert_same(made.finished[replica.number], alone.finished[replica.number])
        number = replica.number
        assert_same_history(histories(records)[number], histories(alone_records)[number])


def test_validation_changes_no_bit_of_training() -> None:
    problem = make_problem()
    looked, records = run(problem, folds())
    unseen, unseen_records = run(problem, folds(validated=False))
    for number, weights in unseen.finished.items():
        assert_same(looked.finished[number], weights, exactly=True)
    for record, unseen_record in zip(records, unseen_records, strict=True):
        for number, row in unseen_record.rows.items():
            assert {k: v for k, v in record.rows[number].items() if not k.startswith("val_")} == row


def test_equal_trainings_give_equal_bits() -> None:
    (first, records), (second, again) = run(make_problem(), folds()), run(make_problem(), folds())
    assert [record.rows for record in again] == [record.rows for record in records]
    for number, weights in first.finished.items():
        assert_same(second.finished[number], weights, exactly=True)


def test_shuffling_matters_and_comes_from_the_seed() -> None:
    weights = [
        run(make_problem(), folds(seed=seed), shuffle=shuffle)[0].finished[0]["1.weight"]
        for seed, shuffle in [(0, True), (0, False), (1, True)]
    ]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("shuffle", [True, False])
def test_replicas_of_the_same_rows_and_weights_differ_by_their_order_alone(shuffle: bool) -> None:
    """The order comes from the replica's number, whatever its place among the others."""
    problem = make_problem(LINEAR_LAYERS, loss="mse", optimizer="sgd", metrics=[])
    (first,) = folds((40,))
    stack = [replica(number, first.train_rows, NOBODY) for number in (3, 8)]

    def weights_after_two_epochs(replicas: Sequence[Replica]) -> list[Tensor]:
        made = trainer(problem, replicas, epochs=2, shuffle=shuffle)
        same = {k: v.expand(len(replicas), *v.shape[1:]) for k, v in first_weights(problem, [0]).items()}
        made.engine = eager(problem, same)
        list(made.epochs())
        return [made.finished[replica.number]["0.weight"] for replica in replicas]

    three, eight = weights_after_two_epochs(stack)
    assert torch.equal(three, eight) != shuffle
    for member, together in zip(stack, (three, eight), strict=True):
        (alone,) = weights_after_two_epochs([member])
        torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-6)


def test_the_rows_of_a_replica_stay_as_they_were() -> None:
    replicas = folds()
    before = [replica.train_rows.tolist() for replica in replicas]
    run(make_problem(), replicas)
    assert [replica.train_rows.tolist() for replica in replicas] == before


# --- the end -----------------------------------------------------------------------------------------------


def test_the_weights_at_the_end_are_one_replica_s_each_after_the_last_epoch() -> None:
    made, _ = run(make_problem(), folds())
    assert list(made.finished) == [0, 1, 2]
    last = made.engine.weights()
    for place, weights in enumerate(made.finished.values()):
        assert_same(weights, {k: v[place : place + 1] for k, v in last.items()}, exactly=True)
    assert made.stopped_epochs == {}


@pytest.mark.parametrize("restore_best", [True, False])
def test_closed_in_the_middle_it_has_the_weights_of_the_last_complete_epoch(restore_best: bool) -> None:
    """Ctrl-C comes while a record is shown, or while the next epoch trains."""
    stopping = schema.EarlyStopping(patience=9, restore_best=restore_best)
    problem = make_problem(optimizer={"adam": 0.3})  # soon worse than in its first epoch
    expected, _ = run(problem, folds(), epochs=3)
    made = trainer(problem, folds(), epochs=9, stopping=stopping)
    epochs = made.epochs()
    for record in epochs:
        if record.epoch == 3:
            break
    epochs.close()
    for number, weights in expected.finished.items():
        assert_same(made.finished[number], weights, exactly=True)


def test_interrupted_in_an_epoch_it_has_the_weights_of_the_epoch_before() -> None:
    class Interrupted(Engine):
        def train_epoch(
            self, orders: Sequence[RowIndices], sources: Sequence[RandomSource], epoch: int
        ) -> EpochMetrics:
            phase = super().train_epoch(orders, sources, epoch)
            if epoch == 3:
                raise KeyboardInterrupt
            return phase

    problem = make_problem()
    expected, _ = run(problem, folds(), epochs=2)
    made = trainer(problem, folds(), epochs=9)
    made.engine = Interrupted(problem, first_weights(problem, [0, 1, 2]), EagerBackend(problem))
    seen: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(record.epoch for record in made.epochs())
    assert list(made.finished) == [0, 1, 2]
    for number, weights in expected.finished.items():
        assert_same(made.finished[number], weights, exactly=True)


# --- learning rates ----------------------------------------------------------------------------------------

PLATEAU = schema.ReduceOnPlateau(patience=1, factor=0.5)


def rates_of(records: Sequence[EpochRecord]) -> dict[int, list[float]]:
    """Replica number → its learning rate, epoch by epoch."""
    found: dict[int, list[float]] = {}
    for record in records:
        assert record.learning_rates.keys() == record.rows.keys()
        for number, rate in record.learning_rates.items():
            found.setdefault(number, []).append(rate)
    return found


@pytest.mark.parametrize("schedule", [[schema.Step(every=9)], [schema.Rates(rates=[0.02])]], ids=str)
def test_a_schedule_that_changes_nothing_changes_no_bit(schedule: list[schema.Component]) -> None:
    problem = make_problem(optimizer={"adam": 0.02})
    plain, records = run(problem, folds())
    made, scheduled = run(problem, folds(), rates=schedule)
    assert [record.rows for record in scheduled] == [record.rows for record in records]
    for number, weights in plain.finished.items():
        assert_same(made.finished[number], weights, exactly=True)
    assert rates_of(records) == rates_of(scheduled) == {n: [0.02] * 3 for n in (0, 1, 2)}


def test_an_epoch_is_trained_at_the_rate_that_its_record_tells() -> None:
    """The same rates, an epoch at a time by hand."""
    problem = make_problem(optimizer={"rmsprop": 0.02})
    made, records = run(problem, folds(), rates=[schema.Exponential(factor=0.5)])
    assert rates_of(records) == {n: [0.02, 0.01, 0.005] for n in (0, 1, 2)}
    engine = eager(problem, first_weights(problem, [0, 1, 2]))
    for epoch, rate in enumerate([0.02, 0.01, 0.005], start=1):
        engine.set_learning_rates([rate] * 3)
        orders = [epoch_order(r.train_rows, shuffle=True, source=r.source, epoch=epoch) for r in folds()]
        engine.train_epoch(orders, [r.source for r in folds()], epoch)
    for number in range(3):
        mine = {name: value[number : number + 1] for name, value in engine.weights().items()}
        assert_same(made.finished[number], mine, exactly=True)


def test_a_plateau_is_each_replica_s_own_also_while_others_end() -> None:
    """Noise is learned: val_loss rises early, in an epoch of its own for each, and some stop."""
    problem = make_problem(optimizer={"adam": 0.05}, metrics=["mse"])
    stopping = schema.EarlyStopping(patience=4)
    replicas = folds((40, 37, 25, 45, 33))
    made, records = run(problem, replicas, epochs=20, stopping=stopping, rates=[PLATEAU])
    assert len(set(made.stopped_epochs.values())) > 1, "they must end in different epochs"
    found = rates_of(records)
    assert len({tuple(rates) for rates in found.values()}) > 1, "they must have different rates"
    for replica in replicas:
        number = replica.number
        losses = [row["val_loss"] for row in histories(records)[number]]
        expected = keras_rates(
            losses, 0.05, factor=0.5, patience=1, min_delta=1e-4, cooldown=0, min_lr=0, maximize=False
        )
        assert found[number] == expected[:-1]
        alone, alone_records = run(problem, [replica], epochs=20, stopping=stopping, rates=[PLATEAU])
        assert rates_of(alone_records)[number] == found[number]
        assert_same(made.finished[number], alone.finished[number])
        assert_same_history(histories(records)[number], histories(alone_records)[number])


def test_a_replica_s_own_rate_is_what_its_schedule_begins_with() -> None:
    problem = make_problem(optimizer={"adam": 0.02})
    replicas = [replace(r, learning_rate=rate) for r, rate in zip(folds(), (0.1, 0.01, 0.001), strict=True)]
    made, records = run(problem, replicas, rates=[schema.Exponential(factor=0.5)])
    assert rates_of(records) == {0: [0.1, 0.05, 0.025], 1: [0.01, 0.005, 0.0025], 2: [0.001, 0.0005, 0.00025]}
    alone, _ = run(problem, [replicas[1]], rates=[schema.Exponential(factor=0.5)])
    assert_same(made.finished[1], alone.finished[1])


# --- early stopping ----------------------------------------------------------------------------------------


def test_early_stopping_of_one_replica_leaves_the_others_alone() -> None:
    """Noise is learned: each fold's val_loss soon rises, in an epoch of its own."""
    problem = make_problem(optimizer={"adam": 0.05}, metrics=["mse"])
    stopping = schema.EarlyStopping(patience=2)
    replicas = folds((40, 37, 25, 45, 33))
    made, records = run(problem, replicas, epochs=30, stopping=stopping)
    assert len(set(made.stopped_epochs.values())) > 2, "they must end in different epochs"
    _, unstopped = run(problem, replicas, epochs=30)
    for number, history in histories(records).items():
        assert_same_history(history, histories(unstopped)[number][: len(history)])
        losses = [row["val_loss"] for row in histories(unstopped)[number]]
        stopped, _ = keras_would(losses, patience=2, min_delta=0, maximize=False)
        assert made.stopped_epochs.get(number) == stopped
        assert len(history) == (stopped or 30)
        # What it ends with are the weights of its own last epoch.
        until, _ = run(problem, replicas, epochs=len(history))
        assert_same(made.finished[number], until.finished[number])


@pytest.mark.parametrize(
    ("monitor", "maximize"), [("val_loss", False), ("val_accuracy", True), ("loss", False)]
)
def test_restore_best_gives_the_weights_of_the_best_epoch(monitor: str, maximize: bool) -> None:
    problem = make_problem(optimizer={"adam": 0.05}, metrics=["accuracy"])
    stopping = schema.EarlyStopping(monitor=monitor, patience=3, restore_best=True)
    replicas = folds()
    made, records = run(problem, replicas, epochs=12, stopping=stopping, maximize=maximize)
    for number, history in histories(records).items():
        values = [row[monitor] for row in history]
        best = values.index(max(values) if maximize else min(values)) + 1
        until, _ = run(problem, replicas, epochs=best)
        assert_same(made.finished[number], until.finished[number])


@dataclass
class ScriptedEngine:
    """An engine that learns nothing and measures what a script says.

    Its weights say whose they are and of which epoch: 100 * number + epoch.
    """

    courses: Sequence[Sequence[float]]
    column: str
    averages: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.numbers = list(range(len(self.courses)))
        self.epoch = 0

    def train_epoch(
        self, orders: Sequence[RowIndices], sources: Sequence[RandomSource], epoch: int
    ) -> EpochMetrics:
        assert [source.replica for source in sources] == self.numbers
        assert [order.tolist() for order in orders] == [[number] for number in self.numbers]
        self.epoch = epoch
        return self._phase({"mae": 0.0})

    def evaluate(self, rows: Sequence[RowIndices]) -> EpochMetrics:
        assert [validated.tolist() for validated in rows] == [[50 + number] for number in self.numbers]
        return self._phase({})

    def _phase(self, metrics: dict[str, float]) -> EpochMetrics:
        values = [self.courses[number][self.epoch - 1] for number in self.numbers]
        if metrics:
            return EpochMetrics((1.0,) * len(values), (metrics,) * len(values), (None,) * len(values))
        if self.column == "val_loss":
            return EpochMetrics(tuple(values), ({"mae": 0.0},) * len(values), (None,) * len(values))
        return EpochMetrics((1.0,) * len(values), tuple({"mae": v} for v in values), (None,) * len(values))

    def weights(self) -> dict[str, Tensor]:
        return {"0.weight": torch.tensor([[[100.0 * number + self.epoch]] for number in self.numbers])}

    def select_replicas(self, places: Sequence[int]) -> None:
        self.numbers = [self.numbers[place] for place in places]


# Quarters, so that no rounding decides who is better. A loss that is NaN ends the run; a metric may be NaN.
quarters = st.integers(-40, 40).map(lambda n: n / 4)


@settings(max_examples=200)
@given(
    data=st.data(),
    column=st.sampled_from(["val_loss", "val_mae"]),
    epochs=st.integers(1, 8),
    replicas=st.integers(1, 4),
    patience=st.integers(0, 3),
    min_delta=st.sampled_from([0.0, 0.5]),
    restore_best=st.booleans(),
    maximize=st.booleans(),
)
def test_any_course_stops_each_replica_where_keras_would(
    data: st.DataObject,
    column: str,
    epochs: int,
    replicas: int,
    patience: int,
    min_delta: float,
    restore_best: bool,
    maximize: bool,
) -> None:
    values = quarters if column == "val_loss" else quarters | st.just(math.nan)
    courses = data.draw(
        st.lists(st.lists(values, min_size=epochs, max_size=epochs), min_size=replicas, max_size=replicas)
    )
    stopping = schema.EarlyStopping(
        monitor=column, patience=patience, min_delta=min_delta, restore_best=restore_best
    )
    schedule = Schedule(epochs, False, 0.1, stopping, maximize)
    stack = [replica(n, np.array([n]), np.array([50 + n])) for n in range(replicas)]
    made = Trainer(ScriptedEngine(courses, column), stack, schedule)
    records = list(made.epochs())

    stops, ends = {}, {}
    for number, course in enumerate(courses):
        stopped, best = keras_would(course, patience=patience, min_delta=min_delta, maximize=maximize)
        last = stopped or epochs
        if stopped is not None:
            stops[number] = stopped
        # Where nothing was ever best (only NaN) there is nothing to restore.
        ends[number] = 100 * number + (best if restore_best and best is not None else last)
        assert [record.epoch for record in records if number in record.rows] == list(range(1, last + 1))
    assert made.stopped_epochs == stops
    assert {n: weights["0.weight"].item() for n, weights in made.finished.items()} == ends
    assert all(weights["0.weight"].shape == (1, 1, 1) for weights in made.finished.values())


# --- divergence --------------------------------------------------------------------------------------------

ADVICE = "Try a smaller learning rate, standardized inputs, or targets on a smaller scale."
VALIDATION_ADVICE = "Try a smaller learning rate, or look for extreme values in the validation rows."


def diverge(made: Trainer) -> tuple[list[EpochRecord], str]:
    """The records that came before the error, and what it says."""
    records: list[EpochRecord] = []
    with pytest.raises(DivergedError) as caught:
        records.extend(made.epochs())
    return records, str(caught.value)


def line_task(learning_rate: float, **params: Any) -> TrainingProblem:
    """A straight line by plain gradient descent, all rows in one batch."""
    layers, spec = LINEAR_LAYERS, {"sgd": learning_rate}
    return make_problem(layers, loss="mse", optimizer=spec, metrics=["mae"], batch_size=N, **params)


def test_divergence_is_an_error_after_the_record_of_its_epoch() -> None:
    problem, replicas = line_task(20.0), folds((40,), validated=False)
    made = trainer(problem, replicas, epochs=100)
    records, message = diverge(made)
    bad = records[-1].epoch
    assert 3 < bad < 100
    finite = [math.isfinite(record.rows[0]["loss"]) for record in records]
    assert finite == [True] * (bad - 1) + [False]
    assert message == f"the training loss stopped being a finite number in epoch {bad}, batch 1. {ADVICE}"
    # The last complete epoch's weights are kept, and they are numbers.
    expected, _ = run(problem, replicas, epochs=bad - 1)
    assert_same(made.finished[0], expected.finished[0], exactly=True)
    assert all(torch.isfinite(value).all() for value in made.finished[0].values())


def poisoned(row: int) -> np.ndarray:
    """The rows of every problem, one of them infinite."""
    x_SNF = rows(1, N, 6)
    x_SNF[0, row] = np.inf
    return x_SNF


def test_the_message_names_the_fold_and_the_batch() -> None:
    problem = make_problem(LINEAR_LAYERS, loss="mse", metrics=[], x_SNF=poisoned(59), batch_size=8)
    fine, bad = np.arange(30), np.concatenate([np.arange(20), [59]])
    made = trainer(problem, [replica(0, fine, NOBODY), replica(7, bad, NOBODY)], shuffle=False)
    records, message = diverge(made)
    assert [sorted(record.rows) for record in records] == [[0, 7]]
    assert (
        message == f"the training loss of fold 7 stopped being a finite number in epoch 1, batch 3. {ADVICE}"
    )
    assert made.finished == {}


def test_replicas_of_several_seeds_do_what_each_does_alone() -> None:
    """Same rows, another seed each: the orders and the dropout of each are those of a run with its seed."""
    problem = make_problem(metrics=["mse"])
    (first,) = folds((40,))
    rows_of = (first.train_rows, first.validation_rows)
    stack = [Replica(seed, *rows_of, RandomSource(seed)) for seed in (5, 6, 7)]
    sources = [member.source for member in stack]
    weights = problem.network.initial_parameters(sources)  # type: ignore[attr-defined]
    schedule = Schedule(3, True, problem.optimizer.learning_rate)
    made = Trainer(eager(problem, weights), stack, schedule, kind="seed")
    records = list(made.epochs())
    for seed in (5, 6, 7):
        alone, alone_records = run(problem, [Replica(0, *rows_of, RandomSource(seed))])
        assert_same_history(histories(records)[seed], histories(alone_records)[0])
        assert_same(made.finished[seed], alone.finished[0])
    losses = [history[-1]["loss"] for history in histories(records).values()]
    assert len(set(losses)) == 3


def test_the_message_names_the_seed() -> None:
    problem = make_problem(LINEAR_LAYERS, loss="mse", metrics=[], x_SNF=poisoned(59), batch_size=8)
    fine, bad = np.arange(30), np.concatenate([np.arange(20), [59]])
    made = trainer(problem, [replica(41, fine, NOBODY), replica(42, bad, NOBODY)], shuffle=False)
    made.kind = "seed"
    _, message = diverge(made)
    assert (
        message == f"the training loss of seed 42 stopped being a finite number in epoch 1, batch 3. {ADVICE}"
    )


@pytest.mark.parametrize(("numbers", "where"), [([0], ""), ([0, 4], " of fold 4")])
def test_a_validation_loss_that_is_no_number_is_a_divergence(numbers: list[int], where: str) -> None:
    problem = make_problem(LINEAR_LAYERS, loss="mse", metrics=[], x_SNF=poisoned(59))
    replicas = [replica(n, np.arange(30), np.arange(30, 40)) for n in numbers[:-1]]
    replicas.append(replica(numbers[-1], np.arange(30), np.arange(50, 60)))
    made = trainer(problem, replicas)
    records, message = diverge(made)
    assert len(records) == 1
    assert message == (
        f"the validation loss{where} stopped being a finite number in epoch 1. {VALIDATION_ADVICE}"
    )
    assert made.finished == {}


def test_the_message_names_the_fold_that_goes_on_alone() -> None:
    """Early stopping may leave one fold of several: the user still must know which."""

    class Diverging(ScriptedEngine):
        def train_epoch(
            self, orders: Sequence[RowIndices], sources: Sequence[RandomSource], epoch: int
        ) -> EpochMetrics:
            phase = super().train_epoch(orders, sources, epoch)
            if epoch < 4:
                return phase
            return EpochMetrics((math.nan,), phase.metrics, (2,))

    courses = [[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]]
    stack = [replica(n, np.array([n]), np.array([50 + n])) for n in range(2)]
    schedule = Schedule(4, False, 0.1, schema.EarlyStopping(patience=1))
    made = Trainer(Diverging(courses, "val_loss"), stack, schedule, kind="fold")
    _, message = diverge(made)
    assert made.stopped_epochs == {0: 2}
    assert (
        message == f"the training loss of fold 1 stopped being a finite number in epoch 4, batch 2. {ADVICE}"
    )


def test_weights_that_are_no_numbers_are_never_kept() -> None:
    """A batch's loss is that before its update: the last update of an epoch can fail and no loss show it."""
    problem = line_task(1e38, targets=rows(1, N, 1) * 1e6)
    made = trainer(problem, folds((40,), validated=False), epochs=2)
    records, _ = diverge(made)
    assert math.isfinite(records[0].rows[0]["loss"])
    for weights in made.finished.values():
        assert all(torch.isfinite(value).all() for value in weights.values())


def test_a_run_whose_last_update_fails_has_diverged() -> None:
    """Otherwise it would end as completed, with weights that nothing can be computed from."""
    problem = line_task(1e38, targets=rows(1, N, 1) * 1e6)
    made = trainer(problem, folds((40,), validated=False), epochs=1)
    records, _ = diverge(made)
    assert len(records) == 1
    assert made.finished == {}


@given(
    st.lists(
        st.lists(
            st.sampled_from([0.0, -1.5, 3e38, -3e38, math.inf, -math.inf, math.nan]), min_size=4, max_size=4
        ),
        min_size=1,
        max_size=3,
    )
)
def test_finite_numbers_are_told_from_others_however_large(numbers: list[list[float]]) -> None:
    found = _finite(torch.tensor(numbers).reshape(-1, 2, 2)).tolist()
    assert found == [all(map(math.isfinite, of_one)) for of_one in numbers]
