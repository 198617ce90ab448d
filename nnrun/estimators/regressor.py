"""A regressor of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from nnrun.errors import UsageError
from nnrun.estimators.base import Network
from nnrun.estimators.rows import Array, checked_target


class Regressor(RegressorMixin, Network):  # type: ignore[misc]
    """A network that predicts a number, or several, by a spec, or without one.

    Without a spec it is the network that `nnrun init` would write for such rows. Predictions are the mean
    over the networks of all folds. X is as of `Classifier`; y is (N,), or (N, K) for several numbers.

    Args:
        spec, epochs, batch_size, seed, set, device, runs_dir, allow_custom, verbose: as of `Classifier`.

    Attributes:
        n_features_in_, feature_names_in_, trained_, history_, spec_: as of `Classifier`.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Regressor:
        """Train from new weights; arguments and errors as of `Classifier.fit`."""
        target = checked_target(y, type(self).__name__, numbers=True)
        if target.ndim == 2 and target.shape[1] == 1:
            target = target[:, 0]
        self._fit(self._inputs_to_fit(X, target), target, sample_weight, "regression", classes=False)
        kinds = {decoder.kind for decoder in self._predictor().output_decoders.values()}
        if kinds != {"numbers"}:
            raise UsageError(
                f"The spec predicts {' and '.join(sorted(kinds))}, and no numbers; use Classifier."
            )
        return self

    def predict(self, X: Any) -> Array:
        """(N,) float64, or (N, K), in the target's own units."""
        each = [
            np.array([value for block in blocks for value in block.predicted], np.float64)
            for _, blocks in self._predictions(X).values()
        ]
        return each[0] if len(each) == 1 else np.column_stack(each)
