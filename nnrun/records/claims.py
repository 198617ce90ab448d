"""Work that several processes share, on one machine or many: a folder in which each part is claimed by one.

    plan.json                       what there is to do, in parts of numbered items
    owner.json  worker-NAME.json    signs of life: each process rewrites its own again and again
    worker-NAME.log                 what a worker has to tell, a line of JSON each
    part-0001.claim-1               who does a part; claim-2: who took it over from one that died, and so on
    part-0001.left-1                who had the first claim has given it back
    part-0001-1/                    what it has made of the part, where that is a folder (of a run's folds)
    result-0001.json                what came of an item: written once, by whoever came first
    stop                            nobody begins anything more

Nothing here needs locks of files, which network file systems lack or lose: what must happen once is a file
that must not exist before (`create_once`). Clocks of machines are never compared: an observer counts the time
for which it sees no change, by its own clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nnrun.atomic_files import plain, read_json_object, unfinished, write_text
from nnrun.errors import DataError, NnrunError
from nnrun.machine import ProcessName
from nnrun.records.create_once import create_once

_CLAIM = re.compile(r"part-(\d+)\.claim-(\d+)")
_LEFT = re.compile(r"part-(\d+)\.left-(\d+)")
_RESULT = re.compile(r"result-(\d+)\.json")
_WORKER = re.compile(r"worker-(.+)\.json")
_PLAN, _STOP, _OWNER = "plan.json", "stop", "owner.json"


@dataclass(frozen=True)
class Timing:
    """How often a process gives a sign of life, and how long others wait for one, in seconds.

    A network file system shows a change up to a minute late.
    """

    every: float = 2.0
    patience: float = 90.0


DEFAULT_TIMING = Timing()


@dataclass(frozen=True)
class WorkPlan:
    """What there is to do.

    Attributes:
        parts: the numbers of the items of each part; a part is done by one worker.
        timing: of signs of life.
        details: what workers need to know besides, as JSON.
    """

    parts: Sequence[Sequence[int]]
    timing: Timing = field(default_factory=Timing)
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def items(self) -> set[int]:
        """All numbers."""
        return {item for part in self.parts for item in part}


@dataclass(frozen=True)
class SignOfLife:
    """What a process last wrote of itself.

    Attributes:
        name: of the worker; empty for the owner.
        process: which process it is.
        count: how often it has written.
        left: it has ended, as it should.
        doing: what it is at, as JSON.
    """

    name: str
    process: ProcessName
    count: int = 0
    left: bool = False
    doing: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A part that a worker does.

    Attributes:
        part: its place in the plan, from 0.
        generation: 1 for the first worker that claimed it, 2 for the one that took it over, and so on.
        worker: its name.
    """

    part: int
    generation: int
    worker: str


