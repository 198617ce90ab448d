"""What a backend is: it maps the rows of a segment to losses and logits, and updates a state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from nnrun.spec.ports import Port
from nnrun.training.problem import SegmentData, TrainingProblem
from nnrun.training.train_state import TrainState

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """What the rows of a segment gave.

    Attributes:
        losses: name → (G, steps) the mean loss of each batch, as `nnrun.training.objective` names them.
        logits: for each head (G, n, K), or (G, n, T, K), detached.
        masks: for each head with steps that do not all count, (G, n, T) booleans.
    """

    losses: Mapping[str, Tensor]
    logits: Mapping[Port, Tensor]
    masks: Mapping[Port, Tensor] = field(default_factory=dict)


class Backend(Protocol):
    """Computes training steps and evaluates rows. It holds no state of the training."""

    compiled: bool
    """Whether a run's record calls its steps compiled, in whole or in part."""

    groups_parameters: ClassVar[bool]
    """Whether it updates small parameters together."""

    defers_rows: ClassVar[bool]
    """Whether the rows of a kernel that no batch meets may be updated later."""

    def train(self, state: TrainState, data: SegmentData, rng: Any) -> SegmentResult:
        """Make the steps of a segment, and update `state`, which holds its G replicas and no others.

        `rng` gives the random numbers of the epoch for these replicas; None where no layer draws any.
        """

    def evaluate(self, parameters: Mapping[str, Tensor], data: SegmentData) -> SegmentResult:
        """Losses, in float64, and logits of a segment that is a single batch.

        `parameters` are those of all R replicas, of which the segment names G.
        """


class LoadableBackend(Backend, Protocol):
    """A backend that can be chosen for a problem."""

    own_threads: ClassVar[bool]
    """Whether it shares its work out among threads of its own, to the same bits whatever their number."""

    @staticmethod
    def unsupported(problem: TrainingProblem) -> str | None:
        """Why it cannot compute this problem, as a clause; None where it can."""

    @classmethod
    def load(cls, problem: TrainingProblem, on_message: Callable[[str], None]) -> LoadableBackend:
        """Make it ready for a problem that it supports; `on_message` hears why that takes long.

        Raises:
            NnrunError: it cannot be loaded; the message is one line.
        """
