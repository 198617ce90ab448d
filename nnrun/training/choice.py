"""Which engine trains: step by step, or compiled, in one of two ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from nnrun.errors import UsageError
from nnrun.training.compiler import cxx_compiler
from nnrun.training.custom import CustomLoss
from nnrun.training.engine import EagerEngine, Engine
from nnrun.training.native import NativeEngine
from nnrun.training.native import obstacle as native_obstacle
from nnrun.training.native_library import NotCompiledError, load_library
from nnrun.training.task import Task

Policy = Literal["auto", "on", "off"]
Way = Literal["eager", "native", "torch.compile"]

WORTH_STEPS = 60_000
"""From how many steps on `torch.compile` pays, though nothing be in its cache.

On 2 cores compiling takes 10 to 20 s, and a small step takes 0.3 ms step by step and 0.04 ms compiled
(tests/benchmarks/compiled_step.py). What is in the cache must not count: one spec, one history.
"""

WORTH_NATIVE_STEPS = 5_000
"""The same of `native.cpp`, which takes 2 s to compile, once for all specs, and 0.01 ms for a small step."""


@dataclass(frozen=True)
class Choice:
    """How to make the steps, and why, as a sentence."""

    way: Way
    reason: str

    @property
    def compiled(self) -> bool:
        """Whether anything but PyTorch step by step."""
        return self.way != "eager"


def choose(policy: Policy, task: Task, steps: int) -> Choice:
    """Decide from the policy, the task, the device and the number of steps; never from a measurement.

    Args:
        policy: `on` and `off` decide; `auto` compiles where it pays.
        task: what is learned.
        steps: how many steps the run makes at most.

    Raises:
        UsageError: the policy is `on`, and this run cannot be compiled.
    """
    if policy == "off":
        return Choice("eager", "step by step, as --compile off says")
    obstacle = _obstacle(task)
    way: Way = "torch.compile" if native_obstacle(task) else "native"
    if policy == "on":
        if obstacle:
            raise UsageError(f"--compile on: {obstacle}. Use --compile auto, or leave it out.")
        return Choice(way, "compiled, as --compile on says")
    if steps < (WORTH_NATIVE_STEPS if way == "native" else WORTH_STEPS):
        return Choice("eager", f"step by step: {steps:,} steps are too few for compiling to pay")
    if obstacle:
        return Choice("eager", f"step by step: {obstacle}")
    return Choice(way, f"compiled, for {steps:,} steps")


def make_engine(
    choice: Choice, task: Task, parameters: Mapping[str, Tensor], on_message: Callable[[str], None]
) -> Engine:
    """The engine that was chosen, with these stacked first weights; `on_message` hears of long work."""
    if choice.way == "native":
        try:
            return NativeEngine(task, parameters, load_library())
        except NotCompiledError as error:
            on_message(f"compiling failed, so training goes step by step: {error}")
    if choice.way == "torch.compile":
        from nnrun.training.compiled import CompiledEngine  # its import takes a second

        on_message("compiling the training steps, which takes 10 to 20 s the first time")
        return CompiledEngine(task, parameters, on_message)
    return EagerEngine(task, parameters)


def _obstacle(task: Task) -> str | None:
    """Why this task cannot be compiled, or None."""
    if isinstance(task.loss, CustomLoss):
        return "a custom loss is not compiled"
    if task.own:
        return "replicas with learning rates or regularizers of their own are not compiled so far"
    if not task.inputs.dense:
        return "sparse rows have another shape in each batch, and compiled steps have one"
    if task.network.not_compilable is not None:
        return f"{task.network.not_compilable} is PyTorch's own work, which compiling makes no faster"
    if task.device.type != "cpu":
        return "compiled steps are for the CPU so far"
    if cxx_compiler() is None:
        return "there is no C++ compiler on this machine (c++, g++ or clang++)"
    return None