@dataclass(frozen=True)
class WorkFolder:
    """The folder of one start.

    Attributes:
        path: the folder.
    """

    path: Path

    # --- what there is to do ---

    def read_plan(self) -> WorkPlan:
        """The plan.

        Raises:
            DataError: it is not there, or damaged.
        """
        path = self.path / _PLAN
        found = read_json_object(path)
        try:
            timing = Timing(**found["timing"])
            return WorkPlan([[int(n) for n in part] for part in found["parts"]], timing, found["details"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged: {error!r}.") from None

    def write_plan(self, plan: WorkPlan) -> None:
        """Keep what there is to do.

        Raises:
            NnrunError: it cannot be written.
        """
        parts = [list(part) for part in plan.parts]
        text = json.dumps(plain({**asdict(plan), "parts": parts}), indent=1)
        write_text(self.path / _PLAN, text)

    def ask_to_stop(self) -> None:
        """Have all workers end, and nobody begin."""
        with contextlib.suppress(
            NnrunError
        ):  # a disk that is full; the workers notice that the owner is gone
            if self.path.is_dir():
                write_text(self.path / _STOP, "")

    def ask_to_go_on(self) -> None:
        """Have others begin again.

        Raises:
            OSError: the folder cannot be written.
        """
        (self.path / _STOP).unlink(missing_ok=True)

    def is_stopped(self) -> bool:
        """Whether all were asked to end, or the folder is gone."""
        return os.path.lexists(self.path / _STOP) or not os.path.lexists(self.path / _PLAN)

    # --- who is at work ---

    def write_sign(self, sign: SignOfLife) -> None:
        """Rewrite the sign of life of a process.

        Raises:
            OSError: it cannot be written.
        """
        path = self.path / (f"worker-{sign.name}.json" if sign.name else _OWNER)
        temporary = unfinished(path)
        try:
            temporary.write_text(json.dumps(plain(asdict(sign))), encoding="utf-8")
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def read_sign(self, name: str) -> SignOfLife | None:
        """The last sign of life of a worker, or for an empty name of the owner; None where there is none."""
        try:
            found = read_json_object(self.path / (f"worker-{name}.json" if name else _OWNER))
            return SignOfLife(**{**found, "process": ProcessName(**found["process"])})
        except (DataError, KeyError, TypeError):
            return None

    def workers(self) -> list[SignOfLife]:
        """The last sign of life of each worker that has ever given one, by name."""
        names = sorted(found[1] for found in map(_WORKER.fullmatch, self._names()) if found)
        signs = (self.read_sign(name) for name in names)
        return [sign for sign in signs if sign is not None]

    def tell(self, worker: str, kind: str, text: str) -> None:
        """Have the owner show a line."""
        with contextlib.suppress(OSError), (self.path / f"worker-{worker}.log").open("ab") as file:
            file.write(json.dumps([kind, text]).encode() + b"\n")

    def told(self, worker: str, since: int) -> tuple[list[tuple[str, str]], int]:
        """The lines of a worker from a position on: kind and text; and the position behind them."""
        try:
            with (self.path / f"worker-{worker}.log").open("rb") as file:
                file.seek(since)
                data = file.read()
        except OSError:
            return [], since
        whole = data[: data.rfind(b"\n") + 1]
        return [tuple(json.loads(line)) for line in whole.splitlines()], since + len(whole)

    # --- parts ---

    def claims(self) -> dict[int, int]:
        """Part → the generation of its last claim."""
        return self._last(_CLAIM)

    def given_back(self) -> dict[int, set[int]]:
        """Part → the generations that were given back."""
        found: dict[int, set[int]] = {}
        for match in map(_LEFT.fullmatch, self._names()):
            if match:
                found.setdefault(int(match[1]) - 1, set()).add(int(match[2]))
        return found

    def holder(self, part: int, generation: int) -> str | None:
        """The name of the worker that made a claim; None where it cannot be read (yet)."""
        try:
            return str(read_json_object(self._claim(part, generation))["worker"])
        except (DataError, KeyError):
            return None

    def take(self, part: int, generation: int, worker: str) -> Claim | None:
        """Claim a part; None where another worker was quicker.

        Raises:
            OSError: the folder is gone, or cannot be written.
        """
        data = json.dumps({"worker": worker}).encode()
        made = create_once(self._claim(part, generation), data)
        return Claim(part, generation, worker) if made else None

    def is_held(self, claim: Claim) -> bool:
        """Whether nobody has taken over what a worker claimed, and nobody has asked it to stop."""
        taken_over = os.path.lexists(self._claim(claim.part, claim.generation + 1))
        return not taken_over and os.path.lexists(self._claim(claim.part, claim.generation))

    def give_back(self, claim: Claim) -> None:
        """A worker leaves before its part is done, as it was asked to."""
        with contextlib.suppress(OSError):
            create_once(self.path / f"part-{claim.part + 1:04}.left-{claim.generation}", b"")

    # --- what came of it ---

    def publish(self, item: int, document: Mapping[str, Any]) -> bool:
        """Keep what came of an item; False where there is a result already, which then stands.

        Raises:
            OSError: the folder is gone, or cannot be written.
        """
        text = json.dumps(plain(document), ensure_ascii=False, allow_nan=False)
        return create_once(self.path / f"result-{item:04}.json", text.encode())

    def withdraw(self, item: int) -> None:
        """Have an item done again. No worker may be at work."""
        with contextlib.suppress(OSError):
            (self.path / f"result-{item:04}.json").unlink()

    def finished(self) -> set[int]:
        """The items that have a result."""
        return {int(found[1]) for found in map(_RESULT.fullmatch, self._names()) if found}

    def result(self, item: int) -> dict[str, Any] | None:
        """What came of an item; None where it cannot be read (yet)."""
        try:
            return read_json_object(self.path / f"result-{item:04}.json")
        except DataError:
            return None

    def place_of(self, claim: Claim) -> Path:
        """A folder for what a worker makes of a part, its own for each claim."""
        return self.path / f"part-{claim.part + 1:04}-{claim.generation}"

    def _claim(self, part: int, generation: int) -> Path:
        return self.path / f"part-{part + 1:04}.claim-{generation}"

    def _last(self, pattern: re.Pattern[str]) -> dict[int, int]:
        found: dict[int, int] = {}
        for match in map(pattern.fullmatch, self._names()):
            if match:
                part = int(match[1]) - 1
                found[part] = max(found.get(part, 0), int(match[2]))
        return found

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.path)
        except OSError:
            return []


def changed(sign: SignOfLife, **what: Any) -> SignOfLife:
    """The next sign of life of the same process."""
    return replace(sign, count=sign.count + 1, **what)
