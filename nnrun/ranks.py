"""The processes that train one network together, as `torchrun` starts them, and what they exchange.

Each of them is a rank. Rank 0 decides, writes and prints; the others compute what it tells them to.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from nnrun.errors import RankLostError, UsageError, printable
from nnrun.interrupts import stop_if_asked
from nnrun.lazy_torch import AutogradFunction, torch

if TYPE_CHECKING:
    from torch import Tensor

TIMEOUT_VARIABLE = "NNRUN_RANK_TIMEOUT"
_TIMEOUT = 600.0  # seconds, PyTorch's own for NCCL

_SET_BY_TORCHRUN = ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Launch:
    """What torchrun tells a process that it starts.

    Attributes:
        rank: from 0; of all processes on all machines.
        world_size: how many there are.
        local_rank, local_world_size: the same on this machine.
    """

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int

    @property
    def follows(self) -> bool:
        """Whether another process decides, writes and prints."""
        return self.rank > 0


def launched(environment: Mapping[str, str] | None = None) -> Launch | None:
    """What torchrun says of this process; None where it did not start it, or started only this one.

    Raises:
        UsageError: a variable of torchrun's is not a whole number.
    """
    variables = os.environ if environment is None else environment
    if any(name not in variables for name in _SET_BY_TORCHRUN):
        return None
    for name in _SET_BY_TORCHRUN[1:]:
        if not variables[name].isdecimal():
            raise UsageError(f"{name} is {printable(variables[name])!r}; torchrun sets it to a whole number.")
    launch = Launch(*(int(variables[name]) for name in _SET_BY_TORCHRUN[1:]))
    return launch if launch.world_size > 1 else None


@dataclass(frozen=True, eq=False)
class Ranks:
    """This process among those that train together. Every method must be called by all of them, in one order.

    Where another process has ended, or does not answer in time, methods raise RankLostError.

    Attributes:
        launch: which one it is.
        device: where it computes.
    """

    launch: Launch
    device: torch.device

    @property
    def world_size(self) -> int:
        """W, how many processes there are."""
        return self.launch.world_size

    def part(self, rows: int) -> tuple[int, int]:
        """First and end of this rank's rows of a batch; equal where there are fewer rows than ranks."""
        return self._part(self.launch.rank, rows)

    def parts(self, rows: int) -> list[int]:
        """How many rows of a batch each rank has."""
        bounds = [self._part(rank, rows) for rank in range(self.world_size)]
        return [end - first for first, end in bounds]

    def _part(self, rank: int, rows: int) -> tuple[int, int]:
        return rank * rows // self.world_size, (rank + 1) * rows // self.world_size

    def add(self, values: Tensor) -> Tensor:
        """The sum of all ranks' values, in place; the same bits on all of them."""
        with _told_of_lost_ranks():
            self._finish(torch.distributed.all_reduce(values, async_op=True))
        return values

    def copy_from_first(self, values: Tensor) -> None:
        """Take rank 0's values, in place."""
        own = values.contiguous()
        with _told_of_lost_ranks():
            self._finish(torch.distributed.broadcast(own, 0, async_op=True))
        if own is not values:
            values.copy_(own)

    def joined(self, values: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
        """All ranks' values side by side along `dim`, where they have `sizes`; booleans stay booleans."""
        if values.dtype == torch.bool:
            return self.joined(values.to(torch.uint8), dim, sizes).to(torch.bool)
        most = max(sizes)
        shape = [*values.shape[:dim], most, *values.shape[dim + 1 :]]
        padded = values.new_zeros(shape)
        padded.narrow(dim, 0, values.shape[dim]).copy_(values)
        received = [torch.empty_like(padded) for _ in sizes]
        with _told_of_lost_ranks():
            self._finish(torch.distributed.all_gather(received, padded, async_op=True))
        return torch.cat([part.narrow(dim, 0, size) for part, size in zip(received, sizes, strict=True)], dim)

    def documents(self, own: Any) -> list[Any]:
        """A JSON document of each rank."""
        text = torch.frombuffer(bytearray(json.dumps(own).encode()), dtype=torch.uint8)
        lengths = [0] * self.world_size
        counts = torch.zeros(self.world_size, dtype=torch.int64)
        counts[self.launch.rank] = len(text)
        lengths = self.add(counts).tolist()
        whole = self.joined(text, 0, lengths)
        return [json.loads(bytes(part.tolist())) for part in torch.split(whole, lengths)]

    def from_first(self, document: Any = None) -> Any:
        """The JSON document that rank 0 gives."""
        text = torch.empty(0, dtype=torch.uint8)
        if not self.launch.follows:
            text = torch.frombuffer(bytearray(json.dumps(document).encode()), dtype=torch.uint8)
        length = torch.tensor([len(text)])
        self.copy_from_first(length)
        if self.launch.follows:
            text = torch.empty(int(length), dtype=torch.uint8)
        self.copy_from_first(text)
        return json.loads(bytes(text.tolist()))

    def _finish(self, work: Any) -> None:
        # While NCCL waits, Python would answer no request to stop.
        while self.device.type == "cuda" and not work.is_completed():
            stop_if_asked()
            time.sleep(0)
        work.wait()


@contextmanager
def joining(launch: Launch, device: torch.device) -> Iterator[Ranks]:
    """Meet the other processes: by gloo, on GPUs by NCCL.

    Raises:
        RankLostError: one of them did not come.
        UsageError: the variable of the timeout is not a number of seconds.
    """
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    limit = timedelta(seconds=_timeout())
    with _told_of_lost_ranks():
        torch.distributed.init_process_group(backend, timeout=limit)
    try:
        yield Ranks(launch, device)
    except BaseException:
        if device.type == "cpu":  # so that the others hear of it; NCCL would wait for them
            torch.distributed.destroy_process_group()
        raise
    torch.distributed.destroy_process_group()


def _timeout() -> float:
    text = os.environ.get(TIMEOUT_VARIABLE, "").strip()
    if not text:
        return _TIMEOUT
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise UsageError(f"{TIMEOUT_VARIABLE} is {printable(text)!r}; it must be seconds, a number above 0.")
    return seconds


@contextmanager
def _told_of_lost_ranks() -> Iterator[None]:
    """PyTorch's errors of a connection as one of ours."""
    try:
        yield
    except RuntimeError as error:  # gloo, NCCL and the store raise it and its subclasses
        first_line = str(error).strip().split("\n")[0][:_MOST_CHARACTERS]
        raise RankLostError(
            "one of the processes that train together has ended, or does not answer "
            f"({printable(first_line)})."
        ) from error


_MOST_CHARACTERS = 200


@dataclass(frozen=True)
class Share:
    """This rank's part of the batch that is being computed.

    Attributes:
        ranks: who has the others.
        rows: of this rank. Where it is 0, a row is computed all the same, and counts nowhere.
        of: of the whole batch.
    """

    ranks: Ranks
    rows: int
    of: int

    @property
    def fraction(self) -> float:
        """Which part of the batch it is."""
        return self.rows / self.of

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all ranks, which gradients flow through; a rank without rows adds 0."""
        own = values if self.rows else values * 0
        summed: Tensor = _Sum.apply(own, self.ranks)
        return summed


_share: ContextVar[Share | None] = ContextVar("share of a batch", default=None)


def share_of_batch() -> Share | None:
    """Which part of a batch the rows are that a layer or a loss is given; None where they are all of it."""
    return _share.get()


@contextmanager
def sharing(share: Share) -> Iterator[None]:
    """What is computed meanwhile is computed of a part of a batch."""
    token = _share.set(share)
    try:
        yield
    finally:
        _share.reset(token)


class _Sum(AutogradFunction):
    """The sum over ranks. All ranks' losses depend on it, so its gradient is the sum of what theirs say."""

    @staticmethod
    def forward(ctx, values: Tensor, ranks: Ranks) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.ranks = ranks
        return ranks.add(values.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        return ctx.ranks.add(grad.clone(memory_format=torch.contiguous_format)), None
