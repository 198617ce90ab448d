"""A run whose folds or seeds are shared among workers: what the owner of the run's folder does.

Each part, some of the folds or seeds, is trained by a worker as a run of its own within the work folder, with
its checkpoints. When all have ended, the owner puts them together: the run's folder is that of one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from nnrun.errors import UsageError
from nnrun.experiment.finished.load_run import nested_settings, refuse_changed_data, selection_of
from nnrun.experiment.launching.launcher import WorkerCommand, Workers, make_launcher, worker_arguments
from nnrun.experiment.launching.oversee import Oversight, wait_for_the_end_of
from nnrun.experiment.running.job import Job, Settings, computing, prepare_job
from nnrun.experiment.running.listener import SILENT, Listener, OnlyMessages
from nnrun.experiment.running.on_ranks import device_of
from nnrun.experiment.running.parts import MEMBERS, Parts, merged_history, parts_of
from nnrun.experiment.running.recorder import (
    ActiveRun,
    new_run,
    recording,
    recording_the_end,
    start_of,
    versions,
)
from nnrun.experiment.running.train import finish_run, spec_to_train
from nnrun.interrupts import uninterrupted
from nnrun.machine import this_process
from nnrun.records import Member, RunDirectory, now, refuse_unwritable
from nnrun.records.claims import DEFAULT_TIMING, Timing, WorkFolder, WorkPlan
from nnrun.records.run_record import Resumption, RunRecord
from nnrun.records.work_starts import begin, remove, reopen, starts
from nnrun.spec import schema
from nnrun.spec.reading.load import LoadedSpec, read_kept_spec
from nnrun.spec.wording import counted
from nnrun.training.device import cpu_setup


def train_shared(
    loaded: LoadedSpec,
    settings: Settings,
    listener: Listener,
    workers: Workers,
    timing: Timing = DEFAULT_TIMING,
) -> RunDirectory:
    """Train the folds or seeds of a spec by several workers, and keep the record of it as of one.

    Raises:
        UsageError: there is one network; there is no such launcher or device.
        NnrunError: all workers have ended, and parts are left; the run can be resumed.
        DivergedError, DataError, RunInterrupted: as from `run_experiment`.
    """
    refuse_what_is_not_shared(loaded.spec, settings)
    make_launcher(workers)
    spec = spec_to_train(loaded, settings, listener)
    refuse_unwritable(settings.runs_dir)
    device = device_of(settings)
    with computing(device, spec.deterministic):
        job, plan = prepare_job(spec, settings, device, listener)
        threads = plan.threads
        del plan  # it holds the rows of all folds
        parts = parts_of(job.member_ids, workers.count)
        job = replace(job, networks_at_once=_networks_at_once(job, parts))
        with new_run(job, loaded.source_text, threads, listener.message) as run:
            numbered = [[number] for number in range(1, len(parts) + 1)]
            work = begin(run.directory.path, WorkPlan(numbered, timing, {MEMBERS: parts}), this_process())
            _train(run, work, workers, threads, listener)
    return run.directory


def is_shared(run: RunDirectory) -> bool:
    """Whether workers were training parts of a run when it ended."""
    return bool(starts(run.path))


def resume_shared(
    run: RunDirectory,
    workers: Workers | None,
    *,
    spec: schema.ExperimentSpec | None = None,
    data_dir: Path | None = None,
    device: str | None = None,
    listener: Listener = SILENT,
) -> Workers:
    """Go on with the parts of a run that have not ended, by as many workers as it has parts, or by others.

    Returns:
        These workers.

    Raises:
        LockedError: another process is at work on the run.
        UsageError: the run diverged, or `spec` is another one.
        DataError: the data are different.
    """
    with run.owned():
        record = run.read_record()
        kept = read_kept_spec(run.read_resolved(), file=f"the spec of {run.id}")
        _refuse_to_resume(run, record, kept, spec)
        work = starts(run.path)[-1]
        wait_for_the_end_of(work, listener.message)
        parts = work.read_plan().details[MEMBERS]
        workers = workers or Workers(len(parts))
        make_launcher(workers)
        settings = Settings(
            command=record.command or "train",
            runs_dir=run.runs_dir,
            data_dir=data_dir,
            device=device or record.device or "auto",
            smoke=record.smoke,
            selection=selection_of(record),
            **nested_settings(record),
        )
        chosen_device = device_of(settings)
        with computing(chosen_device, kept.deterministic):
            job, plan = prepare_job(kept, settings, chosen_device, listener)
            refuse_changed_data(job.dataset, record.data_hashes, run.id)
            threads = record.threads or plan.threads
            del plan
            with _reopened(run, record, job) as active:
                for number in work.finished():
                    if (work.result(number) or {}).get("status") != "completed":
                        work.withdraw(number)
                reopen(work, this_process())
                listener.message(f"resuming {run.id}: {_ended(work)} of {len(parts)} parts have ended")
                _train(active, work, workers, threads, listener)
    return workers


def _refuse_to_resume(
    run: RunDirectory,
    record: RunRecord,
    kept: schema.ExperimentSpec,
    wanted: schema.ExperimentSpec | None,
) -> None:
    """Raise UsageError where the run diverged, or another spec than the kept one is wanted."""
    if record.status == "diverged":
        raise UsageError(
            f"{run.id} cannot be resumed: it diverged, and would again. Change its spec and start a new run."
        )
    left_out = ["sweep", *(["nested"] if kept.nested is None else [])]
    if wanted is not None and wanted.model_copy(update=dict.fromkeys(left_out)) != kept:
        raise UsageError(
            f"{run.id} cannot be resumed with a different spec. Undo the changes, or start a new run."
        )


def refuse_what_is_not_shared(spec: schema.ExperimentSpec, settings: Settings) -> None:
    """Raise UsageError where there is nothing to share among workers."""
    if settings.selection.networks(spec) < 2:
        raise UsageError(
            "--workers shares folds or seeds, and this trains one network. Use `nnrun kfold`, --seeds N, or "
            "for one large network `torchrun --nproc-per-node N -m nnrun train SPEC`."
        )


@contextmanager
def _reopened(run: RunDirectory, record: RunRecord, job: Job) -> Iterator[ActiveRun]:
    with ExitStack() as stack:
        with uninterrupted():
            record.unset("error")
            record.status, record.ended, record.versions = "running", None, versions()
            record.resumed = [*record.resumed, Resumption(at=now(), after_epoch=record.epochs_run or 0)]
            stack.enter_context(recording_the_end(run, record, job.memory.peak))
            run.write_record(record)
        yield ActiveRun(run, record, job)


def _networks_at_once(job: Job, parts: Sequence[Sequence[int]]) -> int:
    groups = [{member.id for member in group.members} for group in job.groups]
    return max(len(group & set(part)) for group in groups for part in parts)


def _ended(work: WorkFolder) -> int:
    return len(work.finished())


def _train(run: ActiveRun, work: WorkFolder, workers: Workers, threads: int, listener: Listener) -> None:
    """Have the parts trained, and put them together."""
    plan = work.read_plan()
    parts = Parts(run, work, plan, listener)
    settings = run.job.settings
    command = WorkerCommand(
        worker_arguments(
            "train",
            run.directory.path,
            device=settings.device,
            compile_=settings.compile,
            data_dir=settings.data_dir,
        ),
        Path.cwd(),
        work.path.resolve(),
        settings.device,
    )
    kind = f"{run.job.member_type}s"
    listener.started(start_of(run, resumed=False))
    listener.message(
        f"{counted(workers.count, 'worker')} for {len(run.job.member_ids)} {kind} in "
        f"{counted(len(plan.parts), 'part')}; more can join: nnrun train --worker {run.directory.word}"
    )
    try:
        Oversight(work, plan, parts, make_launcher(workers)).run(command, workers.count)
        parts.raise_what_failed()
        parts.show()
    finally:
        listener.ended()
    with cpu_setup(threads):
        _put_together(run, parts.runs(), listener)
    remove(work)


def _put_together(run: ActiveRun, parts: Sequence[RunDirectory], listener: Listener) -> None:
    """Make the run's folder what it were if one process had trained all parts."""
    quiet = replace(run, job=replace(run.job, listener=OnlyMessages(listener)))
    job, record = quiet.job, quiet.record
    records = [part.read_record() for part in parts]
    place = {id_: index for index, found in enumerate(records) for id_ in found.member_ids}
    groups = [[member.id for member in group.members] for group in job.groups]
    merged = merged_history([part.history_text() for part in parts], groups)
    run.directory.remove_history()  # a process that was killed in the midst of this may have left one
    with recording(quiet, {id_: id_ for id_ in job.member_ids}, history=merged):
        record.epochs_run = max(found.epochs_run or 0 for found in records)
        record.compiled = records[0].compiled
        for drowned in [found.drowned for found in records if found.drowned is not None][:1]:
            record.drowned = drowned
        for id_ in job.member_ids:
            member = job.member(id_)
            assert isinstance(member, Member), "there are several networks"
            run.directory.take_member(parts[place[id_]], member)
            known = records[place[id_]].network(member)
            told = known.model_fields_set & {*_OF_TRAINING}
            record.tell(member, **{name: getattr(known, name) for name in _OF_TRAINING if name in told})
        run.directory.refuse_if_gone()
    record.training_seconds = max(found.training_seconds or 0.0 for found in records)
    finish_run(quiet)


_OF_TRAINING = (
    *("stopped_early", "stopped_by_time"),
    *("weights_epoch", "weights_averaged", "best_weights_epoch"),
)
