"""The model that MLflow loads and serves ("models from code"): a run's networks with their preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from nnrun.data.new_rows.token_rows import TokenDecoder
from nnrun.errors import NnrunError
from nnrun.experiment.predicting.predict import Predictor, load_predictor, predict_values
from nnrun.records import RunDirectory

RUN = "run"
"""The name of the artifact that is the run's folder."""

CODE = """from mlflow.models import set_model

from nnrun.experiment.publishing.pyfunc_model import make_model

set_model(make_model())
"""
"""What MLflow keeps of the model's code, and runs; nnrun's own lies beside it."""


def make_model() -> Any:
    """An MLflow `PythonModel` that answers as `nnrun predict` does.

    Its parameter `probabilities` asks for those of every class.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    class NnrunModel(mlflow.pyfunc.PythonModel):  # type: ignore  # it is no class to mypy
        """The networks of a run."""

        predictor: Predictor

        def load_context(self, context: Any) -> None:
            """Load the networks."""
            self.predictor = load_predictor(RunDirectory(Path(context.artifacts[RUN])))

        def predict(
            self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
        ) -> pd.DataFrame:
            """One row of predictions for each row of a data frame, or of an array without names.

            Raises:
                MlflowException: nnrun cannot read a row. MLflow's server hands on the sentence of this
                    exception; of any other it says only that there was one.
            """
            rows: Any = model_input
            if isinstance(self.predictor.decoder, TokenDecoder) and isinstance(rows, pd.DataFrame):
                rows = rows.iloc[:, 0].tolist()
            probabilities = bool((params or {}).get("probabilities", True))
            try:
                return predict_values(self.predictor, rows, probabilities=probabilities)
            except NnrunError as error:
                raise MlflowException.invalid_parameter_value(str(error)) from error

    return NnrunModel()
