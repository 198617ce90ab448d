"""One run from spec to record: prepare, train, keep everything."""

from __future__ import annotations

from nnrun.data import Dataset
from nnrun.experiment.running.job import Settings, computing, prepare_job
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.recorder import new_run
from nnrun.experiment.running.train import train_runs
from nnrun.experiment.setup.smoke_spec import smoke_spec
from nnrun.records import RunDirectory, refuse_unwritable
from nnrun.spec.reading.load import LoadedSpec
from nnrun.training.device import resolve_device


def run_experiment(
    loaded: LoadedSpec,
    settings: Settings,
    listener: Listener | None = None,
    *,
    dataset: Dataset | None = None,
) -> RunDirectory:
    """Train what a spec declares and keep the record of it. Its sweep, if it has one, is left out.

    The run's folder is made once the spec, the data and the device are known to fit, and not before.

    Args:
        loaded: the spec.
        settings: how and where.
        listener: is told what happens.
        dataset: the spec's data, where they are loaded already.

    Raises:
        StopTraining: the listener raised it; the run says so and keeps what there was.
        DataError: the data are missing or do not suit the spec; nothing was made.
        UsageError: there is no such device or fold; nothing was made.
        DivergedError: a loss became infinite or NaN; the run says so and keeps what there was.
        RunInterrupted: the user stopped it (a KeyboardInterrupt); the run says so and keeps what there was.
    """
    listener = listener or Listener()
    spec = smoke_spec(loaded.spec) if settings.smoke else loaded.spec
    if spec.sweep is not None:
        listener.message("the sweep section was left out: this trains the spec itself (see `nnrun sweep`)")
        spec = spec.model_copy(update={"sweep": None})
    refuse_unwritable(settings.runs_dir)
    device = resolve_device(settings.device)
    with computing(device, spec.deterministic):
        job, plan = prepare_job(spec, settings, device, listener, dataset)
        (run,) = train_runs([new_run(job, loaded.source_text, plan.threads)], plan)
    return run
