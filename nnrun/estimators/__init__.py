"""Experiments as estimators of scikit-learn: `nnrun.Classifier` and `nnrun.Regressor`."""

from nnrun.estimators.classifier import Classifier
from nnrun.estimators.regressor import Regressor

__all__ = ["Classifier", "Regressor"]
