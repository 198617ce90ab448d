"""What the owner of shared work does: it has workers started, takes in what comes, and ends them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from nnrun.atomic_files import writing
from nnrun.errors import NnrunError
from nnrun.experiment.launching.launcher import Launcher, WorkerCommand
from nnrun.experiment.launching.membership import Beating
from nnrun.interrupts import stop_if_leaving
from nnrun.records.claims import SignOfLife, WorkFolder, WorkPlan
from nnrun.records.takeover import Observer, given_up
from nnrun.spec.wording import counted

_POLL = 0.1
_TO_LEAVE = 30.0


class Audience(Protocol):
    """Is told how shared work goes."""

    def message(self, text: str) -> None:
        """A sentence."""

    def detail(self, text: str) -> None:
        """A line that only the curious want to know."""

    def result(self, item: int, found: Mapping[str, Any]) -> None:
        """What came of an item, once."""

    def at_work(self, signs: list[SignOfLife]) -> None:
        """What the workers that are there do now; told again and again."""

    def given_up(self, item: int) -> Mapping[str, Any]:
        """What is kept of an item that several workers have died with."""

    def is_over(self, signs: list[SignOfLife]) -> bool:
        """Whether nothing more is to be waited for once all workers have left: the time is up.

        Args:
            signs: the last of each of them.
        """

    def in_words(self, items: int) -> str:
        """So many items: `3 trials`."""

    def doing(self) -> Mapping[str, Any]:
        """What the owner tells its workers again and again, such as the time that is left."""


@dataclass(eq=False)
class Oversight:
    """Shared work under way.

    Attributes:
        folder, plan: the work.
        audience: is told how it goes.
        launcher: has started workers.
    """

    folder: WorkFolder
    plan: WorkPlan
    audience: Audience
    launcher: Launcher
    _taken: set[int] = field(default_factory=set)
    _read: dict[str, int] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)

    def run(self, command: WorkerCommand, count: int) -> None:
        """Have workers started, and take in results until all are there.

        However it ends, the workers that were started have ended then.

        Raises:
            NnrunError: all workers have ended, and work is left.
            KeyboardInterrupt: the user stopped it.
        """
        observer = Observer(self.folder, self.plan.timing)
        with Beating(self.folder, "", self.plan.timing, doing=self.audience.doing):
            try:
                self.launcher.start(command, count)
                self._until_done(observer)
            finally:
                self.folder.ask_to_stop()
                self.launcher.close(_TO_LEAVE)
                self._take_results()  # of those that came to an end meanwhile
                self._pass_on_words()

    def _until_done(self, observer: Observer) -> None:
        troubles: list[str] = []
        while not self._take_results():
            stop_if_leaving()
            self._pass_on_words()
            troubles += self._tell_troubles()
            signs = [sign for sign in self.folder.workers() if not observer.is_gone(sign.name)]
            self.audience.at_work(signs)
            for part in given_up(self.folder, self.plan, observer):
                with writing(self.folder.path):
                    for item in self.plan.parts[part]:
                        self.folder.publish(item, self.audience.given_up(item))
            if not signs and not self.launcher.at_work() and not self._take_results():
                if self.audience.is_over(self.folder.workers()):
                    return
                left = self.audience.in_words(len(self.plan.items - self._taken))
                why = f" ({'; '.join(troubles)})" if troubles else ""
                raise NnrunError(f"All workers have ended{why}, with {left} to do. Start it again to go on.")
            time.sleep(_POLL)
        self._tell_troubles()  # of those whose work another did since the last look

    def _tell_troubles(self) -> list[str]:
        """Say what became of workers that ended as they should not, of each once."""
        found = self.launcher.troubles()
        for sentence in found:
            self.audience.message(f"{sentence}; its work goes to another")
        return found

    def _take_results(self) -> bool:
        """Take in what is new; whether all is there."""
        for item in sorted((self.folder.finished() & self.plan.items) - self._taken):
            if (found := self.folder.result(item)) is not None:
                self._taken.add(item)
                self.audience.result(item, found)
        return self._taken >= self.plan.items

    def _pass_on_words(self) -> None:
        """Show what workers have told; a sentence that several tell, once."""
        for sign in self.folder.workers():
            lines, self._read[sign.name] = self.folder.told(sign.name, self._read.get(sign.name, 0))
            for kind, text in lines:
                if text not in self._said:
                    self._said.add(text)
                    (self.audience.message if kind == "message" else self.audience.detail)(text)


def wait_for_the_end_of(folder: WorkFolder, tell: Callable[[str], None]) -> None:
    """Have the workers of an earlier start end, whose owner died, before others begin with the same."""
    folder.ask_to_stop()
    try:
        timing = folder.read_plan().timing
    except NnrunError:
        return
    observer, told = Observer(folder, timing), False
    while left := [sign for sign in folder.workers() if not observer.is_gone(sign.name)]:
        if not told:
            hosts = ", ".join(sorted({sign.process.host for sign in left}))
            tell(f"waiting for {counted(len(left), 'worker')} of the start before to end, on {hosts}")
            told = True
        stop_if_leaving()
        time.sleep(_POLL)
