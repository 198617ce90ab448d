"""How a run may end, each brought about in a real process."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from safetensors.numpy import load_file

from tests.support.commands import start_nnrun

pytestmark = pytest.mark.faults

BOSTON = """
name: boston
dataset: boston_housing
preprocessing: {inputs: standardize}
layers: [{dense: {units: 8, activation: relu}}, {dense: 1}]
loss: mse
metrics: [mae]
batch_size: 16
validation: {kfold: {k: 2}}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "boston.yaml"
    path.write_text(BOSTON)
    return path


def only_run(folder: Path) -> Path:
    (run,) = (folder / "runs").iterdir()
    return run


def rows_of(folder: Path) -> int:
    histories = list(folder.glob("runs/*/history.csv"))
    return histories[0].read_text().count("\n") - 1 if histories else 0


@pytest.mark.parametrize(("request_to_stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_can_be_read(
    spec: Path, tmp_path: Path, request_to_stop: signal.Signals, code: int
) -> None:
    process = start_nnrun("train", str(spec), "--epochs", "100000", "--compile", "off", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while rows_of(tmp_path) < 10 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(request_to_stop)
    try:
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()  # nothing to kill, unless it did not end
    assert process.returncode == code, err
    assert "Traceback" not in out + err
    run = only_run(tmp_path)
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "interrupted"
    history = pd.read_csv(run / "history.csv")
    assert len(history) >= 10
    assert not history.isna().any().any()
    assert record["epochs_run"] == history["epoch"].max()
    assert record["best"]["val_loss"] > 0
    assert all(load_file(run / f"fold-{fold}" / "weights.safetensors") for fold in (0, 1))
    assert out.startswith(f"boston: interrupted, {record['epochs_run']} epochs on cpu in ")


def test_a_diverged_run_says_where_and_what_to_try(spec: Path, tmp_path: Path) -> None:
    process = start_nnrun(
        "train", str(spec), "--epochs", "5", "-q", "--set", "optimizer.rmsprop=1e30", cwd=tmp_path
    )
    out, err = process.communicate(timeout=60)
    run = only_run(tmp_path)
    assert process.returncode == 5
    assert out == ""
    assert err == (
        "error: the training loss of fold 0 stopped being a finite number in epoch 1, batch 2. Try a smaller "
        "learning rate, standardized inputs, or targets on a smaller scale. What was recorded so far is "
        "kept in "
        f"runs/{run.name}.\n"
    )
    assert json.loads((run / "run.json").read_text())["status"] == "diverged"
    assert len(pd.read_csv(run / "history.csv")) == 2


def test_without_network_and_data_it_is_said_what_to_put_where(tmp_path: Path, specs_dir: Path) -> None:
    # Port 9 of this machine answers nobody, so that the test needs no network and reaches none.
    process = start_nnrun(
        "train",
        str(specs_dir / "reuters.yaml"),
        cwd=tmp_path,
        env={
            "HOME": str(tmp_path),
            "NNRUN_CACHE_DIR": str(tmp_path / "cache"),
            "NNRUN_DATA_DIR": str(tmp_path / "nothing"),
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "",
        },
    )
    out, err = process.communicate(timeout=60)
    url = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/reuters.npz"
    assert process.returncode == 4
    assert out == ""
    assert err == (
        f"downloading {url}\n"
        "error: reuters.npz is not on this machine, and the download failed: the server cannot be reached.\n"
        f"  Get it from {url}\n"
        "  (SHA-256 d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916) and put it in one of "
        "these folders:\n"
        f"    {tmp_path}/nothing\n"
        f"    {tmp_path}/cache\n"
        f"    {tmp_path}/.keras/datasets\n"
        "  or name the folder that holds it with --data-dir.\n"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-"])
def test_a_stream_that_is_closed_is_no_fault(spec: Path, tmp_path: Path, closed: str) -> None:
    line = f"{sys.executable} -m nnrun train boston.yaml --epochs 1 {closed}"
    result = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads((only_run(tmp_path) / "run.json").read_text())["status"] == "completed"


def test_whoever_stops_reading_the_progress_does_not_stop_the_training(spec: Path, tmp_path: Path) -> None:
    process = start_nnrun("train", str(spec), "--epochs", "30", cwd=tmp_path)
    assert process.stderr is not None
    process.stderr.readline()
    process.stderr.close()
    assert process.stdout is not None
    out = process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert out.startswith("boston: trained, 30 epochs on cpu in ")
    assert len(pd.read_csv(only_run(tmp_path) / "history.csv")) == 60
