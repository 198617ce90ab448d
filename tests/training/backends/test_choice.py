"""When training steps are compiled, and how."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch

from nnrun.errors import UsageError
from nnrun.spec import schema
from nnrun.training.backends import choice as choice_module
from nnrun.training.backends.choice import (
    WORTH_NATIVE_STEPS,
    WORTH_STEPS,
    Choice,
    begin_compiling,
    choose,
    make_engine,
)
from nnrun.training.backends.compiled import CompiledEngine
from nnrun.training.backends.compiler import cxx_compiler
from nnrun.training.backends.graphed import GraphedEngine
from nnrun.training.backends.native import NativeEngine
from nnrun.training.backends.native_library import NotCompiledError
from nnrun.training.engine import EagerEngine
from nnrun.training.problem import TrainingProblem
from tests.support.small_problems import first_weights, make_problem

NO_COMPILER = "there is no C++ compiler on this machine (c++, g++ or clang++)"
SPARSE = (
    "sparse rows have a different shape in each batch, and torch.compile needs one; C++ does not do it since "
    "a step of one network makes 12,800,000 multiplications, more than 4,000,000"
)
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


def large_and_sparse() -> TrainingProblem:
    """One that nothing compiles."""
    hidden = {"dense": 1_600_000}
    return make_problem(
        [{"dense": 1}, hidden, {"dense": {"units": 1, "activation": "sigmoid"}}], sparse=True, batch_size=4
    )


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    found = "/usr/bin/c++" if getattr(request, "param", True) else None
    monkeypatch.setattr(shutil, "which", lambda name: found)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("policy", "make", "steps", "choice"),
    [
        ("off", small, 10**9, Choice("eager", "step by step, as --compile off says")),
        ("on", small, 1, Choice("native", "compiled, as --compile on says")),
        ("on", large, 1, Choice("torch.compile", "compiled, as --compile on says")),
        ("auto", small, WORTH_NATIVE_STEPS, Choice("native", "compiled, for 5,000 steps")),
        ("auto", small, WORTH_NATIVE_STEPS - 1, Choice("eager", FEW.format("4,999"))),
        ("on", sparse, 1, Choice("native", "compiled, as --compile on says")),
        ("auto", sparse, 334, Choice("native", "compiled, for 334 steps")),
        ("auto", sparse, 333, Choice("eager", FEW.format("333"))),
        ("auto", large, WORTH_STEPS, Choice("torch.compile", "compiled, for 60,000 steps")),
        ("auto", large, WORTH_STEPS - 1, Choice("eager", FEW.format("59,999"))),
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
    assert choose("auto", make_problem(), 10**6) == Choice("eager", f"step by step: {NO_COMPILER}")
    with pytest.raises(UsageError) as caught:
        choose("on", make_problem(), 1)
    assert str(caught.value) == (f"--compile on: {NO_COMPILER}. Use --compile auto, or leave it out.")


@pytest.mark.usefixtures("compiler")
def test_large_steps_over_sparse_rows_are_not_compiled() -> None:
    problem = large_and_sparse()
    assert choose("auto", problem, 10**6) == Choice("eager", f"step by step: {SPARSE}")
    with pytest.raises(UsageError) as caught:
        choose("on", problem, 1)
    assert str(caught.value) == f"--compile on: {SPARSE}. Use --compile auto, or leave it out."


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
    calls: list[int] = []
    monkeypatch.setattr(choice_module, "begin_loading", lambda: calls.append(1))
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
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_engine_is_the_one_that_was_chosen() -> None:
    problem, said = make_problem(), list[str]()
    weights = first_weights(problem, [0])
    assert type(make_engine(Choice("eager", ""), problem, weights, said.append)) is EagerEngine
    assert type(make_engine(Choice("native", ""), problem, weights, said.append)) is NativeEngine
    assert said == []
    assert type(make_engine(Choice("torch.compile", ""), problem, weights, said.append)) is CompiledEngine
    assert said == ["compiling the training steps, which takes 10 to 20 s the first time"]


def test_where_compiling_fails_training_goes_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(on_message: Callable[[str], None]) -> None:
        raise NotCompiledError("c++ fails: error: no such thing")

    monkeypatch.setattr(choice_module, "load_library", fails)
    problem, said = make_problem(), list[str]()
    made = make_engine(Choice("native", ""), problem, first_weights(problem, [0]), said.append)
    assert type(made) is EagerEngine
    assert said == ["compiling failed, so PyTorch trains step by step: c++ fails: error: no such thing"]


def test_a_gpu_makes_a_graph_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = "sparse rows have a different shape in each batch, and a CUDA graph needs one"
    with monkeypatch.context() as patch:
        patch.setattr(TrainingProblem, "device", torch.device("cuda", 0))
        assert choose("on", small(), 1) == Choice("CUDA graph", "compiled, as --compile on says")
        assert choose("auto", small(), 10**9) == Choice(
            "eager", "step by step; --compile on makes a CUDA graph of the steps"
        )
        assert choose("auto", sparse(), 10**9) == Choice("eager", f"step by step: {shapes}")
        with pytest.raises(UsageError, match=shapes):
            choose("on", sparse(), 1)
    engine = make_engine(Choice("CUDA graph", ""), small(), first_weights(small(), range(2)), print)
    assert isinstance(engine, GraphedEngine)
