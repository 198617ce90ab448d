"""When training steps are compiled, and how."""

import shutil
from collections.abc import Callable

import pytest
from small_tasks import first_weights, make_task, rows

from nnrun.errors import UsageError
from nnrun.training import choice as choice_module
from nnrun.training.choice import WORTH_NATIVE_STEPS, WORTH_STEPS, Choice, choose, make_engine
from nnrun.training.compiled import CompiledEngine
from nnrun.training.compiler import cxx_compiler
from nnrun.training.engine import EagerEngine
from nnrun.training.native import NativeEngine
from nnrun.training.native_library import NotCompiledError
from nnrun.training.task import Task

NO_COMPILER = "there is no C++ compiler on this machine (c++, g++ or clang++)"
SPARSE = "sparse rows have another shape in each batch, and compiled steps have one"
FEW = "step by step: {} steps are too few for compiling to pay"


def small() -> Task:
    """One whose steps C++ of our own makes."""
    return make_task()


def large() -> Task:
    """One whose steps are too large for it."""
    return make_task([{"dense": 40_000}, {"dense": {"units": 1, "activation": "sigmoid"}}])


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
        ("auto", large, WORTH_STEPS, Choice("torch.compile", "compiled, for 60,000 steps")),
        ("auto", large, WORTH_STEPS - 1, Choice("eager", FEW.format("59,999"))),
    ],
)
def test_the_policy_the_task_and_the_number_of_steps_decide(
    policy: choice_module.Policy, make: Callable[[], Task], steps: int, choice: Choice
) -> None:
    assert choose(policy, make(), steps) == choice
    assert choice.compiled == (not choice.reason.startswith("step by step"))


@pytest.mark.parametrize("compiler", [False], indirect=True)
@pytest.mark.usefixtures("compiler")
def test_without_a_compiler_nothing_is_compiled() -> None:
    assert choose("auto", make_task(), 10**6) == Choice("eager", f"step by step: {NO_COMPILER}")
    with pytest.raises(UsageError) as caught:
        choose("on", make_task(), 1)
    assert str(caught.value) == (f"--compile on: {NO_COMPILER}. Use --compile auto, or leave it out.")


@pytest.mark.usefixtures("compiler")
def test_sparse_rows_are_not_compiled() -> None:
    task = make_task(x_SNF=rows(1, 60, 6), sparse=True)
    assert choose("auto", task, 10**6) == Choice("eager", f"step by step: {SPARSE}")
    with pytest.raises(UsageError) as caught:
        choose("on", task, 1)
    assert str(caught.value) == f"--compile on: {SPARSE}. Use --compile auto, or leave it out."


@pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_engine_is_the_one_that_was_chosen() -> None:
    task, said = make_task(), list[str]()
    weights = first_weights(task, [0])
    assert type(make_engine(Choice("eager", ""), task, weights, said.append)) is EagerEngine
    assert type(make_engine(Choice("native", ""), task, weights, said.append)) is NativeEngine
    assert said == []
    assert type(make_engine(Choice("torch.compile", ""), task, weights, said.append)) is CompiledEngine
    assert said == ["compiling the training steps, which takes 10 to 20 s the first time"]


def test_where_compiling_fails_training_goes_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise NotCompiledError("c++ fails: error: no such thing")

    monkeypatch.setattr(choice_module, "load_library", fails)
    task, said = make_task(), list[str]()
    made = make_engine(Choice("native", ""), task, first_weights(task, [0]), said.append)
    assert type(made) is EagerEngine
    assert said == ["compiling failed, so training goes step by step: c++ fails: error: no such thing"]
