"""The learning rates of a final run whose parent's validation decided them."""

from __future__ import annotations

from nnrun.errors import UsageError
from nnrun.records import RunDirectory, member_type_of
from nnrun.spec import schema
from nnrun.spec.reading.load import read_kept_spec


def watched_by_schedule(spec: schema.ExperimentSpec) -> str | None:
    """The validated column that decides the learning rates; None where no validation does."""
    monitors = [p.monitor for p in spec.learning_rate_schedule if isinstance(p, schema.ReduceOnPlateau)]
    return next((monitor for monitor in monitors if monitor.startswith("val_")), None)


def refuse_without_validation(spec: schema.ExperimentSpec) -> None:
    """Raise UsageError where the learning rates follow from a validation that there is not."""
    column = watched_by_schedule(spec)
    if column is not None:
        raise UsageError(
            f"reduce_on_plateau watches {column}, and a final run validates nothing. Name a run of this spec "
            "instead of the spec, and the learning rates of its epochs are reused; or set "
            "learning_rate_schedule, such as --set learning_rate_schedule=[]."
        )


def replayed_schedule(parent: RunDirectory, spec: schema.ExperimentSpec) -> tuple[schema.Rates, str]:
    """The learning rate of each of a run's epochs, to be taken again, and a sentence about it.

    Of several folds or seeds an epoch has the median over those that reached it; of an even number the lower
    of the two in the middle, so that it is a rate that one of them had.

    Args:
        parent: the run.
        spec: what the final run is about to train: the run's spec, perhaps with changes.

    Raises:
        UsageError: the spec's learning rate is another one than the run's.
        DataError: the run's history is missing or damaged.
    """
    column = watched_by_schedule(spec)
    then, now = (
        read_kept_spec(parent.read_resolved(), file=f"the spec of {parent.id}").optimizer.learning_rate,
        spec.optimizer.learning_rate,
    )
    if then != now:
        raise UsageError(
            f"The learning rates of {parent.id} follow from its {column} and start at {then:g}, so they do "
            f"not apply to a learning rate of {now:g}. Leave it as it was, or set learning_rate_schedule as "
            "well."
        )
    history = parent.read_history()
    member_type = member_type_of(history.columns)
    rates = history.groupby("epoch")["learning_rate"].quantile(0.5, interpolation="lower")
    networks = "" if member_type is None else f", the median over its {member_type}s"
    sentence = (
        "there is no validation here, so each epoch has the learning rate that it had in "
        f"{parent.id}{networks}"
    )
    return schema.Rates(rates=[float(rate) for rate in rates]), sentence
