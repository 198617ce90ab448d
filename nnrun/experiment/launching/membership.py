"""What a worker does to take part in shared work: signs of life, claims, and noticing when it must stop."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

from nnrun.errors import NnrunError
from nnrun.machine import this_process
from nnrun.records.claims import Claim, SignOfLife, Timing, WorkFolder, changed
from nnrun.records.takeover import Observer, next_claim

_BETWEEN_LOOKS = 0.2  # seconds; a look asks a file system that may be far away
_POLL = 0.25


class ClaimLost(KeyboardInterrupt):
    """Another worker has taken over what this one was doing, as from a worker that had died."""


class WorkStopped(KeyboardInterrupt):
    """The owner has asked all workers to stop, or is gone."""


class Beating:
    """Rewrites a process's sign of life from a thread, until it leaves.

    Args:
        folder: of the work.
        name: of the worker; empty for the owner.
        timing: how often.
        look: is called after each time, in the thread.
        doing: what is told each time, where that changes by itself.
    """

    def __init__(
        self,
        folder: WorkFolder,
        name: str,
        timing: Timing,
        look: Callable[[], object] = lambda: None,
        doing: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self._folder, self._timing, self._look, self._doing = folder, timing, look, doing
        self._sign = SignOfLife(name, this_process())
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name="signs of life", daemon=True)

    def __enter__(self) -> Beating:
        self.tell()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(NnrunError):
            self.tell(left=True)

    def tell(self, **what: Any) -> None:
        """Write the sign of life now, with what is new.

        Raises:
            NnrunError: it cannot be written.
        """
        if self._doing is not None:
            what["doing"] = dict(self._doing())
        with self._lock:
            self._sign = changed(self._sign, **what)
            try:
                self._folder.write_sign(self._sign)
            except OSError as error:
                if self._folder.path.is_dir():
                    raise NnrunError(f"Cannot write into {self._folder.path}: {error.strerror}.") from None

    def note(self, doing: Mapping[str, Any]) -> None:
        """Have the next sign of life tell what the process does."""
        with self._lock:
            self._sign = replace(self._sign, doing=doing)

    def _beat(self) -> None:
        while not self._ended.wait(self._timing.every):
            with contextlib.suppress(NnrunError):  # where it lasts, others take over, and this worker notices
                self.tell()
            self._look()


class Membership:
    """A worker's place in the work.

    Args:
        folder: of the work.
        stop_process: whether a request to stop is also sent to this process as a signal, so that training
            stops between two batches, and not only after an epoch.

    Attributes:
        claim: the part that it does; None where it does none, or has lost it to another.
        stopped: whether all were asked to stop, or the owner is gone.
    """

    def __init__(self, folder: WorkFolder, *, stop_process: bool = False) -> None:
        self.folder, self.plan = folder, folder.read_plan()
        process = this_process()
        host = re.sub(r"[^A-Za-z0-9-]", "-", process.host)[:24] or "host"
        self.name = f"{host}-{process.pid}-{secrets.token_hex(2)}"
        self._observer = Observer(folder, self.plan.timing)
        self._of_owner = Observer(folder, self.plan.timing)
        self._beating = Beating(folder, self.name, self.plan.timing, self._look)
        self._stop_process, self._looked = stop_process, 0.0
        self.stopped = False
        self.claim: Claim | None = None

    def __enter__(self) -> Membership:
        self._beating.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.claim is not None and kind is not None:
            self.folder.give_back(self.claim)
        self._beating.__exit__(kind, error, trace)

    def next(self) -> Claim | None:
        """Claim a part, where need be after waiting for one; None where all have results.

        Raises:
            WorkStopped: there is nothing more to do here.
        """
        self.claim = None
        self.doing({})
        while True:
            self._refuse_if_stopped()
            if self.plan.items <= self.folder.finished():
                return None
            try:
                self.claim = next_claim(self.folder, self.plan, self._observer, self.name)
            except OSError as error:
                self._refuse_if_stopped()
                raise NnrunError(f"Cannot write into {self.folder.path}: {error.strerror}.") from None
            if self.claim is not None:
                return self.claim
            time.sleep(_POLL)

    def do_all(self, do: Callable[[Claim], bool]) -> bool:
        """Claim parts and do them until none is left, or until `do` says False: nothing more is to be begun.

        Returns:
            Whether all were asked to stop before all had ended.

        Raises:
            KeyboardInterrupt: this worker was stopped; its part goes to another.
        """
        with contextlib.suppress(WorkStopped):
            while (claim := self.next()) is not None:
                try:
                    if not do(claim):
                        return False
                except KeyboardInterrupt:  # also that of a run which it has ended
                    if self.stopped:
                        break
                    if self.claim is not None:  # the signal was for this worker, and else the claim was lost
                        raise
        # Where all is done, the owner asks to stop, too, and removes the folder.
        return self.stopped and self.folder.path.is_dir() and not self.plan.items <= self.folder.finished()

    def doing(self, what: Mapping[str, Any]) -> None:
        """Tell what it is at; the owner shows it."""
        self._beating.tell(doing=dict(what))

    def note(self, what: Mapping[str, Any]) -> None:
        """The same, to be told with the next sign of life."""
        self._beating.note(dict(what))

    def check(self, *, now: bool = False) -> None:
        """Go on only while the part is this worker's and nobody has asked it to stop.

        Args:
            now: look in any case; else at most a few times a second.

        Raises:
            ClaimLost: another worker has taken the part over.
            WorkStopped: all were asked to stop.
        """
        moment = time.monotonic()
        if not now and moment - self._looked < _BETWEEN_LOOKS:
            return
        self._looked = moment
        self._refuse_if_stopped()
        if self.claim is not None and not self.folder.is_held(self.claim):
            self.claim = None
            raise ClaimLost("another worker has taken this over")

    def publish(self, item: int, document: Mapping[str, Any]) -> bool:
        """Keep what came of an item; False where another worker was quicker.

        Raises:
            ClaimLost, WorkStopped: as from `check`.
        """
        self.check(now=True)
        try:
            return self.folder.publish(item, {**document, "worker": self.name})
        except OSError as error:
            self._refuse_if_stopped()
            raise NnrunError(f"Cannot write into {self.folder.path}: {error.strerror}.") from None

    def message(self, text: str) -> None:
        """Have the owner show a sentence."""
        self.folder.tell(self.name, "message", text)

    def detail(self, text: str) -> None:
        """Have the owner show a line to the curious."""
        self.folder.tell(self.name, "detail", text)

    def _refuse_if_stopped(self) -> None:
        if self.stopped or self.folder.is_stopped():
            self.stopped = True
            raise WorkStopped("the owner of the work has stopped it")

    def _look(self) -> None:
        """Notice, in the thread, that there is nothing more to do here."""
        if self.stopped or not (self.folder.is_stopped() or self._of_owner.is_gone("")):
            return
        self.stopped = True
        if self._stop_process:
            os.kill(os.getpid(), signal.SIGTERM)
