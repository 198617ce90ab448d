"""An interrupted run continues in its own folder, as if it had never stopped."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnrun.errors import DataError, UsageError
from nnrun.experiment.finished.load_run import load_run_spec, nested_settings, selection_of
from nnrun.experiment.running.checkpointer import CheckpointState, read_checkpoint_state
from nnrun.experiment.running.job import Job, Plan, Settings, computing
from nnrun.experiment.running.listener import SILENT, Listener
from nnrun.experiment.running.on_ranks import device_of, dismiss, prepare_together
from nnrun.experiment.running.recorder import (
    ActiveRun,
    first_record,
    recording_the_end,
    verdict_of,
    versions,
)
from nnrun.experiment.running.train import train_runs
from nnrun.experiment.setup.data_location import (
    changed_sources,
    located,
    refuse_lost_files,
    with_paths_of,
    without_first_weights,
)
from nnrun.interrupts import uninterrupted
from nnrun.limits import wanted_threads
from nnrun.ranks import Ranks
from nnrun.records import RunDirectory, RunRecord, now
from nnrun.records.run_record import Resumption
from nnrun.spec import schema
from nnrun.spec.comparing.spec_differences import spec_differences
from nnrun.spec.custom_objects import code_used
from nnrun.spec.duration import seconds_of
from nnrun.spec.reading.load import read_kept_spec
from nnrun.spec.reading.overrides import Overrides, with_changes
from nnrun.spec.wording import counted
from nnrun.spec.writing.dump import dump_spec
from nnrun.training.device import exact_on


def resume_run(
    run: RunDirectory,
    *,
    spec: schema.ExperimentSpec | None = None,
    overrides: Overrides = (),
    data_dir: Path | None = None,
    device: str | None = None,
    allow_inexact: bool = False,
    seconds: float | None = None,
    listener: Listener = SILENT,
    ranks: Ranks | None = None,
    part: bool = False,
) -> bool:
    """Go on with a run from the last epoch that was kept; False where it has ended and is left as it is.

    On a CPU its weights and its history, but for the seconds, become those of a run without interruption.

    Args:
        run: the run.
        spec: what it should be the run of, every default filled in; default: its own.
        overrides: changes of the spec: more epochs, and nothing else.
        data_dir: where data files are looked for first.
        device: default: the run's.
        allow_inexact: go on although versions, device or the like are others, and note it in the record.
        seconds: how long it may train now, if the spec's time limit leaves more.
        listener: is told what happens.
        ranks, part: as `Settings` has them.

    Raises:
        LockedError: another process is at work on the run.
        DataError: there is no whole checkpoint, or the data are different.
        UsageError: the run cannot go on, or not with the changes.
        RunInterrupted, DivergedError, StopTraining: as from `run_experiment`.
    """
    with run.owned():
        record = run.read_record()
        _refuse_what_has_ended_for_good(run, record)
        written = read_kept_spec(run.read_resolved(), file=f"the spec of {run.id}")
        own = located(written, run, record.data_hashes, data_dir)
        wanted = _wanted_spec(run, own, spec, overrides, data_dir)
        _refuse_more_epochs(run, record, own, wanted.epochs)
        if record.status == "completed" and not _goes_further(record, wanted):
            dismiss(ranks)
            return False
        state = _state_to_resume(run, record, own, wanted)
        if not record.smoke:
            refuse_lost_files(wanted, run.id)
        settings = replace(_settings(run, record, state, data_dir, device, seconds), ranks=ranks, part=part)
        chosen_device = device_of(settings)
        with computing(chosen_device, wanted.deterministic):
            job, plan = prepare_together(without_first_weights(wanted), settings, chosen_device, listener)
            _refuse_other_data(run, record, state, job)
            inexact = _accepted_conditions(run, state, job, allow_inexact=allow_inexact)
            record = _record_of_resumption(run, record, job, plan, state, inexact)
            opening = _reopened(run, record, job, state, None if wanted == written else wanted)
            train_runs([opening], replace(plan, threads=state.threads), state)
    return True


def _state_to_resume(
    run: RunDirectory, record: RunRecord, own: schema.ExperimentSpec, wanted: schema.ExperimentSpec
) -> CheckpointState:
    """The newest whole checkpoint, which is one of the run's spec and from which it can train on."""
    more = f" to {wanted.epochs} epochs" if wanted.epochs > own.epochs else ""
    cannot = f"{run.id} cannot be extended{more}: "
    if record.status == "completed" and (record.networks_at_once or 0) < len(record.member_ids):
        raise UsageError(
            f"{cannot}its networks did not all train side by side (they were shared among workers, or "
            "trained in groups one after the other), and then the state of those that have finished is not "
            "kept. Start a new run."
        )
    state = read_checkpoint_state(run)
    if more and state.group > 0:
        raise UsageError(
            f"{cannot}its networks train one after the other, and the state of those that have finished is "
            "not kept. Start a new run."
        )
    trained = read_kept_spec(state.resolved, file=f"the checkpoint of {run.id}")
    _refuse_differences(run, trained, own, "in its folder")
    return state


