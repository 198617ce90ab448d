"""Workers as remote functions of Ray: on the cluster that RAY_ADDRESS names, or on one started here."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from nnrun.errors import NnrunError, UsageError
from nnrun.experiment.launching.launcher import PACKAGE, WorkerCommand, run_worker, trouble
from nnrun.limits import usable_cpus

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class RayLauncher:
    """Starts workers as remote functions, each of which runs one as a process where Ray puts it.

    Args:
        options: of `ray.remote`, such as `num_cpus`, `num_gpus` or `resources`, for each worker.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._refs: list[Any] = []
        self._told: set[int] = set()
        self._is_ours = False

    def start(self, command: WorkerCommand, count: int) -> None:
        """Connect, and submit so many functions."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        ray: Any = import_module("ray")  # mypy knows its functions only without options
        here = self._connect(ray, count)
        try:
            work = ray.remote(max_retries=0, **self._options)(run_worker)
        except (ValueError, TypeError, AssertionError) as error:
            raise UsageError(f"--launcher-set: Ray takes no such option: {error}") from None
        arguments = list(command.arguments), str(command.folder), count if here else 1
        self._refs = [work.remote(*arguments) for _ in range(count)]

    def _connect(self, ray: Any, count: int) -> bool:
        """Whether the cluster is one that was started here."""
        if ray.is_initialized():
            return False
        self._is_ours = True
        common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if os.environ.get("RAY_ADDRESS", "local") != "local":
                code = {"py_modules": [str(PACKAGE)]}  # this very nnrun, wherever it runs
                ray.init(**common, runtime_env=code)
                return False
            own = {"_node_ip_address": "127.0.0.1", "include_dashboard": False}  # nobody else sees it
            ray.init("local", **common, **own, num_cpus=max(count, usable_cpus()))
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise NnrunError(f"--launcher ray: no connection to a cluster: {error}") from None
        return True

    def at_work(self) -> int:
        """How many have not ended."""
        return len(self._left())

    def troubles(self) -> list[str]:
        """What became of those that ended as they should not."""
        if not self._refs:
            return []
        import ray

        left, found = set(self._left()), []
        for number, ref in enumerate(self._refs):
            if ref in left or number in self._told:
                continue
            self._told.add(number)
            try:
                sentence = trouble(number + 1, *ray.get(ref))
            except ray.exceptions.RayError as error:
                sentence = f"worker {number + 1} was lost: {str(error).strip().splitlines()[-1]}"
            if sentence:
                found.append(sentence)
        return found

    def close(self, seconds: float) -> None:
        """Cancel what is left; a cluster that was started here ends."""
        if not self._is_ours and not self._refs:
            return
        import ray

        if left := self._left():
            ray.wait(left, num_returns=len(left), timeout=seconds)
        for ref in self._left():
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(ref)
        self._refs = []
        if self._is_ours:
            ray.shutdown()
            self._is_ours = False

    def _left(self) -> list[Any]:
        if not self._refs:
            return []
        import ray

        _, left = ray.wait(self._refs, num_returns=len(self._refs), timeout=0)
        return list(left)
