"""Which engine trains: step by step, or compiled, in one of two ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nnrun.errors import UsageError
from nnrun.spec import schema
from nnrun.training.backends.compiler import cxx_compiler
from nnrun.training.backends.graphed import GraphedEngine
from nnrun.training.backends.native import NativeEngine, unknown_in
from nnrun.training.backends.native import obstacle as native_obstacle
from nnrun.training.backends.native_library import NotCompiledError, begin_loading, load_library
from nnrun.training.custom_functions import CustomLoss
from nnrun.training.engine import EagerEngine, Engine
from nnrun.training.problem import TrainingProblem

Policy = Literal["auto", "on", "off"]
Way = Literal["eager", "native", "torch.compile", "CUDA graph"]

WORTH_STEPS = 60_000
"""From how many steps on `torch.compile` pays, though nothing be in its cache.

On 2 cores compiling takes 10 to 20 s, and a small step takes 0.3 ms step by step and 0.04 ms compiled
(tests/benchmarks/compiled_step.py). What is in the cache must not count: one spec, one history.
"""

WORTH_NATIVE_STEPS = 5_000
"""The same of our own C++, which takes 2 s to compile, once for all specs, and 0.01 ms for a small step."""

WORTH_SECONDS = 0.1
"""What steps over sparse rows must be expected to save where there are fewer of them.

Texts take longer to read than the code takes to compile, which continues meanwhile (`begin_compiling`).
"""

# Seconds that C++ saves in a step of sparse rows, and for each number of its batch. That makes 0.34 s in the
# 600 steps of IMDB, of 67,000 numbers.
_SAVED_A_STEP, _SAVED_A_NUMBER = 3e-4, 4e-9

# How many numbers a row of a text has, before the data are there.
_NUMBERS_OF_A_TEXT = 100


@dataclass(frozen=True)
class Choice:
    """How to make the steps, and why, as a sentence."""

    way: Way
    reason: str

    @property
    def compiled(self) -> bool:
        """Whether anything but PyTorch step by step."""
        return self.way != "eager"


def choose(policy: Policy, problem: TrainingProblem, steps: int) -> Choice:
    """Decide from the policy, the problem, the device and the number of steps; never from a measurement.

    Args:
        policy: `on` and `off` decide; `auto` compiles where it pays.
        problem: what is learned.
        steps: how many steps the run makes at most.

    Raises:
        UsageError: the policy is `on`, and this run cannot be compiled.
    """
    if policy == "off":
        return Choice("eager", "step by step, as --compile off says")
    way, obstacle = _compiled_way(problem)
    if policy == "on":
        if obstacle:
            raise UsageError(f"--compile on: {obstacle}. Use --compile auto, or leave it out.")
        return Choice(way, "compiled, as --compile on says")
    if way == "CUDA graph":  # until somebody has measured where it pays
        advice = "--compile on makes a CUDA graph of the steps"
        return Choice("eager", f"step by step: {obstacle}" if obstacle else f"step by step; {advice}")
    numbers = None if problem.inputs.dense else problem.batch_size * problem.inputs.elements_per_row
    if not (_native_pays(steps, numbers) if way == "native" else steps >= WORTH_STEPS):
        return Choice("eager", f"step by step: {steps:,} steps are too few to make compiling worthwhile")
    if obstacle:
        return Choice("eager", f"step by step: {obstacle}")
    return Choice(way, f"compiled, for {steps:,} steps")


def _native_pays(steps: int, sparse_numbers: int | None) -> bool:
    """Whether so many steps are worth it, each over so many numbers of sparse rows, or over dense rows."""
    if steps >= WORTH_NATIVE_STEPS or sparse_numbers is None:
        return steps >= WORTH_NATIVE_STEPS
    return steps * (_SAVED_A_STEP + _SAVED_A_NUMBER * sparse_numbers) >= WORTH_SECONDS


def begin_compiling(policy: Policy, spec: schema.ExperimentSpec, rows: int, device: torch.device) -> None:
    """Compile our own C++ in the background where it looks as if the run will want it, and it is not there.

    Nothing is decided here: `choose` does that, once the data are known.

    Args:
        policy, spec, device: of the run.
        rows: to train on, about.
    """
    if policy == "off" or device.type != "cpu" or unknown_in(spec) is not None:
        return
    sparse = any(isinstance(step, schema.MultiHot) for step in spec.preprocessing.inputs)
    numbers = spec.batch_size * _NUMBERS_OF_A_TEXT if sparse else None
    if policy == "on" or _native_pays(spec.epochs * -(-rows // spec.batch_size), numbers):
        begin_loading()


def make_engine(
    choice: Choice,
    problem: TrainingProblem,
    parameters: Mapping[str, Tensor],
    on_message: Callable[[str], None],
) -> Engine:
    """The engine that was chosen, with these stacked first weights; `on_message` hears of long work."""
    if choice.way == "native":
        try:
            return NativeEngine(problem, parameters, load_library(on_message))
        except NotCompiledError as error:
            on_message(f"compiling failed, so PyTorch trains step by step: {error}")
    if choice.way == "CUDA graph":
        return GraphedEngine(problem, parameters)
    if choice.way == "torch.compile":
        from nnrun.training.backends.compiled import CompiledEngine  # its import takes a second

        on_message("compiling the training steps, which takes 10 to 20 s the first time")
        return CompiledEngine(problem, parameters, on_message)
    return EagerEngine(problem, parameters)


def _compiled_way(problem: TrainingProblem) -> tuple[Way, str | None]:
    """How this problem would be compiled, and why it cannot be, if so."""
    way: Way = "torch.compile" if native_obstacle(problem) else "native"
    if isinstance(problem.loss, CustomLoss):
        return way, "a custom loss is not compiled"
    if problem.network.not_compilable == schema.Custom.kind:
        return way, "a custom layer is not compiled"
    if problem.network.not_compilable is not None:
        return (
            way,
            f"{problem.network.not_compilable} is already a single PyTorch operation, which compiling "
            "does not speed up",
        )
    if problem.device.type == "cuda":
        shapes = "sparse rows have a different shape in each batch, and a CUDA graph needs one"
        return "CUDA graph", None if problem.inputs.dense else shapes
    if problem.device.type != "cpu":
        return way, "compiled steps are for the CPU and for CUDA"
    if cxx_compiler() is None:
        return way, "there is no C++ compiler on this machine (c++, g++ or clang++)"
    if way == "native":
        return way, None
    if problem.own:
        return way, "replicas with their own learning rates or regularizers are not compiled yet"
    if not problem.inputs.dense:
        return way, (
            "sparse rows have a different shape in each batch, and torch.compile needs one; C++ does not do "
            f"it since {native_obstacle(problem)}"
        )
    return way, None
