"""Optuna's TPE (Bergstra et al. 2011) as the source of a sweep's trials, and its pruning by the median.

The study is a file that the owner of the sweep's folder writes, or its workers in turn. What it proposes for
a trial depends on (seed, number of the trial, what is known of earlier trials). So a sweep that was killed
continues as if it had not been; with several workers it depends also on which trials have ended by then.
Optuna counts trials from 0, a sweep from 1.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrun.atomic_files import writing
from nnrun.errors import DataError
from nnrun.extras import require
from nnrun.records import TrialRecord
from nnrun.records.sweep_directory import cut_torn_line
from nnrun.spec import schema
from nnrun.spec.random_streams import derive_seed
from nnrun.spec.sweep_plan import Point

if TYPE_CHECKING:
    import optuna

_TRIALS_BEFORE_PRUNING = 5
_FIRST_EPOCH_TO_PRUNE = 2  # the first says little


class _AlreadyHeld:
    """The lock that Optuna asks for. The sweep's folder is locked already, by a lock that no kill leaves.

    What a disk that was full for a moment has taken of a line is cut off before the next one is written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def acquire(self) -> bool:
        if self._file.exists():
            cut_torn_line(self._file)
        return True

    def release(self) -> None:
        pass


def require_optuna() -> None:
    """Raise UsageError where Optuna is not installed."""
    require("sweep", {"optuna": "Optuna"}, "`method: tpe` (without it there is --method random)")


class _InTurn:
    """The lock of workers: a file that must not exist before, which works over NFS too.

    What a worker that was killed has written of a line is cut off before the next one writes.
    """

    def __init__(self, file: Path) -> None:
        from optuna.storages.journal import JournalFileOpenLock

        self._file, self._lock = file, JournalFileOpenLock(str(file))

    def acquire(self) -> bool:
        taken = bool(self._lock.acquire())
        if self._file.exists():
            cut_torn_line(self._file)
        return taken

    def release(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was held for so long that others took it for abandoned
            self._lock.release()


class _Journal:
    """Optuna's journal in a file, whose errors name the file.

    Args:
        file: the file; made where it is missing.
        lock: of those who write it.

    Raises:
        NnrunError: it cannot be written, at any time.
    """

    def __init__(self, file: Path, lock: Any) -> None:
        from optuna.storages.journal import JournalFileBackend

        self._file = file
        with writing(file):
            self._backend = JournalFileBackend(str(file), lock_obj=lock)

    def read_logs(self, log_number_from: int) -> Any:
        return self._backend.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with writing(self._file):
            self._backend.append_logs(logs)


class TpeStudy:
    """The study of one sweep.

    Args:
        file: its journal; made where it is missing.
        sweep: what is varied.
        seed: of what is drawn.
        maximize: whether a high score is good.
        before: how many trials of the sweep come before its first, where other studies have these.
        shared: whether other processes may write it too.
        at_once: whether several of its trials are trained at a time. These count as bad meanwhile, so that
            not all try the same (the constant liar of Ginsbourger et al. 2010).
    """

    def __init__(
        self,
        file: Path,
        sweep: schema.Sweep,
        seed: int,
        maximize: bool,
        before: int = 0,
        *,
        shared: bool = False,
        at_once: bool = False,
    ) -> None:
        import optuna
        from optuna.storages.journal import JournalStorage

        journal: Any = _Journal(file, _InTurn(file) if shared else _AlreadyHeld(file))
        pruner = (
            optuna.pruners.MedianPruner(_TRIALS_BEFORE_PRUNING, _FIRST_EPOCH_TO_PRUNE)
            if sweep.prune
            else optuna.pruners.NopPruner()
        )
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of the study's name
        try:
            self._study = optuna.create_study(
                storage=JournalStorage(journal),
                study_name="sweep",
                direction="maximize" if maximize else "minimize",
                pruner=pruner,
                load_if_exists=True,
            )
        finally:
            optuna.logging.set_verbosity(verbosity)
        self._file, self._over, self._seed, self._before = file, sweep.over, seed, before
        self._at_once = at_once
        self._trials: dict[int, optuna.Trial] = {}

    def point(self, number: int) -> Point:
        """Where trial `number` is. Asked again, it says the same.

        Raises:
            DataError: the study does not know of the trials before.
        """
        number -= self._before
        known = self._study.get_trials(deepcopy=False)
        if len(known) < number - 1:
            raise DataError(
                f"{self._file} has {len(known)} trials and not the {number - 1} before this one. Restore "
                "the file, or start another sweep with --new."
            )
        if number <= len(known) and set(known[number - 1].params) == set(self._over):
            params = known[number - 1].params
            return {key: params[key] for key in self._over}
        trial = self._trial(number) if number <= len(known) else self._study.ask()
        self._trials[number] = trial
        point = {}
        for key, values in self._over.items():
            # Each key has a stream of its own: a kill may have come between two of them.
            seed = derive_seed(self._seed, replica=number, purpose=f"trial of a sweep: {key}")
            self._study.sampler = self._sampler(seed % 2**32)
            point[key] = _suggest(trial, key, values)
        return point

    def reserve(self, total: int) -> None:
        """Make all trials, still without a place, so that workers can ask for theirs in any order."""
        for _ in range(total - len(self._study.get_trials(deepcopy=False))):
            self._study.ask()

    def same_before(self, number: int) -> int | None:
        """The first trial that is where trial `number` is, of those before it; None where there is none."""
        trials = self._study.get_trials(deepcopy=False)
        place = trials[number - self._before - 1].params
        same = (n for n, trial in enumerate(trials[: number - self._before - 1]) if trial.params == place)
        first = next(same, None)
        return None if first is None else first + 1 + self._before

    def should_stop(self, number: int, epoch: int, value: float) -> bool:
        """Take note of a trial's value after an epoch; whether it is worse than the median of others."""
        number -= self._before
        trial = self._trial(number)
        reported = self._study.get_trials(deepcopy=False)[number - 1].intermediate_values
        if not math.isfinite(value) or epoch < max(reported, default=0):
            return False  # it diverged, which is said elsewhere; or a run that was killed had come further
        if epoch not in reported:
            trial.report(value, epoch)
        return trial.should_prune()

    def ended(self, trial: TrialRecord) -> None:
        """Take note of how a trial ended. Told again, it changes nothing."""
        import optuna

        place = trial.number - self._before - 1
        if self._study.get_trials(deepcopy=False)[place].state.is_finished():
            return
        if trial.status == "completed":
            self._study.tell(place, trial.score, skip_if_finished=True)
            return
        states = optuna.trial.TrialState
        state = states.PRUNED if trial.status == "pruned" else states.FAIL
        self._study.tell(place, state=state, skip_if_finished=True)

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        if not self._at_once:
            return optuna.samplers.TPESampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    def _trial(self, number: int) -> optuna.Trial:
        import optuna

        if number not in self._trials:
            known = self._study.get_trials(deepcopy=False)[number - 1]
            self._trials[number] = optuna.trial.Trial(self._study, known._trial_id)
        return self._trials[number]


def _suggest(trial: optuna.Trial, key: str, values: schema.SweptValues) -> int | float:
    if isinstance(values, list):
        return int(trial.suggest_categorical(key, tuple(range(len(values)))))
    low, high = values.range
    if isinstance(values, schema.IntUniform):
        return trial.suggest_int(key, int(low), int(high))
    return trial.suggest_float(key, low, high, log=isinstance(values, schema.LogUniform))
