"""nnrun's entry among the learners of tables: what a person types, by the same functions as the commands.

It is `nnrun init train.csv --target TARGET --task TASK --test scored.csv --yes`,
then `nnrun kfold train.yaml`, `nnrun final RUN --members folds`, which averages the folds' networks and a
linear model in each, and `nnrun predict FINAL scored.csv`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from table_learners import Floats


def predictions(
    train: pd.DataFrame, scored: pd.DataFrame, target: str, classes: list[Any], overrides: Any = ()
) -> Floats:
    """Predictions of the scored rows: probabilities (N, K) in the order of `classes`, or numbers (N,).

    Args:
        train: the rows that the spec is written for and that are trained on, the target among the columns.
        scored: the inputs of the rows to predict.
        target: the column's name.
        classes: none for a number.
        overrides: changes of the spec, as for `--set`.
    """
    import nnrun

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = written_spec(train, target, bool(classes), folder)
        run = trained(spec, folder, overrides)
        table = nnrun.predict(run, scored, runs_dir=folder)
    if not classes:
        return np.asarray(table["prediction"], np.float64)
    return np.stack([np.asarray(table[f"probability_{c}"], np.float64) for c in classes], 1)


def written_spec(train: pd.DataFrame, target: str, classes: bool, folder: Path) -> Path:
    """The spec that `nnrun init` writes for the training rows. A test file is named, so that init holds back
    none of them; it is never read."""
    from nnrun.data.summaries.describe_file import read_file
    from nnrun.experiment.init.table_spec import Request, initial_spec_of_file

    path, spec = folder / "train.csv", folder / "train.yaml"
    train.to_csv(path, index=False)
    request = Request(path, (target,), "classification" if classes else "regression", spec, test=path)
    spec.write_text(initial_spec_of_file(request, read_file(path)).text, encoding="utf-8")
    return spec


def trained(spec: Path, folder: Path, overrides: Any) -> Any:
    """The average of the folds' networks where init wrote folds, else one network."""
    import nnrun
    from nnrun.spec.reading.load import load_spec
    from nnrun.spec.reading.overrides import with_changes

    kfold = load_spec(spec).spec.validation.kind == "kfold"
    if not kfold:
        return nnrun.train(spec, runs_dir=folder, device="cpu", overrides=overrides)
    # The spec names a test file, so that init holds back no rows; it is none.
    untested = with_changes(overrides, {"dataset.csv.test": None})
    folds = nnrun.kfold(spec, runs_dir=folder, device="cpu", overrides=untested)
    return nnrun.final(folds, members="folds", runs_dir=folder, device="cpu")
