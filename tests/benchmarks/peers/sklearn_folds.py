"""scikit-learn trains what `specs/breast_cancer.yaml` declares: five folds of a network of 16 and 16 units.

    python tests/benchmarks/peers/sklearn_folds.py

Prints {"accuracy", "auc"}, means over the folds. It measures once a fold, nnrun after each epoch.
"""

from __future__ import annotations

import json
import warnings

from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)  # 40 epochs were asked for
    network = MLPClassifier((16, 16), batch_size=16, max_iter=40, alpha=0, tol=0, n_iter_no_change=40)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    scores = cross_validate(
        make_pipeline(StandardScaler(), network),
        *load_breast_cancer(return_X_y=True),
        cv=folds,
        scoring=["accuracy", "roc_auc"],
    )
    means = {"accuracy": scores["test_accuracy"].mean(), "auc": scores["test_roc_auc"].mean()}
    print(json.dumps(means))


if __name__ == "__main__":
    main()
