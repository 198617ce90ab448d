"""When training steps are compiled, and how."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch

from nnrun.errors import UsageError
from nnrun.limits import cxx_compiler
from nnrun.native.library import NotCompiledError
from nnrun.spec import schema
from nnrun.training.backends import choice as choice_module
from nnrun.training.backends import native
from nnrun.training.backends.choice import (
    Choice,
    begin_compiling,
    choose,
    make_engine,
)
from nnrun.training.backends.eager import EagerBackend
from nnrun.training.backends.native import WORTH_STEPS, NativeBackend
from nnrun.training.problem import TrainingProblem
from tests.support.small_problems import first_weights, make_problem

NO_COMPILER = "there is no C++ compiler on this machine (c++, g++ or clang++)"
LARGE = "a step of one network makes {} multiplications, and above 4,000,000 PyTorch is faster than C++"
FEW = "step by step: {} steps are too few to make compiling worthwhile"


def small() -> TrainingProblem:
    """One whose steps C++ of our own makes."""
    return make_problem()


def large() -> TrainingProblem:
    """One whose steps are too large for it."""
    return make_problem([{"dense": 80_000}, {"dense": {"units": 1, "activation": "sigmoid"}}])


def sparse() -> TrainingProblem:
    """One over sparse rows, 8 x 7 numbers in a batch."""
    return make_problem(sparse=True)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    found = "/usr/bin/c++" if getattr(request, "param", True) else None
    monkeypatch.setattr(shutil, "which", lambda name: found)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("policy", "make", "steps", "choice"),
    [
        ("off", small, 10**9, Choice(EagerBackend, "step by step, as --compile off says")),
        ("on", small, 1, Choice(NativeBackend, "compiled, as --compile on says")),
        ("auto", small, WORTH_STEPS, Choice(NativeBackend, "compiled, for 5,000 steps")),
        ("auto", small, WORTH_STEPS - 1, Choice(EagerBackend, FEW.format("4,999"))),
        ("on", sparse, 1, Choice(NativeBackend, "compiled, as --compile on says")),
        ("auto", sparse, 334, Choice(NativeBackend, "compiled, for 334 steps")),
        ("auto", sparse, 333, Choice(EagerBackend, FEW.format("333"))),
        ("auto", large, WORTH_STEPS, Choice(EagerBackend, "step by step: " + LARGE.format("4,480,000"))),
        ("recorded", large, 1, Choice(EagerBackend, "step by step: " + LARGE.format("4,480,000"))),
        ("recorded", small, 1, Choice(NativeBackend, "compiled, as --compile on says")),
        ("auto", large, WORTH_STEPS - 1, Choice(EagerBackend, FEW.format("4,999"))),
    ],
)
def test_the_policy_the_task_and_the_number_of_steps_decide(
    policy: choice_module.Policy, make: Callable[[], TrainingProblem], steps: int, choice: Choice
) -> None:
    assert choose(policy, make(), steps) == choice
    assert choice.compiled == (not choice.reason.startswith("step by step"))


@pytest.mark.parametrize("compiler", [False], indirect=True)
@pytest.mark.usefixtures("compiler")
def test_without_a_compiler_nothing_is_compiled() -> None:
    assert choose("auto", make_problem(), 10**6) == Choice(EagerBackend, f"step by step: {NO_COMPILER}")
    with pytest.raises(UsageError) as caught:
        choose("on", make_problem(), 1)
    assert str(caught.value) == (f"--compile on: {NO_COMPILER}. Use --compile auto, or leave it out.")


@pytest.mark.usefixtures("compiler")
def test_what_is_not_supported_is_not_compiled() -> None:
    problem = large()
    with pytest.raises(UsageError) as caught:
        choose("on", problem, 1)
    reason = LARGE.format("4,480,000")
    assert str(caught.value) == f"--compile on: {reason}. Use --compile auto, or leave it out."


@pytest.mark.parametrize(
    ("policy", "changes", "rows", "begun"),
    [
        ("auto", {}, 15_000, True),  # IMDB's 600 steps
        ("auto", {}, 300, False),
        ("auto", {"gradient_clip": {"norm": 1.0}}, 15_000, False),
        ("auto", {"preprocessing": {}, "epochs": 170}, 15_000, True),
        ("auto", {"preprocessing": {}, "epochs": 166}, 15_000, False),
        ("off", {}, 15_000, False),
        ("on", {}, 300, True),
    ],
)
def test_compiling_begins_early_where_it_looks_worth_it(
    policy: choice_module.Policy,
    changes: dict[str, Any],
    rows: int,
    begun: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(choice_module, "begin_loading", lambda name: calls.append(name))
    spec = schema.ExperimentSpec.model_validate(
        {
            "dataset": "imdb",
            "preprocessing": {"inputs": [{"multi_hot": {"dimension": 10_000}}]},
            "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
            "loss": "binary_crossentropy",
            "epochs": 20,
            "batch_size": 512,
            **changes,
        }
    )
    begin_compiling(policy, spec, rows, torch.device("cpu"))
    assert bool(calls) == begun


@pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")
def test_the_engine_has_the_backend_that_was_chosen() -> None:
    problem, said = make_problem(), list[str]()
    weights = first_weights(problem, [0])
    for backend in (EagerBackend, NativeBackend):
        assert type(make_engine(Choice(backend, ""), problem, weights, said.append).backend) is backend
    assert said == []


def test_where_compiling_fails_training_goes_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str, on_message: Callable[[str], None]) -> None:
        raise NotCompiledError("c++ fails: error: no such thing")

    monkeypatch.setattr(native, "load_library", fails)
    problem, said = make_problem(), list[str]()
    made = make_engine(Choice(NativeBackend, ""), problem, first_weights(problem, [0]), said.append)
    assert type(made.backend) is EagerBackend
    assert said == ["compiling failed, so PyTorch trains step by step: c++ fails: error: no such thing"]


def test_a_gpu_trains_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingProblem, "device", torch.device("cuda", 0))
    assert choose("auto", small(), 10**9) == Choice(EagerBackend, "step by step: C++ trains on the CPU only")
    assert choose("recorded", small(), 10**9).backend is EagerBackend
    with pytest.raises(UsageError, match="C\\+\\+ trains on the CPU only"):
        choose("on", small(), 1)
