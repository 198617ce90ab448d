"""When training steps are compiled."""

import shutil

import pytest
from small_tasks import first_weights, make_task, rows

from nnrun.errors import UsageError
from nnrun.training.choice import WORTH_STEPS, Choice, choose, make_engine
from nnrun.training.engine import EagerEngine

NO_COMPILER = "there is no C++ compiler on this machine (c++, g++ or clang++)"
SPARSE = "sparse rows have another shape in each batch, and compiled steps have one"


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    found = "/usr/bin/c++" if getattr(request, "param", True) else None
    monkeypatch.setattr(shutil, "which", lambda name: found)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("policy", "steps", "choice"),
    [
        ("off", 10**9, Choice(False, "step by step, as --compile off says")),
        ("on", 1, Choice(True, "compiled, as --compile on says")),
        ("auto", WORTH_STEPS, Choice(True, "compiled, for 60,000 steps")),
        (
            "auto",
            WORTH_STEPS - 1,
            Choice(False, "step by step: 59,999 steps are too few for compiling to pay"),
        ),
    ],
)
def test_the_policy_and_the_number_of_steps_decide(policy: str, steps: int, choice: Choice) -> None:
    assert choose(policy, make_task(), steps) == choice  # type: ignore[arg-type]


@pytest.mark.parametrize("compiler", [False], indirect=True)
@pytest.mark.usefixtures("compiler")
def test_without_a_compiler_nothing_is_compiled() -> None:
    assert choose("auto", make_task(), 10**6) == Choice(False, f"step by step: {NO_COMPILER}")
    with pytest.raises(UsageError) as caught:
        choose("on", make_task(), 1)
    assert str(caught.value) == (f"--compile on: {NO_COMPILER}. Use --compile auto, or leave it out.")


@pytest.mark.usefixtures("compiler")
def test_sparse_rows_are_not_compiled() -> None:
    task = make_task(x_SNF=rows(1, 60, 6), sparse=True)
    assert choose("auto", task, 10**6) == Choice(False, f"step by step: {SPARSE}")
    with pytest.raises(UsageError) as caught:
        choose("on", task, 1)
    assert str(caught.value) == f"--compile on: {SPARSE}. Use --compile auto, or leave it out."


def test_the_plain_engine_is_the_plain_engine() -> None:
    task = make_task()
    made = make_engine(Choice(False, ""), task, first_weights(task, [0]), pytest.fail)
    assert type(made) is EagerEngine
