"""Which backend trains: C++ wherever it is supported, else PyTorch step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nnrun.errors import UsageError
from nnrun.lazy_torch import torch
from nnrun.limits import cxx_compiler
from nnrun.native import rows_of_file
from nnrun.native.kernels import prepare
from nnrun.native.library import NotCompiledError, begin_loading
from nnrun.ranks import Ranks
from nnrun.spec import schema
from nnrun.training import update_kernel
from nnrun.training.backends.backend import Backend, LoadableBackend
from nnrun.training.backends.distributed import DistributedBackend
from nnrun.training.backends.eager import EagerBackend
from nnrun.training.backends.native import NativeBackend, unknown_in
from nnrun.training.engine import Engine
from nnrun.training.engine_on_ranks import FollowingEngine, LeadingEngine
from nnrun.training.problem import TrainingProblem

if TYPE_CHECKING:
    from torch import Tensor

Policy = Literal["auto", "on", "off", "recorded"]
"""`--compile`; `recorded` repeats a run that was compiled: `on` where that is still supported, else `off`."""

BACKENDS: tuple[type[LoadableBackend], ...] = (NativeBackend,)
"""In the order in which they are tried. PyTorch step by step is the last resort."""


ON_RANKS = "C++ trains in one process, and here several add up their gradients"


@dataclass(frozen=True)
class Choice:
    """A backend, and why it was chosen, as a sentence.

    Attributes:
        backend: computes the steps.
        reason: a sentence.
        kernels: the C++ libraries that layers and the optimizer call where PyTorch computes the steps.
        reads_rows: whether C++ reads rows from their file, whoever computes: bytes, and not float32.
    """

    backend: type[LoadableBackend]
    reason: str
    kernels: tuple[str, ...] = ()
    reads_rows: bool = False

    @property
    def compiled(self) -> bool:
        """Whether the record calls the steps compiled, in whole or in part."""
        return self.backend.compiled or bool(self.kernels)


def choose(policy: Policy, problem: TrainingProblem, *, on_ranks: bool = False) -> Choice:
    """Decide from the policy and the problem; never from a measurement, or from how much there is to do.

    So a spec has one history, however long it trains.

    Args:
        policy: `off` has PyTorch train; with `on` it must not.
        problem: what is learned.
        on_ranks: whether several processes train it together. Gradients are then added up between the
            backward pass and the update, which is one step of the C++ backend.

    Raises:
        UsageError: the policy is `on`, and no compiled backend supports the problem.
    """
    if policy == "off":
        return Choice(EagerBackend, "step by step, as --compile off says")
    reasons = []
    reads_rows = problem.streams_bytes and cxx_compiler() is not None
    for backend in BACKENDS:
        reason = ON_RANKS if on_ranks else backend.unsupported(problem)
        if reason is None:
            said = "compiled, as --compile on says" if policy == "on" else "compiled"
            return Choice(backend, said, reads_rows=reads_rows)
        reasons.append(reason)
    if policy == "on":
        raise UsageError(f"--compile on: {'; '.join(reasons)}. Use --compile auto, or leave it out.")
    there = problem.device.type == "cpu" and cxx_compiler() is not None
    kernels = _with_updates(problem.network.kernels, problem.optimizer.kernel) if there else ()
    beside = f", {' and '.join(kernels)} in C++" if kernels else ""
    return Choice(EagerBackend, f"step by step{beside}: {'; '.join(reasons)}", kernels, reads_rows)


def _with_updates(kernels: Iterable[str], updates: str | None) -> tuple[str, ...]:
    """The libraries of layers, and that of the optimizer where some layer has one; in order."""
    names = sorted(kernels)
    return (*names, updates) if names and updates is not None else tuple(names)


def begin_compiling(
    policy: Policy, spec: schema.ExperimentSpec, device: torch.device, kernels: Iterable[str] = ()
) -> None:
    """Compile the C++ code in the background where the run will want it, and it is not in the cache.

    Nothing is decided here: `choose` does that, once the data are known.

    Args:
        policy, spec, device: of the run.
        kernels: the C++ libraries that its layers call.
    """
    if policy == "off" or device.type != "cpu":
        return
    updates = update_kernel.LIBRARY if isinstance(spec.optimizer, update_kernel.KNOWN) else None
    for name in _with_updates(kernels, updates):
        begin_loading(name)
    if unknown_in(spec) is None:
        begin_loading(NativeBackend.library)


def make_engine(
    choice: Choice,
    problem: TrainingProblem,
    weights: Mapping[str, Tensor],
    on_message: Callable[[str], None],
    ranks: Ranks | None = None,
) -> Engine:
    """An engine with the chosen backend and these stacked first weights; `on_message` hears of long work.

    With `ranks` it is the engine of one of several processes that train together.
    """
    backend: Backend = _loaded(choice, problem, on_message)
    if ranks is None:
        return Engine(problem, weights, backend)
    assert isinstance(backend, EagerBackend), "`choose` gives several processes no other"
    shared = DistributedBackend(problem, backend, ranks)
    kind = FollowingEngine if ranks.launch.follows else LeadingEngine
    return kind(problem, weights, shared, ranks)


def _loaded(choice: Choice, problem: TrainingProblem, on_message: Callable[[str], None]) -> LoadableBackend:
    """The chosen backend, or PyTorch where compiling fails."""
    if choice.reads_rows:
        with suppress(NotCompiledError):  # NumPy reads the same
            prepare(rows_of_file.LIBRARY, on_message)
    try:
        for name in choice.kernels:
            prepare(name, on_message)
        backend = choice.backend.load(problem, on_message)
    except NotCompiledError as error:
        on_message(f"compiling failed, so PyTorch trains step by step: {error}")
        return EagerBackend(problem, kernels=False)
    return backend if choice.compiled else EagerBackend(problem, kernels=False)
