"""What lies behind a loss: which classes are confused, how sure the network was, how far off its numbers are.

Plain values from outputs and targets, for a screen, a report or JSON. N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array
from nnrun.data.row_places import RowPlaces
from nnrun.errors import one_line

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CALIBRATION_BINS = 15
_MOST_CONFUSIONS = 10

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ClassScores:
    """How well one class was found, or a mean over the classes.

    Attributes:
        name: the class's name, or its label where it has none.
        precision: the share of the rows predicted as this class that are of it; 0 where there are none.
        recall: the share of its rows that were predicted as it; 0 where there are none.
        f1: the harmonic mean of both.
        support: rows of the class.
        predicted: rows predicted as it.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


@dataclass(frozen=True)
class Confusion:
    """Rows of the class `true` that were predicted as `predicted`; `share` is among the rows of `true`."""

    true: str
    predicted: str
    rows: int
    share: float


@dataclass(frozen=True)
class Mistake:
    """A misclassified row.

    Attributes:
        row: its number in its split, from 0.
        true, predicted: the classes' names.
        probability: what the network gave the predicted class.
        probability_of_true: what it gave the true one.
        text: the row as words or values, in one line.
        in_file: where it stands in its file: its line, of Parquet its row from 0; of a folder its file; None
            of arrays.
        file_row: the row of its file, from 0, as pandas counts; None where there is no file of rows.
    """

    row: int
    true: str
    predicted: str
    probability: float
    probability_of_true: float
    text: str = ""
    in_file: int | str | None = None
    file_row: int | None = None


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows whose confidence, the probability of the predicted class, is in (low, high].

    Attributes:
        low, high: the bin's edges.
        rows: how many; at least 1.
        confidence: their mean confidence.
        accuracy: the share of them that is right.
    """

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Whether a network that says 0.9 is right nine times in ten.

    Attributes:
        error: the expected calibration error, the mean of |accuracy - confidence| over the bins, weighted by
            their rows (Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3).
        confidence: mean over all rows.
        accuracy: share of all rows that is right.
        bins: those of the equal-width bins that hold rows.
    """

    error: float
    confidence: float
    accuracy: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class Classification:
    """Predictions of classes against the true ones.

    Attributes:
        rows: how many.
        classes: one entry per class, in the order of the labels.
        macro: the mean over the classes among the rows or the predictions, each counted the same, as the
            metrics `precision`, `recall` and `f1`.
        weighted: the mean over the classes, weighted by support.
        confusion: K × K; row: true class, column: predicted class, value: rows.
        confusions: the most frequent mistakes, at most 10.
        wrong: misclassified rows.
        mistakes: the wrong rows of the highest probability, the highest first.
        calibration: of the probabilities.
        positive: of a network with one output, the class that its metrics `precision`, `recall` and `f1` are
            of.
    """

    rows: int
    classes: tuple[ClassScores, ...]
    macro: ClassScores
    weighted: ClassScores
    confusion: tuple[tuple[int, ...], ...]
    confusions: tuple[Confusion, ...]
    wrong: int
    mistakes: tuple[Mistake, ...]
    calibration: Calibration
    positive: str | None = None

    def as_document(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {"class_names": [scores.name for scores in self.classes], **asdict(self)}


@dataclass(frozen=True)
class MultiLabel:
    """Predictions of several labels per row, each there or not: predicted where its probability is above 0.5.

    Attributes:
        rows: how many.
        labels: one entry per label, in the order of the outputs.
        micro: of all cells together, each label of each row.
        macro: the mean over all labels, each counted the same, as scikit-learn has it.
        weighted: the mean over the labels, weighted by support.
        right: rows of which every label is right.
    """

    rows: int
    labels: tuple[ClassScores, ...]
    micro: ClassScores
    macro: ClassScores
    weighted: ClassScores
    right: int

    def as_document(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {"label_names": [scores.name for scores in self.labels], **asdict(self)}


@dataclass(frozen=True)
class WorstRow:
    """A row far from its target: its number in its split, its values, the row in one line.

    `in_file` and `file_row` are as of a `Mistake`.
    """

    row: int
    true: float
    predicted: float
    text: str = ""
    in_file: int | str | None = None
    file_row: int | None = None

    @property
    def residual(self) -> float:
        """True minus predicted."""
        return self.true - self.predicted


@dataclass(frozen=True, eq=False)
class Residuals:
    """Predictions of one number per row against the true one: residual = true - predicted, in its own units.

    Attributes:
        rows: how many.
        mean: of the residuals; below 0 where the network predicts too much.
        std: their standard deviation over all N rows (mean² + std² is the mean squared error).
        mae: mean of their absolute values.
        quantiles: (share, value) for each of QUANTILES.
        worst: the rows of the largest absolute residual, the largest first.
        true, predicted: (N,) each.
    """

    rows: int
    mean: float
    std: float
    mae: float
    quantiles: tuple[tuple[float, float], ...]
    worst: tuple[WorstRow, ...]
    true: Floats
    predicted: Floats

    def as_document(self) -> dict[str, Any]:
        """All but the rows themselves, as plain values."""
        document = {name: value for name, value in vars(self).items() if name not in ("true", "predicted")}
        quantiles = [{"share": share, "value": value} for share, value in self.quantiles]
        worst = [{**asdict(row), "residual": row.residual} for row in self.worst]
        return {**document, "quantiles": quantiles, "worst": worst}


Analysis = Classification | MultiLabel | Residuals


def analyse(
    outputs: Array,
    targets: Array,
    *,
    activation: str,
    threshold: float = 0.5,
    rows: Sequence[int] | Array | None = None,
    class_names: Sequence[str] | None = None,
    label_names: Sequence[str] | None = None,
    mistakes: int = 5,
    text_of: Callable[[int], str] = lambda row: "",
    places: RowPlaces | None = None,
) -> Analysis | None:
    """Compare outputs with targets. None where there is nothing to tell classes or numbers by.

    That is: several numbers per row, shares of classes as targets, outputs that are not finite, or no rows.

    Args:
        outputs: (N, K) probabilities after a softmax or sigmoid, else values in the units of the targets.
        targets: (N,) labels or numbers, (N, 1), (N, K) one-hot, or (N, K) of 0 and 1 for several labels; as
            the data set has them.
        activation: of the network's last layer.
        threshold: above which probability the second of two classes is predicted.
        rows: (N,) each row's number in its split; default: 0 to N - 1.
        class_names: their names, in the order of the labels.
        label_names: of several labels per row.
        mistakes: how many wrong or worst rows to name.
        text_of: the number of a row → the row in one line; asked for the named rows only.
        places: where each row of the split stands in its file or folder; None where there is none.
    """
    if not len(outputs) or not np.isfinite(outputs).all():
        return None
    numbers = np.arange(len(outputs)) if rows is None else np.asarray(rows)
    outputs = outputs.astype(np.float64)
    targets = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    one_output = outputs.shape[1] == 1
    if activation == "softmax" or (activation == "sigmoid" and one_output):
        probabilities = np.hstack([1 - outputs, outputs]) if one_output else outputs
        labels = class_labels(targets, probabilities.shape[1])
        if labels is not None and activation == ("sigmoid" if one_output else "softmax"):
            predicted = _predicted(probabilities, threshold)
            found = _classification(
                probabilities, predicted, labels, numbers, class_names, mistakes, text_of, places
            )
            return replace(found, positive=found.classes[1].name) if one_output else found
    if activation == "sigmoid" and not one_output:
        several = targets.shape == outputs.shape and np.isin(targets, (0, 1)).all()
        return _multi_label(outputs > 0.5, targets.astype(bool), label_names) if several else None
    if activation == "softmax" or not one_output or targets.ndim != 1:
        return None
    return _residuals(outputs[:, 0], targets.astype(np.float64), numbers, mistakes, text_of, places)


def _in_file(places: RowPlaces | None, row: int) -> tuple[int | str | None, int | None]:
    """`in_file` and `file_row` of a row."""
    if places is None:
        return None, None
    return places.where(row), None if places.file_rows is None else int(places.file_rows[row])


def place_headings(row: Mistake | WorstRow) -> list[str]:
    """What a table calls the cells that `place_cells` gives."""
    if row.in_file is None:
        return ["row"]
    if row.file_row is None:
        return ["row", "file"]
    return ["row", "file row" if row.in_file == row.file_row else "line"]  # lines count from 1, rows from 0


def place_cells(row: Mistake | WorstRow) -> list[str]:
    """The number of a row in its split and, where there is one, its place in its file or folder."""
    return [str(row.row)] if row.in_file is None else [str(row.row), one_line(str(row.in_file))]


def calibrate(probabilities: Floats, labels: Labels, bins: int = CALIBRATION_BINS) -> Calibration:
    """Compare confidence and accuracy, bin by bin.

    Args:
        probabilities: (N, K), N at least 1.
        labels: (N,) the true classes.
        bins: how many, of equal width, from 0 to 1.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.digitize(confidence, edges[1:-1], right=True)
    rows = np.bincount(place, minlength=bins)
    filled = np.flatnonzero(rows)
    means = np.bincount(place, confidence, bins)[filled] / rows[filled]
    shares = np.bincount(place, right, bins)[filled] / rows[filled]
    return Calibration(
        error=float(np.abs(shares - means) @ rows[filled] / len(labels)),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        bins=tuple(
            ReliabilityBin(float(edges[i]), float(edges[i + 1]), int(rows[i]), float(mean), float(share))
            for i, mean, share in zip(filled, means, shares, strict=True)
        ),
    )


def class_labels(targets: Array, classes: int) -> Labels | None:
    """(N,) the class of each row; None where the targets are something else."""
    if targets.ndim == 1:
        known = np.isin(targets, np.arange(classes))
        return targets.astype(np.int64) if known.all() else None
    one_hot = targets.shape == (len(targets), classes) and np.isin(targets, (0, 1)).all()
    return targets.argmax(1) if one_hot and (targets.sum(1) == 1).all() else None


def _predicted(probabilities: Floats, threshold: float) -> Labels:
    """(N,) the most probable class; of two the second where its probability is above the threshold."""
    if probabilities.shape[1] != 2 or threshold == 0.5:
        return np.asarray(probabilities.argmax(1))
    return (probabilities[:, 1] > threshold).astype(np.int64)


def _classification(
    probabilities: Floats,
    predicted: Labels,
    true: Labels,
    rows: Array,
    class_names: Sequence[str] | None,
    mistakes: int,
    text_of: Callable[[int], str],
    places: RowPlaces | None,
) -> Classification:
    count = probabilities.shape[1]
    named = class_names is not None and len(class_names) == count
    names = list(class_names) if named and class_names else [str(label) for label in range(count)]
    confusion = np.bincount(count * true + predicted, minlength=count * count).reshape(count, count)
    classes, (macro, weighted) = _scores(true, predicted, names, ("macro", "weighted"))
    wrong = np.flatnonzero(predicted != true)
    confident = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:mistakes]
    return Classification(
        rows=len(true),
        classes=classes,
        macro=macro,
        weighted=weighted,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        confusions=_confusions(confusion, names),
        wrong=len(wrong),
        mistakes=tuple(
            Mistake(
                int(rows[i]),
                names[true[i]],
                names[predicted[i]],
                float(probabilities[i, predicted[i]]),
                float(probabilities[i, true[i]]),
                text_of(int(rows[i])),
                *_in_file(places, int(rows[i])),
            )
            for i in confident
        ),
        calibration=calibrate(probabilities, true),
    )


def _multi_label(predicted: Flags, true: Flags, label_names: Sequence[str] | None) -> MultiLabel:
    """As scikit-learn's classification report of indicators, where nothing was predicted or is there 0."""
    count = true.shape[1]
    named = label_names is not None and len(label_names) == count
    names = list(label_names) if named and label_names else [str(label) for label in range(count)]
    each, means = _scores(true, predicted, names, ("micro", "macro", "weighted"))
    micro, macro, weighted = means
    return MultiLabel(len(true), each, micro, macro, weighted, int((predicted == true).all(1).sum()))


def _scores(
    true: Labels | Flags, predicted: Labels | Flags, names: Sequence[str], averages: Sequence[str]
) -> tuple[tuple[ClassScores, ...], list[ClassScores]]:
    """Each class or label, and the means over them: scikit-learn's `precision_recall_fscore_support`.

    Args:
        true, predicted: (N,) classes, or (N, K) which labels a row has.
        names: of the K classes or labels.
        averages: `micro`, `macro`, `weighted`.
    """
    if true.ndim == 2:
        supports, predictions = true.sum(0), predicted.sum(0)
        hits, occurring = (true & predicted).sum(0), np.arange(len(names))
    else:
        supports, predictions = (np.bincount(part, minlength=len(names)) for part in (true, predicted))
        hits = np.bincount(true[true == predicted], minlength=len(names))
        occurring = np.flatnonzero(supports + predictions)
    counts = (hits, supports, predictions)
    each = _rates(*counts)

    def mean(average: str) -> ClassScores:
        if average == "micro":
            found = [part[0] for part in _rates(*(of_each.sum(keepdims=True) for of_each in counts))]
        elif average == "macro":
            found = [part[occurring].mean() for part in each]
        else:
            found = [part @ supports / max(1, supports.sum()) for part in each]
        precision, recall, f1 = map(float, found)
        return ClassScores(
            f"{average} mean", precision, recall, f1, int(supports.sum()), int(predictions.sum())
        )

    rows = zip(names, *(part.tolist() for part in (*each, supports, predictions)), strict=True)
    return tuple(ClassScores(*values) for values in rows), [mean(average) for average in averages]


def _rates(hits: Labels, supports: Labels, predictions: Labels) -> tuple[Floats, Floats, Floats]:
    """(K,) precision, recall and F1; 0 where there is nothing to divide by.

    Args:
        hits: rows of a class that were predicted as it.
        supports: rows of it.
        predictions: rows predicted as it.
    """

    def share(part: Labels, whole: Labels) -> Floats:
        return part / np.where(whole == 0, 1, whole)

    return share(hits, predictions), share(hits, supports), share(2 * hits, supports + predictions)


def _confusions(confusion: Labels, names: Sequence[str]) -> tuple[Confusion, ...]:
    off = confusion.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:_MOST_CONFUSIONS]
    cells = [divmod(int(cell), len(names)) for cell in order]
    return tuple(
        Confusion(names[t], names[p], int(off[t, p]), float(off[t, p] / confusion[t].sum()))
        for t, p in cells
        if off[t, p]
    )


def _residuals(
    predicted: Floats,
    true: Floats,
    rows: Array,
    worst: int,
    text_of: Callable[[int], str],
    places: RowPlaces | None,
) -> Residuals:
    residuals = true - predicted
    largest = np.argsort(-np.abs(residuals), kind="stable")[:worst]
    return Residuals(
        rows=len(true),
        mean=float(residuals.mean()),
        std=float(residuals.std()),
        mae=float(np.abs(residuals).mean()),
        quantiles=tuple(zip(QUANTILES, np.quantile(residuals, QUANTILES).tolist(), strict=True)),
        worst=tuple(
            WorstRow(
                int(rows[i]),
                float(true[i]),
                float(predicted[i]),
                text_of(int(rows[i])),
                *_in_file(places, int(rows[i])),
            )
            for i in largest
        ),
        true=true,
        predicted=predicted,
    )
