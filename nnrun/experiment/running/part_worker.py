"""A worker of a run: it claims parts, some of the folds or seeds, and trains each in the work folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnrun.errors import DataError, LockedError, NnrunError, UsageError
from nnrun.experiment.finished.load_run import nested_settings, selection_of
from nnrun.experiment.launching.membership import Membership
from nnrun.experiment.launching.outcomes import failed
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, Start
from nnrun.experiment.running.parts import MEMBERS, RUN, copy_of_part
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.records import RunDirectory, RunRecord
from nnrun.records.claims import Claim
from nnrun.records.work_starts import open_work
from nnrun.spec.reading.load import LoadedSpec, load_spec
from nnrun.training.loop import EpochRecord


@dataclass(frozen=True)
class PartsDone:
    """What a worker has done.

    Attributes:
        run: the run.
        worker: the worker's name; empty where there was nothing to join.
        members: the folds or seeds that it trained to their end.
        stopped: whether it was asked to stop before all had ended.
    """

    run: RunDirectory
    worker: str = ""
    members: tuple[int, ...] = ()
    stopped: bool = False


def work_on_run(
    run: RunDirectory, settings: Settings, listener: Listener, *, stop_process: bool = False
) -> PartsDone:
    """Train parts of a run that several workers share, until all have ended or it is stopped.

    Args:
        run: the run, whose folder several machines may see.
        settings: how and where parts train here; what is trained, the run says.
        listener: is told what this worker does.
        stop_process: whether a request to stop is also sent to this process as a signal.

    Raises:
        UsageError: the run is not being trained by workers.
        KeyboardInterrupt: this worker was stopped; its part goes to another.
    """
    record = run.read_record()
    folder = open_work(run.path)
    if folder is None:
        if record.status == "completed":
            return PartsDone(run)
        raise UsageError(
            f"{run.id} is not being trained by workers now, so there is nothing to join. Resume it: nnrun "
            f"train --resume {run.path}"
        )
    loaded = load_spec(run.resolved_path)
    with Membership(folder, stop_process=stop_process) as member:
        worker = _Worker(run, record, loaded, settings, member, listener)
        stopped = member.do_all(worker.train)
        return PartsDone(run, member.name, tuple(worker.trained), stopped)


@dataclass(eq=False)
class _Worker:
    run: RunDirectory
    record: RunRecord
    loaded: LoadedSpec
    settings: Settings
    member: Membership
    listener: Listener
    trained: list[int] = field(default_factory=list)

    def train(self, claim: Claim) -> bool:
        """Train a part, and write what came of it."""
        (number,) = self.member.plan.parts[claim.part]
        ids = [int(id_) for id_ in self.member.plan.details[MEMBERS][claim.part]]
        try:
            part = self._trained(claim, ids)
            document = {"status": "completed", RUN: str(part.path.relative_to(self.member.folder.path))}
        except NnrunError as error:
            document = failed(error)
        if self.member.publish(number, document) and document["status"] == "completed":
            self.trained += ids
        return True

    def _trained(self, claim: Claim, ids: list[int]) -> RunDirectory:
        """The run of a part, trained to its end: from where an earlier worker came to, where that is kept."""
        folder = self.member.folder.place_of(claim)
        listener = _PartListener(self.member, claim, self.listener)
        for earlier in self._earlier(claim):
            if earlier.read_record().status == "completed":
                return earlier
            if not earlier.has_checkpoint():
                continue
            shutil.rmtree(folder, ignore_errors=True)
            copied = copy_of_part(earlier, folder)
            listener.run = copied
            try:
                resume_run(copied, data_dir=self.settings.data_dir, listener=listener, part=True)
            except (DataError, UsageError, LockedError) as why:  # it would not go on exactly as it began
                listener.detail(f"part {claim.part + 1} begins anew: {why}")
                shutil.rmtree(folder, ignore_errors=True)
                break
            return copied
        return run_experiment(self._spec(ids), self._settings(ids, folder), listener)

    def _earlier(self, claim: Claim) -> list[RunDirectory]:
        """What earlier workers left of a part, the last first."""
        found = []
        for generation in range(claim.generation - 1, 0, -1):
            folder = self.member.folder.place_of(replace(claim, generation=generation))
            runs = [RunDirectory(path) for path in sorted(folder.glob("*"))] if folder.is_dir() else []
            found += [run for run in runs if run.is_run()]
        return found

    def _spec(self, ids: list[int]) -> LoadedSpec:
        """The run's spec; of seeds with the first of them."""
        if self.record.member_type != "seed":
            return self.loaded
        return replace(self.loaded, spec=self.loaded.spec.model_copy(update={"seed": ids[0]}))

    def _settings(self, ids: list[int], folder: Path) -> Settings:
        return replace(
            self.settings,
            command=self.record.command or "train",
            runs_dir=folder,
            smoke=self.record.smoke,
            selection=selection_of(self.record, ids),
            parent=self.run.id,
            parent_data=self.record.data_hashes,
            part=True,
            **nested_settings(self.record),
        )


class _PartListener(Listener):
    """Hears of a part's training, and goes on only while the part is this worker's."""

    def __init__(self, member: Membership, claim: Claim, listener: Listener) -> None:
        self._member, self._part, self._listener = member, claim.part + 1, listener
        self.run: RunDirectory | None = None

    def message(self, text: str) -> None:
        """To the owner, and to who watches this worker."""
        self._member.message(text)
        self._listener.message(text)

    def detail(self, text: str) -> None:
        """The same."""
        self._member.detail(text)
        self._listener.detail(text)

    def started(self, start: Start) -> None:
        """Tell where it is trained."""
        self.run = start.run
        self._member.check(now=True)
        self._member.doing(self._doing(0))
        self._listener.started(start)

    def epoch(self, record: EpochRecord) -> None:
        """Go on only while the part is this worker's."""
        self._member.check()
        self._member.note(self._doing(record.epoch))
        self._listener.epoch(record)

    def ended(self) -> None:
        """Hand it on."""
        self._listener.ended()

    def _doing(self, epoch: int) -> dict[str, object]:
        assert self.run is not None, "it has started"
        return {
            "part": self._part,
            RUN: str(self.run.path.relative_to(self._member.folder.path)),
            "epoch": epoch,
        }
