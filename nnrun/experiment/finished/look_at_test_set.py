"""A look at the test set, counted before it is made."""

from __future__ import annotations

from typing import Any

from nnrun.data import Dataset
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.setup.environment import now
from nnrun.records import RunDirectory, count_look, looks_of_record


def look_at_test_set(
    run: RunDirectory, record: dict[str, Any], dataset: Dataset, command: str, listener: Listener
) -> int | None:
    """Write a look into the run's record and into the ledger of all runs next to it.

    Args:
        run: the run that looks.
        record: its record, which is added to and written.
        dataset: whose test set it is.
        command: `final` or `evaluate`.
        listener: is told where the number may be too low.

    Returns:
        Which look at this test set it is by experiments of this name, from 1. None for a smoke run, whose
        rows are generated: its look does not count.
    """
    uses = record["test_uses"] if isinstance(record.get("test_uses"), list) else []
    entry: dict[str, Any] = {"command": command, "at": now(), "data": dataset.name}
    record["test_uses"] = [*uses, entry]
    counted = looks_of_record(record)
    if counted:
        numbered = count_look(run.runs_dir, counted[-1])
        entry["look"] = numbered.number
        if numbered.problem is not None:
            listener.message(numbered.problem)
    run.write_record(record)
    return entry.get("look")
