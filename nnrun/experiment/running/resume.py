"""An interrupted run continues in its own folder, as if it had never stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nnrun.errors import DataError, UsageError
from nnrun.experiment.finished.load_run import load_run_spec, recorded_code, recorded_data, selection_of
from nnrun.experiment.finished.sound_record import sound
from nnrun.experiment.finished.verdict import verdict
from nnrun.experiment.running.checkpointer import Kept, read_kept, with_numbers
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.recorder import ending_kept
from nnrun.experiment.running.run import Job, Settings, computing, first_record, prepare_job, train_job
from nnrun.experiment.setup.data_location import changed_sources, located, refuse_lost_files, with_paths_of
from nnrun.experiment.setup.environment import now, versions
from nnrun.interrupts import uninterrupted
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.comparing.spec_differences import spec_differences
from nnrun.spec.custom_objects import code_used
from nnrun.spec.reading.load import read_kept_spec
from nnrun.spec.reading.overrides import Overrides, with_changes
from nnrun.spec.wording import counted
from nnrun.spec.writing.dump import dump_spec
from nnrun.threads import wanted_threads
from nnrun.training.backends.choice import Policy
from nnrun.training.deterministic import exact_on
from nnrun.training.device import cpu_setup, resolve_device


def resume_run(
    run: RunDirectory,
    *,
    spec: schema.ExperimentSpec | None = None,
    overrides: Overrides = (),
    data_dir: Path | None = None,
    device: str | None = None,
    allow_inexact: bool = False,
    listener: Listener | None = None,
) -> bool:
    """Go on with a run from the last epoch that was kept.

    On a CPU its weights and its history, the seconds left out, come out as those of a run that was never
    interrupted, bit for bit.

    Args:
        run: the run.
        spec: what it should be the run of, every default filled in; default: its own.
        overrides: changes of the spec. Nothing but more epochs is allowed.
        data_dir: where data files are looked for first.
        device: default: the run's.
        allow_inexact: go on although versions, device or the like are others, and note it in the record.
        listener: is told what happens.

    Returns:
        Whether there was anything to do: a run that has ended is left as it is.

    Raises:
        LockedError: another process is at work on the run.
        DataError: there is no whole checkpoint, or the data are different.
        UsageError: the run or the changes are such that it cannot go on.
        RunInterrupted, DivergedError, StopTraining: as from `run_experiment`.
    """
    listener = listener or Listener()
    with run.owned():
        record = sound(run.read_record())
        _refuse_what_has_ended_for_good(run, record)
        written = read_kept_spec(run.read_resolved(), file=f"the spec of {run.id}")
        own = located(written, run, recorded_data(record), data_dir)
        wanted = _wanted_spec(run, own, spec, overrides, data_dir)
        if wanted.epochs > own.epochs:
            _refuse_more_epochs(run, record, own, wanted.epochs)
        if record.get("status") == "completed" and not _goes_further(record, wanted):
            return False
        kept = read_kept(run)
        if wanted.epochs > own.epochs and kept.group > 0:
            raise UsageError(
                f"{run.id} cannot be extended to {wanted.epochs} epochs: its networks train one after the "
                "other, and the state of those that have finished is not kept. Start a new run."
            )
        trained = read_kept_spec(kept.resolved, file=f"the checkpoint of {run.id}")
        _refuse_differences(run, trained, own, "in its folder")
        if record.get("smoke") is not True:
            refuse_lost_files(wanted, run.id)
        settings = _settings(run, record, kept, data_dir, device)
        with computing(resolve_device(settings.device), wanted.deterministic):
            job, threads = prepare_job(wanted.model_copy(update={"init_weights": None}), settings, listener)
            if kept.group >= len(job.groups):
                raise DataError(
                    f"The checkpoint in {run.path} is of a group of networks that the run does not have."
                )
            _refuse_other_data(run, record, job)
            inexact = _other_conditions(kept, job)
            if inexact and not allow_inexact:
                raise UsageError(_of_inexact(run, inexact))
            # What a damaged record lacks follows from the spec and the data.
            known = {key: value for key, value in sound(record).items() if value is not None}
            first = first_record(run, job, threads)
            record = first | known | {key: first[key] for key in ("rows", "parameters")}
            _go_on(run, record, job, kept, inexact, None if wanted == written else wanted)
    return True


def _go_on(
    run: RunDirectory,
    record: dict[str, Any],
    job: Job,
    kept: Kept,
    inexact: Mapping[str, tuple[Any, Any]],
    changed: schema.ExperimentSpec | None,
) -> None:
    """Train on. Nothing that the run holds is taken back before something new stands in its place.

    Args:
        run: the run.
        record: its record.
        job: what is left to do, prepared.
        kept: the checkpoint.
        inexact: name → (then, now) of conditions that are others now.
        changed: the spec as it is now, where epochs were added or files have been moved.
    """
    before, resolved = run.read_record(), run.read_resolved()
    entry: dict[str, Any] = {"at": now(), "after_epoch": kept.epoch}
    if inexact:
        entry["inexact"] = {name: {"then": then, "now": now_} for name, (then, now_) in inexact.items()}
    record.pop("error", None)
    record.pop("not_trained", None)
    record |= _merged(record, kept.record, job.kind is not None)
    with contextlib.suppress(DataError):  # else it is one that the checkpoint's will replace
        if not (table := run.read_history()).empty:
            record["epochs_run"] = max(record["epochs_run"], int(table["epoch"].max()))
            record |= verdict(table, job.spec, job.settings.monitor)
    record |= {
        "status": "running",
        "ended": None,
        "epochs": job.spec.epochs,
        "device": str(job.device),
        "versions": versions(),
        "resumed": [*(record.get("resumed") or []), entry],
    }
    try:
        with ExitStack() as until_the_end:
            with uninterrupted():
                until_the_end.enter_context(ending_kept(run, record, job.memory.peak))
                if changed is not None:
                    run.write_resolved(dump_spec(changed))
                run.write_record(record)
            threads = int(kept.conditions["threads"])
            if wanted_threads() not in (None, threads):
                job.listener.message(
                    f"with {counted(threads, 'thread')}, as before: a different number would round "
                    "differently"
                )
            until_the_end.enter_context(cpu_setup(threads))
            job.listener.message(f"resuming {run.id} after epoch {kept.epoch}")
            train_job(run, record, job, kept)
    except BaseException:
        if before.get("status") == "completed" and record.get("epochs_run") == before.get("epochs_run"):
            with uninterrupted():  # no further epoch has ended: it is the run that it was
                run.write_record(before)
                run.write_resolved(resolved)
        raise


def _merged(record: dict[str, Any], kept: Mapping[str, Any], several: bool) -> dict[str, Any]:
    """What had been found out by the last epoch, by the run's record and by its checkpoint.

    The record is written after the weights that it tells of, so it knows better where both know something;
    but it may have been damaged, or edited.

    `several`: whether the run has several networks.
    """
    found: dict[str, Any] = {"epochs_run": _count(kept)}
    for key, by_number in (
        ("stopped_early", True),
        ("weights_epoch", several),
        ("best_weights_epoch", several),
    ):
        mine, other = _sound(record.get(key), by_number), _sound(kept.get(key), by_number)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            found[key] = {**other, **mine}
        elif mine is not None or other is not None:
            found[key] = other if mine is None else mine
        else:
            record.pop(key, None)
    return found


def _sound(value: object, by_number: bool) -> Any:
    """An epoch, or the epochs by the numbers of their networks; None for anything else."""
    if not by_number:
        return value if isinstance(value, int) and not isinstance(value, bool) else None
    try:
        found = with_numbers(value)
    except ValueError:
        return None
    return found if isinstance(found, Mapping) and all(isinstance(e, int) for e in found.values()) else None


def _count(record: Mapping[str, Any]) -> int:
    epochs = record.get("epochs_run")
    return epochs if isinstance(epochs, int) else 0


def _refuse_what_has_ended_for_good(run: RunDirectory, record: Mapping[str, Any]) -> None:
    if record.get("status") == "diverged":
        raise UsageError(
            f"{run.id} cannot be resumed: it diverged, and would again. Change its spec and start a new run."
        )
    if record.get("trial") and record.get("status") != "completed":
        raise UsageError(
            f"{run.id} is a trial of {record.get('sweep')}, and trials keep no checkpoints. Start the sweep "
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
    wanted = wanted.model_copy(update={"sweep": None})
    _refuse_differences(run, own, wanted, "now")
    return wanted


def _refuse_differences(
    run: RunDirectory, then: schema.ExperimentSpec, now_: schema.ExperimentSpec, when: str
) -> None:
    """Raise UsageError where specs differ in anything but more epochs, and where their files lie."""
    more = {"epochs": max(then.epochs, now_.epochs)}
    differences = spec_differences([with_paths_of(then.model_copy(update=more), now_), now_])
    if differences:
        lines = [f"  {d.path}: {d.texts[0]} in the run, {d.texts[1]} {when}" for d in differences]
        raise UsageError(
            f"{run.id} cannot be resumed with a different spec; only the number of epochs may grow:\n"
            + "\n".join(lines)
            + "\nUndo the changes, or start a new run."
        )


def _refuse_more_epochs(
    run: RunDirectory, record: Mapping[str, Any], own: schema.ExperimentSpec, epochs: int
) -> None:
    what = f"{run.id} cannot be extended to {epochs} epochs"
    if record.get("command") == "final":
        raise UsageError(f"{what}: how long a final run trains is decided before the test set is used.")
    for part in own.learning_rate_schedule:
        if isinstance(part, schema.Cosine):
            raise UsageError(f"{what}: its cosine schedule was made for {own.epochs}. Start a new run.")


def _goes_further(record: Mapping[str, Any], wanted: schema.ExperimentSpec) -> bool:
    """Whether a run that completed would train on: epochs are left, and not all was stopped early."""
    epochs = record.get("epochs_run")
    return isinstance(epochs, int) and epochs < wanted.epochs and not record.get("stopped_early")


def _settings(
    run: RunDirectory, record: Mapping[str, Any], kept: Kept, data_dir: Path | None, device: str | None
) -> Settings:
    policy: Policy = "recorded" if kept.conditions.get("compiled") is True else "off"
    return Settings(
        command=str(record.get("command") or "train"),
        runs_dir=run.runs_dir,
        data_dir=data_dir,
        device=device or str(record.get("device") or "auto"),
        smoke=record.get("smoke") is True,
        selection=selection_of(record),
        use_test_set=kept.use_test_set,
        compile=policy,
        allow_unknown=True,  # it was told, and decided, when the run began
    )


def _refuse_other_data(run: RunDirectory, record: Mapping[str, Any], job: Job) -> None:
    changed = changed_sources(job.dataset.sources, recorded_data(record))
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


def _other_conditions(kept: Kept, job: Job) -> dict[str, tuple[Any, Any]]:
    """Name → (then, now) of what may change how numbers are rounded."""
    then = {"device": kept.conditions.get("device"), "compiled": kept.conditions.get("compiled")}
    now_: dict[str, Any] = {"device": str(job.device), "compiled": job.choices[0].compiled}
    present = versions()
    for name, version in dict(kept.conditions.get("versions") or {}).items():
        then[name], now_[name] = version, present.get(name)
    code = recorded_code({"custom": [asdict(used) for used in code_used(job.spec)]})
    for module, sha256 in recorded_code(kept.conditions).items():
        then[f"code {module}"], now_[f"code {module}"] = sha256, code.get(module)
    other = {name: (then[name], now_[name]) for name in then if then[name] != now_[name]}
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
