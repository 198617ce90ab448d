"""The engines of processes that train together: rank 0's says what is next, the others' do it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrun.errors import RankLostError
from nnrun.lazy_torch import torch
from nnrun.ranks import Ranks
from nnrun.replica_rows import RowIndices
from nnrun.spec.random_streams import RandomSource
from nnrun.training.backends.backend import Backend
from nnrun.training.engine import Engine
from nnrun.training.loop import Replica, epoch_order
from nnrun.training.metrics import EpochMetrics
from nnrun.training.problem import TrainingProblem

if TYPE_CHECKING:
    from torch import Tensor

_STATE, _TRAIN, _EVALUATE, _LEAVE = "state", "train", "evaluate", "leave"


class _EngineOnRanks(Engine):
    """An engine of one network, whose backend exchanges gradients with those of the other ranks."""

    def __init__(
        self, problem: TrainingProblem, weights: Mapping[str, Tensor], backend: Backend, ranks: Ranks
    ) -> None:
        super().__init__(problem, weights, backend)
        self.ranks = ranks

    def _take_state_of_first(self) -> None:
        for value in self.state.state_dict().values():
            self.ranks.copy_from_first(value)


class LeadingEngine(_EngineOnRanks):
    """The engine of rank 0, which the trainer uses as any other.

    All that is decided after an epoch (early stopping, learning rates, whether time is left) is decided here.
    """

    def __init__(
        self, problem: TrainingProblem, weights: Mapping[str, Tensor], backend: Backend, ranks: Ranks
    ) -> None:
        super().__init__(problem, weights, backend, ranks)
        self._rates: list[float] | None = None
        self._told_rows: list[RowIndices] = []
        self._told_state, self._waiting = False, True

    def train_epoch(
        self, orders: Sequence[RowIndices], sources: Sequence[RandomSource], epoch: int
    ) -> EpochMetrics:
        """One epoch, together with the others."""
        with self._having_them(do=_TRAIN, epoch=epoch, rates=self._rates):
            return super().train_epoch(orders, sources, epoch)

    def evaluate(self, rows: Sequence[RowIndices]) -> EpochMetrics:
        """Loss and metrics, measured together with the others, which keep the rows that they are told."""
        known = [index for index, held in enumerate(self._told_rows) if held is rows[0]]
        index = known[0] if known else len(self._told_rows)
        with self._having_them(do=_EVALUATE, index=index, rows=len(rows[0])):
            if not known:
                self._told_rows.append(rows[0])
                self.ranks.copy_from_first(torch.from_numpy(rows[0]))
            return super().evaluate(rows)

    def set_learning_rates(self, rates: Sequence[float]) -> None:
        """Set the learning rate, which the others hear with the next epoch."""
        super().set_learning_rates(rates)
        self._rates = list(rates)

    @contextmanager
    def _having_them(self, **order: Any) -> Iterator[None]:
        if not self._told_state:
            self.ranks.from_first({"do": _STATE})
            self._take_state_of_first()
            self._told_state = True
        self._waiting = False
        self.ranks.from_first(order)
        yield
        self._waiting = True

    def let_them_leave(self) -> None:
        """Training has ended. Where it ended amid an epoch, they hear of it as this process leaves."""
        if self._waiting:
            with suppress(RankLostError):  # who has gone needs not be told
                self.ranks.from_first({"do": _LEAVE})


class FollowingEngine(_EngineOnRanks):
    """The engine of another rank."""

    def follow(self, replica: Replica, *, shuffle: bool) -> None:
        """Do what rank 0 says, until it says that training has ended.

        Args:
            replica: the network's rows and its random numbers.
            shuffle: whether each epoch has its own order of rows.

        Raises:
            RankLostError: rank 0, or another one, has gone.
        """
        measured: list[RowIndices] = []
        while (order := self.ranks.from_first())["do"] != _LEAVE:
            if order["do"] == _STATE:
                self._take_state_of_first()
            elif order["do"] == _TRAIN:
                if order["rates"] is not None:
                    self.set_learning_rates(order["rates"])
                source, epoch = replica.source, order["epoch"]
                rows = epoch_order(replica.train_rows, shuffle=shuffle, source=source, epoch=epoch)
                self.train_epoch([rows], [source], epoch)
            else:
                if order["index"] == len(measured):
                    measured.append(np.empty(order["rows"], np.int64))
                    self.ranks.copy_from_first(torch.from_numpy(measured[-1]))
                self.evaluate([measured[order["index"]]])
