"""scikit-learn's GridSearchCV over the 24 networks that `nnrun sweep` tries in the benchmark of that name.

    python tests/benchmarks/peers/sklearn_grid.py --epochs N

One split of scikit-learn's digits, rows standardized on the training part, six architectures, four learning
rates, Adam, batches of 32. Prints {"best": the best accuracy}. It validates once a network, nnrun after each
epoch.
"""

from __future__ import annotations

import argparse
import json
import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, required=True)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs were asked for
    network = MLPClassifier(
        batch_size=32, max_iter=arguments.epochs, alpha=0, tol=0, n_iter_no_change=arguments.epochs
    )
    grid = {
        "mlpclassifier__hidden_layer_sizes": [(32,), (64,), (128,), (32, 32), (64, 64), (128, 128)],
        "mlpclassifier__learning_rate_init": [5e-4, 1e-3, 2e-3, 4e-3],
    }
    split = StratifiedShuffleSplit(1, test_size=0.2, random_state=0)
    search = GridSearchCV(make_pipeline(StandardScaler(), network), grid, cv=split, refit=False)
    search.fit(*load_digits(return_X_y=True))
    print(json.dumps({"best": search.best_score_}))


if __name__ == "__main__":
    main()
