"""Which engine trains: step by step, or compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from nnrun.errors import UsageError
from nnrun.training.compiler import cxx_compiler
from nnrun.training.custom import CustomLoss
from nnrun.training.engine import EagerEngine, Engine
from nnrun.training.task import Task

Policy = Literal["auto", "on", "off"]

WORTH_STEPS = 60_000
"""From how many steps on compiling pays, though nothing be in the compiler's cache.

On 2 cores compiling takes 10 to 20 s, and a small step takes 0.3 ms step by step and 0.04 ms compiled
(tests/benchmarks/compiled_step.py). What is in the cache must not count: one spec, one history.
"""


@dataclass(frozen=True)
class Choice:
    """Whether to compile, and why, as a sentence."""

    compiled: bool
    reason: str


def choose(policy: Policy, task: Task, steps: int) -> Choice:
    """Decide from the policy, the kind of rows, the device and the number of steps; never from a measurement.

    Args:
        policy: `on` and `off` decide; `auto` compiles where it pays.
        task: what is learned.
        steps: how many steps the run makes at most.

    Raises:
        UsageError: the policy is `on`, and this run cannot be compiled.
    """
    obstacle = _obstacle(task)
    if policy == "on":
        if obstacle:
            raise UsageError(f"--compile on: {obstacle}. Use --compile auto, or leave it out.")
        return Choice(True, "compiled, as --compile on says")
    if policy == "off":
        return Choice(False, "step by step, as --compile off says")
    if steps < WORTH_STEPS:
        return Choice(False, f"step by step: {steps:,} steps are too few for compiling to pay")
    if obstacle:
        return Choice(False, f"step by step: {obstacle}")
    return Choice(True, f"compiled, for {steps:,} steps")


def make_engine(
    choice: Choice, task: Task, parameters: Mapping[str, Tensor], on_failure: Callable[[str], None]
) -> Engine:
    """The engine that was chosen, with these stacked first weights."""
    if not choice.compiled:
        return EagerEngine(task, parameters)
    from nnrun.training.compiled import CompiledEngine  # its import takes a second

    return CompiledEngine(task, parameters, on_failure)


def _obstacle(task: Task) -> str | None:
    """Why this task cannot be compiled, or None."""
    if isinstance(task.loss, CustomLoss):
        return "a custom loss is not compiled"
    if task.own:
        return "replicas with learning rates or regularizers of their own are not compiled so far"
    if not task.inputs.dense:
        return "sparse rows have another shape in each batch, and compiled steps have one"
    if task.device.type != "cpu":
        return "compiled steps are for the CPU so far"
    if cxx_compiler() is None:
        return "there is no C++ compiler on this machine (c++, g++ or clang++)"
    return None
