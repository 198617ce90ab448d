"""Workers as jobs of Slurm, by submitit's AutoExecutor; with `cluster: local` as its processes here."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Mapping
from typing import Any

from nnrun.errors import NnrunError, UsageError
from nnrun.experiment.launching.launcher import WorkerCommand, run_worker, trouble

_JOBS = "submitit"


class SlurmLauncher:
    """Submits workers as an array of jobs. The nodes see the folder of the runs, and have nnrun installed.

    Args:
        options: of submitit's `update_parameters`, such as `slurm_partition`, `timeout_min`, `cpus_per_task`,
            `mem_gb` or `gpus_per_node`, for each worker; and `cluster`, where it is not Slurm.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        if options.get("cluster", "slurm") == "slurm" and shutil.which("srun") is None:
            raise UsageError(
                "--launcher slurm: there is no `srun` here. It submits jobs where Slurm's commands are; "
                "--launcher-set cluster=local tries the same without Slurm."
            )
        self._options = {"name": "nnrun", **options}
        self._jobs: list[Any] = []
        self._told: set[int] = set()

    def start(self, command: WorkerCommand, count: int) -> None:
        """Submit so many jobs."""
        import submitit

        options = dict(self._options)
        cluster = options.pop("cluster", "slurm")
        try:
            executor = submitit.AutoExecutor(folder=command.work / _JOBS, cluster=cluster)
            executor.update_parameters(**options)
        except (RuntimeError, NameError, ValueError, TypeError, AssertionError) as error:
            raise UsageError(f"--launcher-set: submitit takes no such option: {error}") from None
        here = count if cluster in ("local", "debug") else 1
        arguments = list(command.arguments), str(command.folder), here
        try:
            with executor.batch():
                self._jobs = [executor.submit(run_worker, *arguments) for _ in range(count)]
        except (submitit.core.utils.FailedSubmissionError, OSError) as error:
            raise NnrunError(f"--launcher slurm: the jobs could not be submitted: {error}") from None

    def at_work(self) -> int:
        """How many are waiting in the queue or running."""
        return sum(not job.done() for job in self._jobs)

    def troubles(self) -> list[str]:
        """What became of those that ended as they should not."""
        found = []
        for number, job in enumerate(self._jobs):
            if number in self._told or not job.done():
                continue
            self._told.add(number)
            if (error := job.exception()) is not None:
                first = [*str(error).strip().splitlines(), "it left no result"][0]
                found.append(f"worker {number + 1} (job {job.job_id}) was lost: {first}")
            elif sentence := trouble(number + 1, *job.result()):
                found.append(sentence)
        return found

    def close(self, seconds: float) -> None:
        """Cancel what is left."""
        until = time.monotonic() + seconds
        while self.at_work() and time.monotonic() < until:
            time.sleep(0.2)
        for job in self._jobs:
            if not job.done():
                with contextlib.suppress(OSError, RuntimeError):
                    job.cancel(check=False)
        self._jobs = []
