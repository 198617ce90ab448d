"""A request to stop ends an epoch between two of its batches, whoever makes the steps."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nnrun.interrupts import stopping_between_batches
from nnrun.limits import cxx_compiler
from nnrun.training.engine import Engine
from nnrun.training.problem import TrainingProblem
from tests.support.native_problems import native
from tests.support.small_problems import eager, first_weights, make_problem, rows, zeros_and_ones
from tests.support.streams import sources_of

pytestmark = pytest.mark.faults


def interrupted_in_call(number: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with Ctrl-C pressed in the midst of one of its calls."""
    calls = []

    def call(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            signal.raise_signal(signal.SIGINT)
        return function(*arguments, **named)

    return call


def stop_in_epoch(engine: Engine, problem: TrainingProblem) -> int:
    """Train until Ctrl-C ends it; how many updates were made."""
    order = [np.arange(problem.head.targets.shape[1])]
    with pytest.raises(KeyboardInterrupt), stopping_between_batches():
        engine.train_epoch(order, sources_of(0, [0]), 1)
    return int(engine.state_dict()["steps"].item())


def test_a_batch_step_by_step_is_finished() -> None:
    problem = make_problem()
    engine = eager(problem, first_weights(problem, [0]))
    engine.backend.step = interrupted_in_call(3, engine.backend.step)  # type: ignore[attr-defined]
    assert stop_in_epoch(engine, problem) == 3


@pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")
def test_an_epoch_in_c_is_left_between_two_batches() -> None:
    """All 400,000 steps are one segment."""
    row_count = 400_000
    problem = make_problem(
        [{"dense": {"units": 64}}, {"dense": 64}, {"dense": {"units": 1, "activation": "sigmoid"}}],
        x_SNF=rows(1, row_count, 6),
        targets=zeros_and_ones(1, row_count, 1),
        batch_size=1,
        metrics=[],
    )
    problem.__dict__["rows_at_once"] = row_count
    engine = native(problem, first_weights(problem, [0]))
    asked, train = threading.Event(), engine.backend._train  # type: ignore[attr-defined]
    begun_after: list[int] = []

    def counted(*arguments: Any) -> Any:
        if asked.is_set():
            begun_after.append(1)
        return train(*arguments)

    engine.backend._train = counted  # type: ignore[attr-defined]

    def ask() -> None:
        asked.set()
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.15, ask)
    timer.start()
    updates = stop_in_epoch(engine, problem)
    assert 0 < updates < row_count
    assert (
        len(begun_after) <= 1
    )  # a call takes a twentieth of a second; one may begin before the signal arrives


@pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("sparse", [False, True])
def test_where_c_lets_python_in_changes_no_number(sparse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for seconds in (1000.0, 0.0):  # all steps in one call; as few as there can be
        monkeypatch.setattr("nnrun.training.backends.native._SECONDS_A_CALL", seconds)
        problem = make_problem(optimizer="rmsprop", sparse=sparse, batch_size=2)
        engine = native(problem, first_weights(problem, [0, 1]))
        calls, train = [], engine.backend._train  # type: ignore[attr-defined]

        def counted(*arguments: Any, train: Any = train, calls: list[int] = calls) -> Any:
            calls.append(1)
            return train(*arguments)

        engine.backend._train = counted  # type: ignore[attr-defined]
        orders = [np.arange(60), np.arange(60)[::-1].copy()]
        for epoch in (1, 2):
            engine.train_epoch(orders, sources_of(0, [0, 1]), epoch)
        found.append((len(calls), engine.state_dict()))
    (few, at_once), (many, in_parts) = found
    assert (few, many) == (2, 8)  # a call trains both replicas
    assert all(torch.equal(at_once[name], in_parts[name]) for name in at_once)


@pytest.mark.parametrize("in_cpp", [False, True])
def test_evaluation_is_left_between_two_blocks(in_cpp: bool) -> None:
    if in_cpp and cxx_compiler() is None:
        pytest.skip("there is no C++ compiler")
    problem = make_problem()
    problem.__dict__["rows_at_once"] = 8
    weights = first_weights(problem, [0])
    engine = native(problem, weights) if in_cpp else eager(problem, weights)
    calls: list[int] = []
    losses = problem.scored

    def measured(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return losses(*arguments)

    problem.__dict__["scored"] = measured
    with pytest.raises(KeyboardInterrupt), stopping_between_batches():
        engine.evaluate([np.arange(60)])
    assert len(calls) == 2
