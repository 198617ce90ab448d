"""A look at a test set, and those that a run's own record lists.

Test sets are the same that have a file in common, by the SHA-256 of its bytes: whatever the file is called,
and whichever of its rows a spec takes for its test set, since the rows of another split overlap. A file that
was written anew, with other bytes, is another one.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.records.run_record import RunRecord


@dataclass(frozen=True)
class Look:
    """One use of a test set.

    Attributes:
        data: the data set, as a spec names it.
        sha256: of the files that its rows come from.
        name: the experiment's name.
        run: the run's id.
        command: `final`, `evaluate`, `importance` or `predict`.
        at: when, as the run's record has it.
    """

    data: str
    sha256: tuple[str, ...]
    name: str
    run: str
    command: str
    at: str


@dataclass(frozen=True)
class LookCount:
    """How many looks at one test set there were.

    Attributes:
        by_name: by experiments of one name.
        by_any: by experiments of any name.
    """

    by_name: int
    by_any: int


def looks_of_record(record: RunRecord) -> tuple[Look, ...]:
    """The looks that a run's own record lists. Those of a smoke run, at generated rows, do not count."""
    if record.smoke:
        return ()
    of_all_files = tuple(data.sha256 for data in record.data)
    of_file = record.data[0].name.removesuffix(".npz") if record.data else ""  # older records name no data
    return tuple(
        Look(
            of_file if use.data is None else use.data,
            of_all_files if use.sha256 is None else tuple(use.sha256),
            str(record.name),
            str(record.id),
            use.command,
            use.at,
        )
        for use in record.test_uses
    )
