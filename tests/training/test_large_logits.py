"""Logits in the thousands: losses of C++ and PyTorch agree, near 0 too, and gradients are finite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.limits import cxx_compiler
from nnrun.spec.reading.load import load_spec
from nnrun.training.backends.choice import Policy

ROWS = 12
LOSSES: list[tuple[Any, str, int]] = [
    ("binary_crossentropy", "sigmoid", 1),
    ("categorical_crossentropy", "softmax", 3),
    ("sparse_categorical_crossentropy", "softmax", 3),
    ({"binary_crossentropy": {"label_smoothing": 0.1}}, "sigmoid", 1),
    ({"categorical_crossentropy": {"label_smoothing": 0.1}}, "softmax", 3),
]
GAPS = {  # by how much each row's logits are for its class, or against it
    "far apart": [10_000, -10_000, 5_000, -5_000, 10_000, -10_000, 3, -3, 0, 1, 10_000, 10_000],
    "right by little": [5.0] * ROWS,
}


def logits(classes: int, gaps: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs that are the logits, of several classes all near 10,000; and labels."""
    labels, gap = np.arange(ROWS) % max(2, classes), np.array(gaps, np.float32)
    if classes == 1:
        return np.where(labels == 1, gap, -gap)[:, None].astype(np.float32), labels
    z = np.full((ROWS, classes), 10_000, np.float32)
    z[np.arange(ROWS), labels] += gap
    return z, labels


def expected_loss(z: np.ndarray, labels: np.ndarray, loss: Any) -> float:
    """In float64."""
    smoothing = next(iter(loss.values()))["label_smoothing"] if isinstance(loss, dict) else 0.0
    z = z.astype(float)
    if z.shape[1] == 1:
        share = labels * (1 - smoothing) + smoothing / 2
        return float((np.logaddexp(0, z[:, 0]) - share * z[:, 0]).mean())
    z -= z.max(1, keepdims=True)
    shares = np.eye(z.shape[1])[labels] * (1 - smoothing) + smoothing / z.shape[1]
    return float(-(shares * (z - np.log(np.exp(z).sum(1, keepdims=True)))).sum(1).mean())


@pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize(("loss", "activation", "units"), LOSSES, ids=str)
def test_losses_agree(loss: Any, activation: str, units: int, gaps: str, tmp_path: Path) -> None:
    z, labels = logits(units, GAPS[gaps])
    np.savez(tmp_path / "rows.npz", x_train=z, y_train=labels)
    identity = {"0.weight": np.eye(units, dtype=np.float32), "0.bias": np.zeros(units, np.float32)}
    save_file(identity, tmp_path / "identity.safetensors")
    spec = {
        "dataset": {"npz": {"path": str(tmp_path / "rows.npz")}},
        "preprocessing": {"inputs": "none"},
        "layers": [{"dense": {"units": units, "activation": activation}}],
        "init_weights": str(tmp_path / "identity.safetensors"),
        "loss": loss,
        "optimizer": {"sgd": {"learning_rate": 1e-12}},
        "metrics": ["accuracy"],
        "epochs": 1,
        "validation": "none",
    }
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    policies: tuple[Policy, Policy] = ("on", "off")
    for policy in policies:
        settings = Settings("train", tmp_path / "runs", compile=policy)
        run = run_experiment(load_spec(tmp_path / "spec.yaml"), settings)
        (row,) = run.read_history().to_dict("records")
        assert row["loss"] == pytest.approx(expected_loss(z, labels, loss), rel=1e-5)
        assert all(np.isfinite(value).all() for value in run.read_weights().values())
