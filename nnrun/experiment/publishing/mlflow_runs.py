"""A run as a run of MLflow, its folds or seeds as child runs, its networks as a pyfunc model."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import requires
from itertools import islice
from pathlib import Path
from typing import Any, Final

from nnrun.errors import NnrunError, UsageError
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.experiment.publishing.content import Content, Series
from nnrun.experiment.publishing.destination import Destination, Published
from nnrun.experiment.publishing.pyfunc_model import CODE, RUN
from nnrun.experiment.publishing.pyfunc_signature import signature_of
from nnrun.experiment.running.listener import SILENT
from nnrun.experiment.sharing.share import share_run
from nnrun.extras import require

_PACKAGE: Final = Path(__file__).resolve().parents[2]
_RUN: Final = "nnrun.run"
_DIGEST: Final = "nnrun.digest"
_PARENT: Final = "mlflow.parentRunId"
_MODEL: Final = "model"
_METRICS_AT_ONCE: Final = 1000
_PARAMS_AT_ONCE: Final = 100
_LONGEST_PARAM: Final = 6000
_LONGEST_TAG: Final = 5000
_FILE_STORE: Final = "MLFLOW_ALLOW_FILE_STORE"
_NO_FILE_STORE: Final = (
    "{} is a folder, in which this MLflow keeps runs only with MLFLOW_ALLOW_FILE_STORE=true: set it, or name "
    "a database by --into sqlite:///mlflow.db."
)
_STATUS: Final = {"completed": "FINISHED", "interrupted": "KILLED"}


def publish_to_mlflow(content: Content, destination: Destination, folder: Path) -> Published:
    """Write a run and its networks.

    A run that was published before, and of which something has changed, is deleted and written anew.

    Args:
        content: the run.
        destination: MLflow's tracking address; default: MLFLOW_TRACKING_URI, else MLflow's own.
        folder: for files that are gone afterwards.

    Raises:
        UsageError: there is no MLflow, or it takes no folder.
        NnrunError: its server cannot be reached, or refused; or its database is half made.
    """
    require("mlflow", {"mlflow": "MLflow"}, "--to mlflow")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of what is raised too
    with _tracking(mlflow, destination.place):
        try:
            return _publish(mlflow, content, destination, folder)
        except Exception as error:  # its database's come as they are
            of_database = _is_of_database(error)
            if not of_database and not isinstance(error, mlflow.exceptions.MlflowException):
                raise
            if _is_of_file_store(error):
                raise UsageError(_NO_FILE_STORE.format(mlflow.get_tracking_uri())) from None
            said = f"MLflow at {mlflow.get_tracking_uri()} refused {content.run.id}: "
            said += str(error).partition("\n")[0].rstrip(".") + "." if of_database else str(error)
            raise NnrunError(f"{said}{_of_half_made(error, str(mlflow.get_tracking_uri()))}") from None


@contextmanager
def _tracking(mlflow: Any, place: str | None) -> Iterator[None]:
    """MLflow's address, which it keeps for the whole process, for a while."""
    before = mlflow.get_tracking_uri()
    if place is not None:
        mlflow.set_tracking_uri(place)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


def _is_of_file_store(error: Exception) -> bool:
    """Whether MLflow keeps runs in a folder only where it is told to."""
    return _FILE_STORE in str(error) and os.environ.get(_FILE_STORE, "").lower() not in ("true", "1")


def _is_of_database(error: Exception) -> bool:
    """Whether it is of SQLAlchemy or Alembic, by which MLflow keeps a database."""
    return any(kind.__module__.partition(".")[0] in ("sqlalchemy", "alembic") for kind in type(error).__mro__)


def _of_half_made(error: Exception, uri: str) -> str:
    """What to do about a file of SQLite whose tables are not MLflow's; nothing where that is not so."""
    said = str(error)
    if not uri.startswith("sqlite:") or not (_is_of_database(error) or "(sqlite3." in said):
        return ""
    if "locked" in said or "readonly" in said or "unable to open" in said or "disk" in said:
        return ""
    return (
        " This database is half made, as after MLflow was stopped while it made its tables, or of another "
        "MLflow, or none. If nothing has been published in it yet, delete the file, and publish again; else "
        "name another with --into, such as --into sqlite:///new.db."
    )


