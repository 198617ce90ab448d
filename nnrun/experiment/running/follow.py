"""What another process than rank 0 does in a training on several processes."""

from __future__ import annotations

import signal

from nnrun.experiment.running.job import computing
from nnrun.experiment.running.listener import SILENT
from nnrun.experiment.running.on_ranks import device_of_rank, prepare_and_agree, settings_of_told
from nnrun.experiment.running.train import engine_of
from nnrun.interrupts import REQUESTS
from nnrun.ranks import Launch, joining
from nnrun.spec.reading.load import read_kept_spec
from nnrun.training.device import cpu_setup
from nnrun.training.engine_on_ranks import FollowingEngine
from nnrun.training.loop import Replica


def follow(launch: Launch, device: str) -> None:
    """Train with rank 0 what it trains. Prints and writes nothing.

    Args:
        launch: of this process.
        device: what `--device` says.

    Raises:
        RankLostError: rank 0, or another one, has gone.
        NnrunError: this rank or another one cannot train it. Rank 0 tells which, and why.
    """
    # It holds nothing that must be kept: a request to stop may end it while it waits for the others.
    for number in REQUESTS:
        signal.signal(number, signal.SIG_DFL)
    with joining(launch, device_of_rank(launch, device)) as ranks:
        told = ranks.from_first()
        if told is None:
            return
        spec = read_kept_spec(told["spec"], file="the spec of rank 0")
        settings = settings_of_told(told["settings"], ranks)
        with computing(ranks.device, spec.deterministic):
            job, plan = prepare_and_agree(spec, settings, ranks.device, SILENT)
            (planned,) = plan.groups
            (member,) = planned.group.members
            with cpu_setup(plan.threads):
                engine = engine_of(job, planned, plan)
                assert isinstance(engine, FollowingEngine), "of a rank that follows"
                rows = member.fold.train_rows, member.fold.validation_rows
                engine.follow(Replica(member.id, *rows, member.source), shuffle=spec.shuffle)