def _record_of_resumption(
    run: RunDirectory,
    record: RunRecord,
    job: Job,
    plan: Plan,
    state: CheckpointState,
    inexact: Mapping[str, tuple[Any, Any]],
) -> RunRecord:
    """The record of a run that goes on: what had been found out by the last epoch that was kept.

    The record is written after the weights that it tells of, so it knows better than the checkpoint where
    both know something; but it may have been damaged, or edited. What neither has follows from spec and data.
    """
    found = first_record(run, job, plan.threads)
    rows, parameters, limit = found.rows, found.parameters, found.time_limit
    record.unset(*(name for name in record.model_fields_set if getattr(record, name) is None))
    found.take(state.record)
    found.take(record)
    found.rows, found.parameters, found.epochs_run = rows, parameters, state.record.epochs_run
    found.unset("error", "not_trained", "time_limit")
    if limit is not None:
        found.time_limit = limit
    with contextlib.suppress(DataError):  # else it is one that the checkpoint's will replace
        if not (table := run.read_history_table()).empty:
            found.epochs_run = max(found.epochs_run, int(table["epoch"].max()))
            found.take(verdict_of(job, table))
    if found.decisions:  # its own are fitted again when it ends
        found.decisions = [told for told in found.decisions if told.parent is not None]
    entry = Resumption(at=now(), after_epoch=state.epoch)
    if inexact:
        entry.inexact = {name: {"then": then, "now": now_} for name, (then, now_) in inexact.items()}
    found.status, found.ended, found.epochs = "running", None, job.spec.epochs
    found.device, found.versions = str(job.device), versions()
    found.unset("world_size")
    if job.settings.ranks is not None:
        found.world_size = job.settings.world_size
    found.resumed = [*found.resumed, entry]
    return found


@contextmanager
def _reopened(
    run: RunDirectory,
    record: RunRecord,
    job: Job,
    state: CheckpointState,
    changed: schema.ExperimentSpec | None,
) -> Iterator[ActiveRun]:
    """Train on. Nothing that the run holds is taken back before something new stands in its place.

    Args:
        run: the run.
        record: what its run.json will hold.
        job: what is left to do, prepared.
        state: the checkpoint.
        changed: the spec as it is now, where epochs were added or files have been moved.
    """
    before, resolved = run.read_record(), run.read_resolved()
    try:
        with ExitStack() as stack:
            with uninterrupted():
                stack.enter_context(recording_the_end(run, record, job.memory.peak))
                if changed is not None:
                    run.write_resolved(dump_spec(changed))
                run.write_record(record)
            if wanted_threads() not in (None, state.threads):
                job.listener.message(
                    f"with {counted(state.threads, 'thread')}, as before: a different number would round "
                    "differently"
                )
            job.listener.message(f"resuming {run.id} after epoch {state.epoch}")
            yield ActiveRun(run, record, job)
    except BaseException:
        if before.status == "completed" and record.epochs_run == before.epochs_run:
            with uninterrupted():  # no further epoch has ended: it is the run that it was
                run.write_record(before)
                run.write_resolved(resolved)
        raise


def _refuse_what_has_ended_for_good(run: RunDirectory, record: RunRecord) -> None:
    if record.status == "diverged":
        raise UsageError(
            f"{run.id} cannot be resumed: it diverged, and would again. Change its spec and start a new run."
        )
    if record.ensemble is not None and record.ensemble.taken_over and record.status != "completed":
        raise UsageError(
            f"{run.id} cannot be resumed: nothing is trained in it, so it has no checkpoint. Make it again: "
            f"nnrun final {run.sibling(record.parent).word} --members {record.ensemble.of}"
        )
    if record.trial is not None and record.status != "completed":
        raise UsageError(
            f"{run.id} is a trial of {record.sweep}, and trials keep no checkpoints. Start the sweep "
            "again: it trains only the trials that have not finished."
        )


def _wanted_spec(
    run: RunDirectory,
    own: schema.ExperimentSpec,
    spec: schema.ExperimentSpec | None,
    overrides: Overrides,
    data_dir: Path | None,
) -> schema.ExperimentSpec:
    """The run's spec, or one that differs from it in nothing but more epochs."""
    if spec is not None:
        wanted = spec
    elif overrides:
        # The weights that the run started from may be gone, and are not needed any more.
        changes = with_changes(overrides, {"init_weights": None})
        wanted = load_run_spec(run, changes, data_dir).spec.model_copy(
            update={"init_weights": own.init_weights}
        )
    else:
        return own
    without = ["sweep", *(["nested"] if own.nested is None else [])]
    wanted = wanted.model_copy(update=dict.fromkeys(without))
    _refuse_differences(run, own, wanted, "now")
    return wanted