def _publish(mlflow: Any, content: Content, destination: Destination, folder: Path) -> Published:
    client, where = mlflow.MlflowClient(), str(mlflow.get_tracking_uri())
    experiment = mlflow.set_experiment(destination.experiment or content.experiment).experiment_id
    has_model = destination.model and content.has_model
    before = client.search_runs([experiment], f"tags.`{_RUN}` = '{content.run.id}'")
    for run in before:
        if run.data.tags.get(_DIGEST) == content.digest:
            return Published(content.run.id, where, run.info.run_id, new=False, model=has_model)
    for run in before:
        for child in client.search_runs([experiment], f"tags.`{_PARENT}` = '{run.info.run_id}'"):
            client.delete_run(child.info.run_id)
        client.delete_run(run.info.run_id)
    id_ = _write(client, experiment, content, folder)
    for name, series in content.networks.items():
        child = _created(client, experiment, content, name, {_PARENT: id_})
        _log_series(client, child, series)
        client.set_terminated(child, _status(content), _milliseconds(content.ended))
    if has_model:
        with mlflow.start_run(run_id=id_):
            _log_model(mlflow, content, destination, folder)
    # Last, so that what was only half written is no run that has been published.
    client.set_tag(id_, _DIGEST, content.digest)
    client.set_terminated(id_, _status(content), _milliseconds(content.ended))
    return Published(content.run.id, where, id_, new=True, model=has_model)


def _write(client: Any, experiment: str, content: Content, folder: Path) -> str:
    """All of a run but its networks; MLflow's id."""
    from mlflow.entities import Param

    tags = {key: _shortened(value, _LONGEST_TAG) for key, value in content.tags.items()}
    if content.spec.description:
        tags["mlflow.note.content"] = content.spec.description
    id_ = _created(client, experiment, content, content.run.id, tags)
    params = [Param(_name(key), _shortened(value, _LONGEST_PARAM)) for key, value in content.params.items()]
    for some in _parts(params, _PARAMS_AT_ONCE):
        client.log_batch(id_, params=some)
    _log_series(client, id_, content.series)
    _log_metrics(client, id_, [(name, 0, content.ended, value) for name, value in content.summary.items()])
    for file in content.files(folder):
        client.log_artifact(id_, str(file))
    for figure in content.figures(folder):
        client.log_artifact(id_, str(figure), "figures")
    return id_


def _created(client: Any, experiment: str, content: Content, name: str, tags: Mapping[str, str]) -> str:
    made = client.create_run(experiment, _milliseconds(content.started), dict(tags), name)
    return str(made.info.run_id)


def _log_series(client: Any, id_: str, series: Series) -> None:
    _log_metrics(client, id_, list(series.points()))


def _log_metrics(client: Any, id_: str, points: Sequence[tuple[str, int, float, float]]) -> None:
    from mlflow.entities import Metric

    metrics = [Metric(_name(name), value, _milliseconds(time), step) for name, step, time, value in points]
    for some in _parts(metrics, _METRICS_AT_ONCE):
        client.log_batch(id_, metrics=some)


def _log_model(mlflow: Any, content: Content, destination: Destination, folder: Path) -> None:
    """The networks with their preprocessing, and nnrun's code, so that they can be served without nnrun."""
    predictor = load_predictor(content.run, destination.access)  # which says the weights that are used
    shared = share_run(content.run, folder / _MODEL, replace(destination.access, listener=SILENT))
    signature, example = signature_of(predictor)
    code = folder / "code" / "nnrun"
    shutil.copytree(_PACKAGE, code, ignore=shutil.ignore_patterns("__pycache__"))
    model = folder / "model.py"
    model.write_text(CODE, encoding="utf-8")
    mlflow.pyfunc.log_model(
        name=_MODEL,
        python_model=str(model),
        artifacts={RUN: str(shared.folder)},
        code_paths=[str(code)],
        signature=signature,
        input_example=example,
        pip_requirements=[f"mlflow=={mlflow.__version__}", *_requirements()],
    )


def _requirements() -> list[str]:
    """What nnrun needs, without its extras."""
    return [need for need in requires("nnrun") or [] if "extra ==" not in need]


def _name(key: str) -> str:
    """A name as MLflow allows it: `layers[0].dense.units` becomes `layers.0.dense.units`."""
    return re.sub(r"[^\w.\- :/]", "_", re.sub(r"\[(\d+)\]", r".\1", key))


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _parts(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _status(content: Content) -> str:
    return _STATUS.get(content.record.status or "", "FAILED")
