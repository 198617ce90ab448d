"""Whether a run that was stopped and went on is, on this machine, the run that it would have been."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from nnrun.data import load_dataset
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, Start, StopTraining
from nnrun.experiment.running.reproduce import (
    HistoryComparison,
    WeightsComparison,
    compare_histories,
    compare_weights,
)
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.records import RunDirectory
from nnrun.spec.reading.load import load_spec_text
from nnrun.training.loop import EpochRecord

EPOCHS, STOPPED_AFTER = 6, 3

# A bundled data set; dropout, a shuffle, an optimizer with a memory: what an exact state must hold.
_SPEC = f"""
dataset: {{sklearn: breast_cancer}}
preprocessing: {{inputs: standardize}}
layers:
  - dense: {{units: 32, activation: relu}}
  - dropout: 0.3
  - dense: {{units: 1, activation: sigmoid}}
loss: binary_crossentropy
optimizer: adam
epochs: {EPOCHS}
deterministic: true
validation: {{kfold: {{k: 3, shuffle: true}}}}
"""


@dataclass(frozen=True)
class Verification:
    """What came of it.

    Attributes:
        device: where it was tried.
        history, weights: what is the same.
    """

    device: str
    history: HistoryComparison
    weights: WeightsComparison

    @property
    def exact(self) -> bool:
        """Whether all is the same, bit for bit."""
        return self.history.identical and self.weights.identical


class _Stops(Listener):
    run: RunDirectory

    def started(self, start: Start) -> None:
        self.run = start.run

    def epoch(self, record: EpochRecord) -> None:
        if record.epoch == STOPPED_AFTER:
            raise StopTraining("as planned")


def verify_resume(device: str = "auto") -> Verification:
    """Train a small k-fold in one go, and again with a stop on the way; compare, and leave nothing behind.

    Raises:
        UsageError: there is no such device.
    """
    loaded = load_spec_text(_SPEC, file="verify-resume", base=Path(), default_name="verify-resume")
    dataset = load_dataset(loaded.spec.dataset)
    with tempfile.TemporaryDirectory(prefix="nnrun-") as folder:
        settings = Settings("train", Path(folder), device=device, keep_every_epoch=True)
        whole = run_experiment(loaded, settings, dataset=dataset)
        listener = _Stops()
        try:
            run_experiment(loaded, settings, listener, dataset=dataset)
        except StopTraining:
            resume_run(listener.run, device=device)
        stopped = listener.run
        return Verification(
            str(whole.read_record().device),
            compare_histories(whole.read_history(), stopped.read_history()),
            compare_weights(whole, stopped),
        )
