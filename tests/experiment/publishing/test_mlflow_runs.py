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
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.errors import NnrunError, UsageError
from tests.experiment.publishing.conftest import folders_told

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
    whole = rows.assign(area=[60, 70, 20, 45, 80, 33, 51])
    assert whole["area"].dtype == np.int64
    pd.testing.assert_frame_equal(model.predict(whole), nnrun.predict(folds, whole))
    only = model.predict(rows, params={"probabilities": False})
    assert list(only.columns) == list(nnrun.predict(folds, rows, probabilities=False).columns)
    assert len(model.predict(model.input_example)) == 1


def test_no_folder_of_this_machine_is_published(folds: nnrun.Run, store: str) -> None:
    run, _ = _runs(store)
    assert run.data.params["dataset.csv.path"] == "flats.csv"
    assert folders_told(folds, Path(store.removeprefix("sqlite:///")).parent) == []


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


ROWS: list[dict[str, Any]] = [
    {"rooms": 2, "area": 60, "heating": "gas"},
    {"rooms": 3.0, "area": None, "heating": None},
    {"rooms": 4, "area": 70.5, "heating": "coal"},
    {"rooms": "1", "area": "2e1", "heating": ""},
    {"rooms": 5, "area": 110, "heating": 3},
]
"""Whole numbers where the training rows had others, missing values, unknown ones, and numbers as texts."""


def _requests(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows in each form that MLflow's server takes."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {
        "dataframe_split": {"columns": list(columns), "data": [list(row.values()) for row in rows]},
        "dataframe_records": rows,
        "instances": rows,
        "inputs": columns,
    }


def test_mlflow_serves_it(folds: nnrun.Run, store: str, tmp_path: Path) -> None:
    run, _ = _runs(store)
    with _served(f"runs:/{run.info.run_id}/model", store, tmp_path) as address:
        for some in (ROWS, ROWS[:1], ROWS[1:2]):
            expected = nnrun.predict(folds, pd.DataFrame(some))
            for form, value in _requests(some).items():
                status, answer = _asked(address, {form: value})
                assert status == 200, answer
                said = pd.DataFrame(answer["predictions"])
                assert list(said["prediction"]) == list(expected["prediction"]), form
                assert list(said["probability"]) == pytest.approx(list(expected["probability"]), rel=1e-6)
        status, answer = _asked(address, {"instances": [{**ROWS[0], "area": "much"}]})
    assert status == 400
    assert "row 0 has 'much' in column 'area', which is not a finite number" in answer["message"]
    assert "stack_trace" not in answer


def test_rows_of_an_array_may_be_whole_numbers(
    single: nnrun.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpx", reason="to ask MLflow's server without a port")
    from fastapi.testclient import TestClient
    from mlflow.pyfunc.scoring_server import init

    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (published,) = nnrun.publish(single, to="mlflow", into=uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        model = mlflow.pyfunc.load_model(f"runs:/{published.tracker_id}/model")
    finally:
        mlflow.set_tracking_uri(before)
    whole = np.arange(6).reshape(2, 3)
    expected = nnrun.predict(single, whole)
    for rows in (whole, whole.astype(np.float32), whole.astype(np.float64), pd.DataFrame(whole)):
        pd.testing.assert_frame_equal(model.predict(rows), expected)
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "")  # the server sets it; pytest puts it back
    client = TestClient(init(model))
    for body in ({"instances": whole.tolist()}, {"inputs": whole.tolist()}):
        said = client.post("/invocations", json=body).json()["predictions"]
        assert [row["prediction"] for row in said] == pytest.approx(list(expected["prediction"]), rel=1e-6)
    answer = client.post("/invocations", json={"instances": [[1, None, 2]]})
    assert answer.status_code == 400
    assert "row 0 has nan in column 1 (from 0); every value must be a finite" in answer.json()["message"]


@contextlib.contextmanager
def _served(uri: str, store: str, folder: Path) -> Iterator[str]:
    """The address at which MLflow's own server answers, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["models", "serve", "-m", uri, "-h", "127.0.0.1", "-p", str(port), "--env-manager", "local"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("uvicorn", path=path) is None:
        pytest.skip("MLflow serves by uvicorn, which is not on the path")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "PATH": path}
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words],
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/ping", server, folder / "log")
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()


def _asked(address: str, body: Any) -> tuple[int, Any]:
    """The status and the answer."""
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


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


def test_a_folder_is_refused_in_one_sentence_and_taken_where_it_is_allowed(
    single: nnrun.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    folder = f"file:{tmp_path / 'store'}"
    with pytest.raises(UsageError) as error:
        nnrun.publish(single, to="mlflow", into=folder, model=False)
    assert str(error.value) == (
        f"{folder} is a folder, in which this MLflow keeps runs only with MLFLOW_ALLOW_FILE_STORE=true: set "
        "it, or name a database by --into sqlite:///mlflow.db."
    )
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert nnrun.publish(single, to="mlflow", into=folder, model=False)[0].new
