"""When training steps are compiled, and how."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from nnrun.errors import UsageError
from nnrun.limits import cxx_compiler
from nnrun.model.mapped_inputs import MappedInputs
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
from nnrun.training.backends.native import NativeBackend
from nnrun.training.problem import TrainingProblem
from tests.support.small_problems import first_weights, make_problem

NO_COMPILER = "there is no C++ compiler on this machine (c++, g++ or clang++)"
UNKNOWN = "step by step: C++ does not support `ftrl`"


def small() -> TrainingProblem:
    """One whose steps C++ of our own makes."""
    return make_problem()


def unknown() -> TrainingProblem:
    """One with an optimizer that it does not know."""
    return make_problem(optimizer="ftrl")


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    found = "/usr/bin/c++" if getattr(request, "param", True) else None
    monkeypatch.setattr(shutil, "which", lambda name: found)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("make", [small, unknown])
def test_cpp_reads_bytes_of_files_and_no_float32(make: Callable[[], TrainingProblem]) -> None:
    problem = make()
    (port,) = problem.inputs
    for kind, values in ((np.float32, None), (np.uint8, torch.zeros(1, 1, 256))):
        rows = MappedInputs((np.zeros((64, problem.inputs[port].features), kind),), problem.device, values)
        streamed = replace(problem, inputs={port: rows})
        assert choose("auto", streamed).reads_rows == (kind == np.uint8)
        assert not choose("off", streamed).reads_rows


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("policy", "make", "choice"),
    [
        ("off", small, Choice(EagerBackend, "step by step, as --compile off says")),
        ("on", small, Choice(NativeBackend, "compiled, as --compile on says")),
        ("auto", small, Choice(NativeBackend, "compiled")),
        ("recorded", small, Choice(NativeBackend, "compiled")),
        ("auto", unknown, Choice(EagerBackend, UNKNOWN)),
        ("recorded", unknown, Choice(EagerBackend, UNKNOWN)),
    ],
)
def test_the_policy_and_the_problem_decide(
    policy: choice_module.Policy, make: Callable[[], TrainingProblem], choice: Choice
) -> None:
    assert choose(policy, make()) == choice
    assert choice.compiled == (not choice.reason.startswith("step by step"))


@pytest.mark.parametrize("compiler", [False], indirect=True)
@pytest.mark.usefixtures("compiler")
def test_without_a_compiler_nothing_is_compiled() -> None:
    assert choose("auto", make_problem()) == Choice(EagerBackend, f"step by step: {NO_COMPILER}")
    with pytest.raises(UsageError) as caught:
        choose("on", make_problem())
    assert str(caught.value) == (f"--compile on: {NO_COMPILER}. Use --compile auto, or leave it out.")


@pytest.mark.usefixtures("compiler")
def test_what_is_not_supported_is_not_compiled() -> None:
    with pytest.raises(UsageError) as caught:
        choose("on", unknown())
    assert str(caught.value) == (
        "--compile on: C++ does not support `ftrl`. Use --compile auto, or leave it out."
    )


@pytest.mark.parametrize(
    ("policy", "changes", "device", "begun"),
    [
        ("auto", {}, "cpu", True),
        ("auto", {"epochs": 1}, "cpu", True),
        ("auto", {"preprocessing": {}}, "cpu", True),
        ("auto", {"optimizer": "ftrl"}, "cpu", False),
        ("auto", {}, "cuda", False),
        ("off", {}, "cpu", False),
        ("on", {}, "cpu", True),
    ],
)
def test_compiling_begins_early_for_what_is_supported(
    policy: choice_module.Policy,
    changes: dict[str, Any],
    device: str,
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
    begin_compiling(policy, spec, torch.device(device))
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
    assert choose("auto", small()) == Choice(EagerBackend, "step by step: C++ trains on the CPU only")
    assert choose("recorded", small()).backend is EagerBackend
    with pytest.raises(UsageError, match="C\\+\\+ trains on the CPU only"):
        choose("on", small())
