"""A look at a test set, and those that a run's own record lists."""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.records.run_record import RunRecord


@dataclass(frozen=True)
class Look:
    """One use of a test set.

    Attributes:
        data: the data set, as a spec names it.
        sha256: of the files behind it.
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

    def counts_with(self, other: Look) -> bool:
        """Whether both are at the same test set (they share a file) by experiments of one name."""
        return self.name == other.name and not set(self.sha256).isdisjoint(other.sha256)


def looks_of_record(record: RunRecord) -> tuple[Look, ...]:
    """The looks that a run's own record lists. Those of a smoke run, at generated rows, do not count."""
    if record.smoke:
        return ()
    sha256 = tuple(data.sha256 for data in record.data)
    of_file = record.data[0].name.removesuffix(".npz") if record.data else ""  # older records name no data
    return tuple(
        Look(
            of_file if use.data is None else use.data,
            sha256,
            str(record.name),
            str(record.id),
            use.command,
            use.at,
        )
        for use in record.test_uses
    )