def _refuse_differences(
    run: RunDirectory, then: schema.ExperimentSpec, now_: schema.ExperimentSpec, when: str
) -> None:
    """Raise UsageError where specs differ in anything but more epochs, time, and where their files lie."""
    more = {"epochs": max(then.epochs, now_.epochs), "time_limit": now_.time_limit}
    differences = spec_differences([with_paths_of(then.model_copy(update=more), now_), now_])
    if differences:
        lines = [f"  {d.path}: {d.texts[0]} in the run, {d.texts[1]} {when}" for d in differences]
        raise UsageError(
            f"{run.id} cannot be resumed with a different spec; only the number of epochs may grow:\n"
            + "\n".join(lines)
            + "\nUndo the changes, or start a new run."
        )


def _refuse_more_epochs(
    run: RunDirectory, record: RunRecord, own: schema.ExperimentSpec, epochs: int
) -> None:
    if epochs <= own.epochs:
        return
    what = f"{run.id} cannot be extended to {epochs} epochs"
    if record.is_nested:
        raise UsageError(f"{what}: how long each of its folds trains was chosen within that fold.")
    if record.command == "final":
        raise UsageError(f"{what}: how long a final run trains is decided before the test set is used.")
    for part in own.learning_rate_schedule:
        if isinstance(part, schema.AS_LONG_AS_THE_TRAINING):
            raise UsageError(f"{what}: its {part.kind} schedule was made for {own.epochs}. Start a new run.")


def _goes_further(record: RunRecord, wanted: schema.ExperimentSpec) -> bool:
    """Whether a run that completed would train on: time or epochs are left, and not all stopped early."""
    if record.stopped_by_time_at:  # the folds that had not stopped early train on
        limits = (record.time_limit, wanted.time_limit)
        before, now_ = (math.inf if limit is None else seconds_of(limit) for limit in limits)
        return now_ > before
    stopped = all(network.stopped_early for network in record.networks)
    return 0 < record.epochs_run < wanted.epochs and not stopped


def _settings(
    run: RunDirectory,
    record: RunRecord,
    state: CheckpointState,
    data_dir: Path | None,
    device: str | None,
    seconds: float | None,
) -> Settings:
    return Settings(
        command=record.command or "train",
        runs_dir=run.runs_dir,
        data_dir=data_dir,
        device=device or record.device or "auto",
        smoke=record.smoke,
        selection=selection_of(record),
        use_test_set=state.use_test_set,
        compile="recorded" if state.conditions.compiled else "off",
        allow_unknown=True,  # it was told, and decided, when the run began
        seconds=None if seconds is None else state.seconds + seconds,
        **nested_settings(record),
    )


def _refuse_other_data(run: RunDirectory, record: RunRecord, state: CheckpointState, job: Job) -> None:
    if state.group >= len(job.groups):
        raise DataError(f"The checkpoint in {run.path} is of a group of networks that the run does not have.")
    changed = changed_sources(job.dataset.sources, record.data_hashes)
    if changed:
        lines = [
            f"  {source.name}: SHA-256 {then} in the run"
            f"{'' if name == source.name else f' ({name})'}, {source.sha256} now"
            for source, name, then in changed
        ]
        raise UsageError(
            f"{run.id} cannot be resumed with different data:\n"
            + "\n".join(lines)
            + "\nRestore the data, or start a new run."
        )


def _accepted_conditions(
    run: RunDirectory, state: CheckpointState, job: Job, *, allow_inexact: bool
) -> dict[str, tuple[Any, Any]]:
    """What is another than when the checkpoint was written.

    Raises:
        UsageError: something is, and that is not allowed.
    """
    inexact = _other_conditions(state, job)
    if inexact and not allow_inexact:
        raise UsageError(_of_inexact(run, inexact))
    return inexact


def _other_conditions(state: CheckpointState, job: Job) -> dict[str, tuple[Any, Any]]:
    """Name → (then, now) of what may change how numbers are rounded."""
    old, present = state.conditions, versions()
    code = {used.module: used.sha256 for used in code_used(job.spec)}
    found: dict[str, tuple[Any, Any]] = {
        "device": (old.device, str(job.device)),
        "compiled": (old.compiled, job.compiled),
        "world_size": (old.world_size or 1, job.settings.world_size),
    }
    found |= {name: (version, present.get(name)) for name, version in old.versions.items()}
    found |= {f"code {name}": (sha256, code.get(name)) for name, sha256 in old.code_hashes.items()}
    other = {name: pair for name, pair in found.items() if pair[0] != pair[1]}
    if not exact_on(job.device.type, job.spec.deterministic):
        other["deterministic"] = (False, False)
    return other


def _of_inexact(run: RunDirectory, inexact: Mapping[str, tuple[Any, Any]]) -> str:
    lines = [
        f"  {name}: {then} then, {now_} now"
        if then != now_
        else f"  {name}: {str(now_).lower()}, and a GPU may sum in a different order each time"
        for name, (then, now_) in inexact.items()
    ]
    return (
        f"{run.id} would not continue exactly as it started:\n"
        + "\n".join(lines)
        + "\nContinue anyway with --allow-inexact; the run's record will say so."
    )
