"""One training on several processes: what they must agree on before it begins, and what the record says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnrun.data import Dataset
from nnrun.errors import NnrunError, UsageError
from nnrun.experiment.running.job import Job, Plan, Settings, prepare_job
from nnrun.experiment.running.listener import Listener
from nnrun.lazy_torch import torch
from nnrun.model.layers.custom_layer import CustomLayer
from nnrun.model.network import Network
from nnrun.ranks import Launch, Ranks, joining
from nnrun.records import RunRecord
from nnrun.spec import schema
from nnrun.spec.wording import counted
from nnrun.spec.writing.dump import dump_spec
from nnrun.training.device import resolve_device


@contextmanager
def leading(launch: Launch | None, device: str) -> Iterator[Ranks | None]:
    """Rank 0 meets the others; None where this process trains alone. `device` is what `--device` says."""
    if launch is None:
        yield None
        return
    with joining(launch, device_of_rank(launch, device)) as ranks:
        yield ranks


def device_of(settings: Settings) -> torch.device:
    """Where this process computes."""
    return resolve_device(settings.device) if settings.ranks is None else settings.ranks.device


def device_of_rank(launch: Launch, wanted: str) -> torch.device:
    """The GPU of this process's number on its machine, or the CPU.

    Raises:
        UsageError: one GPU is named, or there are fewer than processes.
    """
    if wanted.startswith("cuda:"):
        raise UsageError(
            f"--device {wanted}: torchrun gives each process a GPU of its own. Use --device cuda, or auto; "
            "CUDA_VISIBLE_DEVICES says which GPUs are used."
        )
    device = resolve_device(wanted)
    if device.type != "cuda":
        return device
    there = torch.cuda.device_count()
    if launch.local_world_size > there:
        raise UsageError(
            f"torchrun started {launch.local_world_size} processes here, and there "
            f"{'is' if there == 1 else 'are'} {counted(there, 'GPU')}: each process needs its own. Use "
            f"--nproc-per-node {there}, or --device cpu."
        )
    return torch.device("cuda", launch.local_rank)


def refuse_several_networks(spec: schema.ExperimentSpec, settings: Settings) -> None:
    """Raise UsageError where folds or seeds would train together."""
    kind = settings.selection.member_type(spec)
    if kind is None:
        return
    command = "kfold SPEC" if kind == "fold" else f"train SPEC --seeds {settings.selection.seeds or 2}"
    raise UsageError(
        f"torchrun trains one network on several processes, and this trains {kind}s. To share {kind}s out "
        f"among processes: nnrun {command} --workers 2"
    )


def prepare_together(
    spec: schema.ExperimentSpec,
    settings: Settings,
    device: torch.device,
    listener: Listener,
    dataset: Dataset | None = None,
) -> tuple[Job, Plan]:
    """`prepare_job`, on rank 0 and, where there are others, on all of them.

    Raises:
        UsageError: it is not one network that is trained.
        NnrunError: as `prepare_job`; also where another rank's job failed, or its data are others.
    """
    ranks = settings.ranks
    if ranks is None:
        return prepare_job(spec, settings, device, listener, dataset)
    refuse_several_networks(spec, settings)
    ranks.from_first({"spec": dump_spec(spec), "settings": _told(settings)})
    prepared = prepare_and_agree(spec, settings, device, listener)
    listener.message(f"{ranks.world_size} processes train together: each computes its share of every batch")
    return prepared


def dismiss(ranks: Ranks | None) -> None:
    """There is nothing to train: the others, if any, leave."""
    if ranks is not None:
        ranks.from_first(None)


def _told(settings: Settings) -> dict[str, Any]:
    """What another rank must know, as JSON."""
    return {
        "command": settings.command,
        "data_dir": None if settings.data_dir is None else str(settings.data_dir),
        "smoke": settings.smoke,
        "compile": settings.compile,
        "threads": settings.threads,
        "allow_unknown": settings.allow_unknown,
    }


def settings_of_told(told: dict[str, Any], ranks: Ranks) -> Settings:
    """The settings of another rank, which writes nothing."""
    data_dir = None if told["data_dir"] is None else Path(told["data_dir"])
    return Settings(**{**told, "data_dir": data_dir}, runs_dir=Path(os.devnull), ranks=ranks)


def prepare_and_agree(
    spec: schema.ExperimentSpec, settings: Settings, device: torch.device, listener: Listener
) -> tuple[Job, Plan]:
    """Prepare the job on this rank, and see to it that all ranks have the same; call it on all of them."""
    ranks = settings.ranks
    assert ranks is not None, "asked of one of several processes"
    try:
        job, plan = prepare_job(spec, settings, device, listener)
    except NnrunError as error:
        ranks.documents({"problem": str(error)})
        raise
    found = ranks.documents({"data": [source.sha256 for source in job.dataset.sources]})
    for rank, theirs in enumerate(found):
        if "problem" in theirs:
            raise NnrunError(f"rank {rank}: {theirs['problem']}")
    differ = [rank for rank, theirs in enumerate(found) if theirs != found[0]]
    if differ:
        raise NnrunError(
            f"The data of rank {differ[0]} are not those of rank 0: the files' SHA-256 differ. All need the "
            "same files."
        )
    return job, plan


def of_each_rank(spec: schema.ExperimentSpec, network: Network) -> list[str]:
    """What several processes do not compute as one would, but for rounding; a sentence for each."""
    found = []
    for layer in network.layers:
        if isinstance(layer, CustomLayer):
            found.append(
                f"The custom layer {layer.spec.object} sees each process's rows alone: what it draws at "
                "random, or computes over the rows of a batch, is not what one process computes."
            )
    return found


def how_to_go_on(run: Path, record: RunRecord) -> str:
    """What to do about a run whose processes lost each other."""
    again = f"torchrun --nproc-per-node {record.world_size} -m nnrun train --resume {run}"
    return f"What was recorded so far is kept in {run}. Start all processes again to go on: {again}"
