"""The parts of a run that workers share: how it is divided, what is heard of them, their histories as one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnrun.errors import DataError, NnrunError
from nnrun.experiment.launching.outcomes import failed, raise_failed
from nnrun.experiment.running.listener import Listener, epochs_of_history
from nnrun.experiment.running.recorder import ActiveRun
from nnrun.records import RunDirectory
from nnrun.records.claims import SignOfLife, WorkFolder, WorkPlan
from nnrun.records.takeover import MOST_ATTEMPTS
from nnrun.spec.wording import counted
from nnrun.training.loop import EpochRecord

MEMBERS = "members"
RUN = "run"
_SECONDS_BETWEEN_LOOKS = 1.0


def parts_of(numbers: Sequence[int], parts: int) -> list[list[int]]:
    """Numbers in their order, in so many parts at most, whose sizes differ by one at most."""
    few, more = divmod(len(numbers), parts)
    found, first = [], 0
    for index in range(min(parts, len(numbers))):
        size = few + (index < more)
        found.append(list(numbers[first : first + size]))
        first += size
    return found


@dataclass(eq=False)
class Parts:
    """The parts of a run, as workers train them; what `Audience` asks for."""

    run: ActiveRun
    work: WorkFolder
    plan: WorkPlan
    listener: Listener
    _results: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _places: dict[int, str] = field(default_factory=dict)
    _shown: int = 0
    _looked: float = 0.0

    def message(self, text: str) -> None:
        """Hand it on."""
        self.listener.message(text)

    def detail(self, text: str) -> None:
        """Hand it on."""
        self.listener.detail(text)

    def result(self, item: int, found: Mapping[str, Any]) -> None:
        """Note how a part has ended."""
        self._results[item] = found
        if RUN in found:
            self._places[item] = str(found[RUN])

    def at_work(self, signs: list[SignOfLife]) -> None:
        """Show the epochs that all parts have ended; end all where one has failed."""
        self.raise_what_failed()
        for sign in signs:
            if RUN in sign.doing:
                self._places[int(sign.doing["part"])] = str(sign.doing[RUN])
        if time.monotonic() - self._looked > _SECONDS_BETWEEN_LOOKS:
            self._looked = time.monotonic()
            self.show()

    def given_up(self, item: int) -> Mapping[str, Any]:
        """A part that ends every worker has failed."""
        return failed(NnrunError(f"{MOST_ATTEMPTS} workers died while they trained part {item}."))

    def is_over(self, signs: list[SignOfLife]) -> bool:
        """A time limit ends each part's training, and not the work."""
        return False

    def in_words(self, items: int) -> str:
        """`2 parts`."""
        return counted(items, "part")

    def doing(self) -> Mapping[str, Any]:
        """Workers need to know nothing."""
        return {}

    def raise_what_failed(self) -> None:
        """Raise what ended a part that did not complete."""
        for found in self._results.values():
            raise_failed(found)

    def runs(self) -> list[RunDirectory]:
        """The run of each part, in order."""
        return [
            RunDirectory(self.work.path / str(self._results[number][RUN])) for (number,) in self.plan.parts
        ]

    def show(self) -> None:
        """Tell of epochs that all parts have ended, and that were not told before."""
        of_parts: list[dict[int, EpochRecord]] = []
        for (number,) in self.plan.parts:
            found: dict[int, EpochRecord] = {}
            if number in self._places:
                try:
                    history = RunDirectory(self.work.path / self._places[number]).read_history_table()
                    found = {epoch.epoch: epoch for epoch in epochs_of_history(history)}
                except (DataError, OSError):
                    found = {}
            of_parts.append(found)
        open_ = [index for index, (number,) in enumerate(self.plan.parts) if number not in self._results]
        last = max((max(found, default=0) for found in of_parts), default=0)
        while self._shown < last and all(self._shown + 1 in of_parts[index] for index in open_):
            self._shown += 1
            epochs = [found[self._shown] for found in of_parts if self._shown in found]
            self.listener.epoch(
                EpochRecord(
                    self._shown,
                    {id_: row for epoch in epochs for id_, row in epoch.rows.items()},
                    {id_: rate for epoch in epochs for id_, rate in epoch.learning_rates.items()},
                    max(epoch.seconds for epoch in epochs),
                )
            )


def merged_history(texts: Sequence[str], groups: Sequence[Sequence[int]]) -> str:
    """Histories of parts as one, its rows in the order in which one process writes them.

    Args:
        texts: whole histories with the same columns; the first names the fold or seed, the second the epoch.
        groups: the folds or seeds that one process trains side by side, one group after the other.
    """
    order = {id_: (group, place) for group, ids in enumerate(groups) for place, id_ in enumerate(ids)}
    header, rows = "", []
    for text in texts:
        header, *lines = text.splitlines()
        for line in lines:
            id_, epoch, _ = line.split(",", 2)
            group, position = order[int(id_)]
            rows.append(((group, int(epoch), position), line))
    return "\n".join([header, *(line for _, line in sorted(rows, key=lambda row: row[0]))]) + "\n"


def copy_of_part(earlier: RunDirectory, folder: Path) -> RunDirectory:
    """A copy of a part's run, to go on with: who trained it may only have been paused, and still write."""
    target = folder / earlier.path.name
    shutil.copytree(earlier.path, target, dirs_exist_ok=True)
    return RunDirectory(target)
