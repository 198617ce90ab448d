"""A classifier of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from nnrun.data.value_names import text_name, truth_name
from nnrun.errors import UsageError
from nnrun.estimators.base import Network
from nnrun.estimators.rows import Array, checked_target, checked_weights


def _gives_probabilities(estimator: Classifier) -> bool:
    """Whether the outputs are probabilities; not those that hinge was the loss of."""
    return not hasattr(estimator, "trained_") or estimator._only_decoder().has_probabilities


class Classifier(ClassifierMixin, Network):  # type: ignore[misc]
    """A network that predicts classes, or any of several labels, by a spec, or without one.

    Without a spec it is the network that `nnrun init` would write for such rows. Predictions are the mean
    over the networks of all folds. X is a data frame (N, F), whose columns may be numbers, categories, texts
    and dates; or an array (N, F), or (N, ...) for specs that take images and the like. Missing values (NaN,
    None) are for the spec to handle, as the one that is written does. y is (N,), any classes; or (N, K)
    of 0 and 1, a column for each label.

    Args:
        spec: a file's path, YAML text, or a dict; its `dataset`, if it has one, says at most what the columns
            are for (`{csv: {target: y}}`).
        epochs, batch_size, seed: instead of the spec's.
        set: changes of the spec: path → value, such as `{"layers[0].dense.units": 32}`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        runs_dir: where the run and its rows are kept. By default no files are left, and all that is needed
            is in the estimator.
        allow_custom: your own modules that the spec names and that may run.
        verbose: print one line per epoch to stderr.

    Attributes:
        classes_: the classes (K,), ascending; of labels their numbers.
        n_features_in_: F; of arrays of more axes the length of the second.
        feature_names_in_: the columns of X (F,), where it had names.
        trained_: what is kept of the run.
        history_: a data frame with one row per epoch (and fold).
        spec_: the spec that was trained, as YAML with every default.
    """

    classes_: Array

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Classifier:
        """Train from new weights.

        Args:
            X, y: see the class.
            sample_weight: (N,) how much each row counts in the loss, none negative.

        Raises:
            ValueError: X, y or the weights cannot be learned from.
            SpecError, UsageError, DivergedError: the spec is wrong, or its training failed.
        """
        target = checked_target(y, type(self).__name__, numbers=False)
        inputs = self._inputs_to_fit(X, target)
        check_classification_targets(target)
        if type_of_target(target).startswith("multilabel"):
            self.classes_ = np.arange(target.shape[1])
            self._fit(inputs, target.astype(np.int64), sample_weight, "classification", classes=False)
        else:
            target = column_or_1d(target, warn=True)
            weights = checked_weights(sample_weight, len(target))
            counted = target if weights is None else target[weights > 0]
            self.classes_, codes = np.unique(target, return_inverse=True)
            if len(np.unique(counted)) < 2:
                raise ValueError(
                    f"y has one class in all rows that count, {counted[:1].tolist()[0]!r}; there must be two."
                )
            names = np.array(_names(self.classes_), object)
            self._fit(inputs, names[codes], weights, "classification", classes=True)
        decoder = self._only_decoder()
        if decoder.kind not in ("binary", "class", "labels"):
            raise UsageError(f"The spec predicts {decoder.kind}, and no classes; use Regressor for numbers.")
        return self

    def predict(self, X: Any) -> Array:
        """(N,) the class of each row; of labels (N, K) 0 or 1."""
        ((decoder, blocks),) = self._predictions(X).values()
        predicted = [value for block in blocks for value in block.predicted]
        places = self._places(decoder.classes)
        if decoder.kind != "labels":
            return np.asarray(self.classes_[[places[name] for name in predicted]])
        found = np.zeros((len(predicted), len(places)), np.int64)
        for row, names in enumerate(predicted):
            found[row, [places[name] for name in names]] = 1
        return found

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """(N, K) float32: the probability of each class, in the order of `classes_`; of labels of each."""
        ((decoder, blocks),) = self._predictions(X).values()
        places = self._places(decoder.classes)
        found = np.zeros((sum(map(len, blocks)), len(self.classes_)), np.float32)
        columns = [places[name] for name in decoder.classes]
        found[:, columns] = np.concatenate([block.probabilities for block in blocks])
        return found

    def _places(self, names: tuple[str | int, ...]) -> dict[str | int, int]:
        """The name of each class, as the network has it → its place in `classes_`."""
        check_is_fitted(self)
        own = _names(self.classes_)
        known = {name: place for place, name in enumerate(own)}
        return {name: known.get(str(name), place) for place, name in enumerate(names)}


def _names(classes: Array) -> list[str]:
    """What the network calls the classes: their texts, unless a file's reader would change one of them."""
    names = [str(value) for value in classes.tolist()]
    kept = all(name and truth_name(text_name(name)) == name for name in names)
    return names if kept and len(set(names)) == len(names) else [f"class {i}" for i in range(len(names))]
