"""The model that MLflow loads and serves ("models from code"): a run's networks with their preprocessing.

MLflow runs this file itself, with the run's folder as the artifact `run`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import set_model

from nnrun.data.new_rows.token_rows import TokenDecoder
from nnrun.experiment.predicting.predict import Predictor, load_predictor, predict_values
from nnrun.records import RunDirectory

RUN = "run"
"""The name of the artifact."""


class NnrunModel(mlflow.pyfunc.PythonModel):  # type: ignore  # it is no class to mypy
    """Answers as `nnrun predict` does. The parameter `probabilities` asks for those of every class."""

    _predictor: Predictor

    def load_context(self, context: Any) -> None:
        """Load the networks."""
        self._predictor = load_predictor(RunDirectory(Path(context.artifacts[RUN])))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row of predictions for each row of a data frame, or of an array where columns have no names."""
        rows: Any = model_input
        if isinstance(self._predictor.decoder, TokenDecoder) and isinstance(rows, pd.DataFrame):
            rows = rows.iloc[:, 0].tolist()
        probabilities = bool((params or {}).get("probabilities", True))
        return predict_values(self._predictor, rows, probabilities=probabilities)


set_model(NnrunModel())
