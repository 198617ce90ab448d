"""Values that the training rows did not contain, reported before the rows that hold them are scored."""

from __future__ import annotations

from collections.abc import Sequence

from nnrun.data import Dataset, FittedPreprocessing, Samples
from nnrun.data.preprocess.column_transformer import FittedTable
from nnrun.data.preprocess.unknown_values import Unknown, unknown_of_inputs
from nnrun.data.table import Table
from nnrun.errors import DataError
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.setup.groups import GroupMember
from nnrun.records import MemberType
from nnrun.spec.ports import Port


def tables_of(fitted: Sequence[FittedPreprocessing]) -> dict[Port, list[FittedTable]]:
    """The fitted column transformers of networks, of each input that is a table."""
    found = {}
    for port in fitted[0].inputs:
        own = [inputs.table for inputs in (each.inputs[port] for each in fitted) if inputs.of_table]
        if tables := [table for table in own if table is not None]:
            found[port] = tables
    return found


def unknown_in(
    fitted: Sequence[FittedPreprocessing], samples: Samples, *, texts: bool = True
) -> list[Unknown]:
    """Values of these rows that the networks' training rows did not contain, of each input."""
    inputs = samples.by_input(fitted[0].inputs)
    return unknown_of_inputs(tables_of(fitted), inputs, bool(samples.of_inputs), texts=texts)


def unknown_in_test_set(
    dataset: Dataset, fitted: Sequence[FittedPreprocessing], listener: Listener, *, allowed: bool
) -> list[Unknown]:
    """Values of the test rows that the training rows did not contain. Called before the test set is used.

    Args:
        dataset: with a test set.
        fitted: the preprocessing of the networks; what one of them saw is known.
        listener: receives a message for each column.
        allowed: whether most rows may be concerned.

    Raises:
        DataError: most of them are, in some column, and that is not allowed.
    """
    assert dataset.test is not None, "asked where there is one"
    inputs = dataset.test.inputs
    if not isinstance(inputs, Table):
        return []
    found = unknown_in(fitted, dataset.test)
    large = [unknown for unknown in found if unknown.large]
    if large and not allowed:
        more = f" (and {len(large) - 1} more)" if len(large) > 1 else ""
        raise DataError(
            f"The test set was not used: {large[0]}{more}. The score would say little about such rows. Write "
            "the values as in the training rows; or use the test set anyway: --allow-unknown (in Python "
            "allow_unknown=True)."
        )
    for unknown in found:
        listener.message(f"test set: {unknown}")
    return found


def report_unknown_in_validation(
    dataset: Dataset, members: Sequence[GroupMember], member_type: MemberType | None, listener: Listener
) -> None:
    """Report each column in which most validation rows of a fold hold a value unseen in its training rows.

    Texts are not looked at: to cut each fold's into words again would take long.
    """
    inputs = dataset.train.inputs
    assert isinstance(inputs, Table), "only columns have values to be unknown"
    worst: dict[tuple[Port | None, str | None], tuple[Unknown, int]] = {}
    for member in members:
        rows = member.fold.validation_rows
        if not len(rows):
            continue
        for unknown in unknown_in([member.fitted], dataset.train.take(rows), texts=False):
            before = worst.get((unknown.input, unknown.column))
            if unknown.large and (before is None or unknown.count > before[0].count):
                worst[unknown.input, unknown.column] = unknown, member.id
    for unknown, member_id in worst.values():
        where = f"validation rows of {member_type} {member_id}" if member_type else "validation rows"
        listener.message(f"{where}: {unknown}")
