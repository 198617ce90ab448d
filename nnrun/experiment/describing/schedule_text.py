"""A learning-rate schedule described in a sentence."""

from __future__ import annotations

from nnrun.spec import schema
from nnrun.spec.wording import counted
from nnrun.training.learning_rate import LearningRate


def rates_in_words(spec: schema.ExperimentSpec) -> str | None:
    """The rates of the first epoch, of the first with the highest, and of the last; None without a schedule.

    What a plateau will do is not known before; it is said when it would.
    """
    schedule = spec.learning_rate_schedule
    plateau = next((part for part in schedule if isinstance(part, schema.ReduceOnPlateau)), None)
    if not schedule:
        return None
    rates = LearningRate(spec.optimizer.learning_rate, schedule)
    by_epoch = {epoch: rates.of(epoch) for epoch in range(1, spec.epochs + 1)}
    highest = max(by_epoch, key=lambda epoch: by_epoch[epoch])
    told = sorted({1, highest} | ({spec.epochs} if plateau is None else set()))
    text = "learning rate " + ", ".join(f"{by_epoch[epoch]:.4g} in epoch {epoch}" for epoch in told)
    if plateau is None:
        return text
    waited = counted(max(plateau.patience, 1), "epoch")
    return f"{text}; then times {plateau.factor:g} whenever {plateau.monitor} has not improved for {waited}"
