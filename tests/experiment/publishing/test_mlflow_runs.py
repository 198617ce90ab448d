"""Runs of MLflow, in a database of SQLite, and the model that MLflow loads and serves."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

import nnrun
from nnrun.errors import NnrunError

mlflow = pytest.importorskip("mlflow", reason="the extra mlflow")

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, and those of what it imports


@pytest.fixture(scope="module")
def store(folds: nnrun.Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """MLflow's address of a store that holds the run of folds."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    before = Path.cwd()
    os.chdir(folder)  # MLflow keeps the files of a database's runs in the current folder
    try:
        (published,) = nnrun.publish(folds, to="mlflow", into=uri)
    finally:
        os.chdir(before)
    assert published.new
    return uri


def _runs(uri: str) -> tuple[object, dict[str, object]]:
    """The run, and its children by name."""
    client = mlflow.MlflowClient(uri)
    found = client.search_runs([each.experiment_id for each in client.search_experiments()])
    (run,) = [each for each in found if "nnrun.run" in each.data.tags]
    return run, {each.info.run_name: each for each in found if each is not run}


def test_scores_params_files_and_child_runs(folds: nnrun.Run, store: str) -> None:
    client = mlflow.MlflowClient(store)
    run, children = _runs(store)
    assert (run.info.run_name, run.info.status) == (folds.id, "FINISHED")
    assert run.data.params["layers.0.dense.units"] == "8"
    assert run.data.metrics["best_val_loss"] == folds.best["val_loss"]
    assert run.data.tags["mlflow.note.content"] == "Which district a flat is in."
    history = client.get_metric_history(run.info.run_id, "val_loss_mean")
    assert [metric.value for metric in history] == list(folds.history_mean["val_loss_mean"])
    assert [metric.step for metric in history] == [1, 2, 3]
    assert sorted(children) == ["fold-0", "fold-1"]
    own = folds.history[folds.history["fold"] == 1]
    history = client.get_metric_history(children["fold-1"].info.run_id, "val_loss")
    assert [metric.value for metric in history] == list(own["val_loss"])
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert artifacts >= {"figures", "spec.yaml", "run.json", "history.csv"}


def test_the_model_answers_as_predict_does(
    folds: nnrun.Run, store: str, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = _runs(store)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store)
    try:
        model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    finally:
        mlflow.set_tracking_uri(before)
    assert model.metadata.get_input_schema().input_names() == ["rooms", "area", "heating"]
    rows = rows.assign(heating=["coal", None, *rows["heating"][2:]])  # unknown, and missing
    pd.testing.assert_frame_equal(model.predict(rows), nnrun.predict(folds, rows))
    only = model.predict(rows, params={"probabilities": False})
    assert list(only.columns) == list(nnrun.predict(folds, rows, probabilities=False).columns)
    assert len(model.predict(model.input_example)) == 1


def test_the_same_again_changes_nothing(folds: nnrun.Run, store: str) -> None:
    run, children = _runs(store)
    (again,) = nnrun.publish(folds, to="mlflow", into=store)
    assert (again.new, again.tracker_id) == (False, run.info.run_id)
    after, others = _runs(store)
    assert after.info.run_id == run.info.run_id
    assert {each.info.run_id for each in others.values()} == {c.info.run_id for c in children.values()}


def test_a_run_that_was_measured_again_takes_the_place_of_its_older_self(
    single: nnrun.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (first,) = nnrun.publish(single, to="mlflow", into=uri, model=False)
    nnrun.evaluate(single)
    (second,) = nnrun.publish(single, to="mlflow", into=uri, model=False)
    assert second.new
    assert second.tracker_id != first.tracker_id
    run, _ = _runs(uri)
    assert run.info.run_id == second.tracker_id
    assert run.data.metrics["test_mae"] == single.test["mae"]


def test_mlflow_serves_it(folds: nnrun.Run, store: str, rows: pd.DataFrame, tmp_path: Path) -> None:
    run, _ = _runs(store)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"runs:/{run.info.run_id}/model"
    words = ["models", "serve", "-m", uri, "-h", "127.0.0.1", "-p", str(port), "--env-manager", "local"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("uvicorn", path=path) is None:
        pytest.skip("MLflow serves by uvicorn, which is not on the path")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "PATH": path}
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words],
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/ping", server, tmp_path / "log")
        body = json.dumps({"dataframe_split": json.loads(rows.to_json(orient="split", index=False))}).encode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            said = json.load(answer)["predictions"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()
    expected = nnrun.predict(folds, rows)
    assert [each["prediction"] for each in said] == list(expected["prediction"])
    assert [each["probability"] for each in said] == pytest.approx(list(expected["probability"]), rel=1e-6)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers, or has ended."""
    for _ in range(1200):
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"no answer: {log.read_text()}")


@pytest.mark.parametrize("table", ["latest_metrics", None], ids=["half made", "no database"])
def test_a_database_that_is_half_made(
    table: str | None, single: nnrun.Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mlflow.db"
    if table is None:
        file.write_bytes(b"no database" * 100)
    else:  # SQLite keeps the tables that were made before the process was killed
        with contextlib.closing(sqlite3.connect(file)) as database:
            database.execute(f"CREATE TABLE {table} (key TEXT)")
            database.commit()
    with pytest.raises(NnrunError) as error:
        nnrun.publish(single, to="mlflow", into=f"sqlite:///{file}", model=False)
    said = "file is not a database" if table is None else f"table {table} already exists"
    assert said in str(error.value)
    assert "This database is half made" in str(error.value)
    assert str(error.value).endswith("name another with --into, such as --into sqlite:///new.db.")
    assert "\n" not in str(error.value)
    assert "Traceback" not in capfd.readouterr().err
