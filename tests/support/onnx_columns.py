"""ONNX files that take columns by their names, asked about rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nnrun.cli import main

Capture = pytest.CaptureFixture[str]

Row = Mapping[str, str]


def trained(folder: Path, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of the spec in runs/, in this folder."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="ONNX comes with the extra `onnx`")
    monkeypatch.chdir(folder)
    (folder / "odd.yaml").write_text(yaml.safe_dump(spec))
    assert main(["train", "odd.yaml", "-q"]) == 0


def predicted(path: Path, capsys: Capture) -> dict[int, float]:
    """Row → the probability of class 1, as `nnrun predict` says; a row that it refuses is left out."""
    capsys.readouterr()
    main(["predict", "@last", str(path), "--probabilities", "--skip-bad", "-q"])
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    return {int(row["row"]): float(row["probability_1"]) for row in rows}


def asked(path: Path, rows: Sequence[Row], at_once: int = 10**6) -> np.ndarray:
    """(N, K) what onnxruntime says of rows of CSV."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    found = []
    for start in range(0, max(1, len(rows)), at_once):
        feeds: dict[str, Any] = {}
        for taken in session.get_inputs():
            fields = [row[taken.name] for row in rows[start : start + at_once]]
            if taken.type == "tensor(string)":
                feeds[taken.name] = np.array(fields, object)[:, None]
            else:
                dtype = np.float64 if taken.type == "tensor(double)" else np.float32
                numbers = [float(field) if field.strip() not in ("", "NA") else np.nan for field in fields]
                feeds[taken.name] = np.array(numbers, dtype)[:, None]
        found.append(session.run(None, feeds)[0])
    return np.concatenate(found)
