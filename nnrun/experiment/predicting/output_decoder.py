"""The outputs of a network as predictions: a class, labels, numbers, a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nnrun.data import FittedPreprocessing
from nnrun.data.dataset import Array, Flags
from nnrun.data.labels import Labels
from nnrun.errors import UsageError
from nnrun.sequences import greedily_decoded, lists_of
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import Port, output_views, prediction_columns

Kind = Literal["binary", "class", "labels", "numbers", "steps", "sequence"]
THRESHOLD = 0.5
"""A class is said above this probability, as the metric `accuracy` has it."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of N rows.

    Attributes:
        rows: the number of each row, from 0, ascending.
        predicted: a class (its name, or its number), a list of classes, or a number, or a list of numbers.
        probability: (N,) float32, of the predicted class; None where no single class is predicted.
        probabilities: (N, C) float32, of each class; None for numbers.
        true: the targets of the rows, as `predicted`, None for a row without (for several numbers a list of
            None); None where targets are not known.
        spread: (N, C) float32, the standard deviation over several networks of each class's probability, or
            (N, K) of each number; None where it is not asked for, or there are neither.
        spread_of_predicted: (N,) float32, of the predicted class; None where `probability` is.
        interval: (N, 2 K) float32, the lower ends of all numbers' intervals, then the upper ends; None where
            it is not asked for, or no numbers are predicted.
        sets: the classes of which each row's set consists, in the order of `OutputDecoder.classes`; likewise.
    """

    rows: Sequence[int]
    predicted: list[Any]
    probability: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32] | None
    true: list[Any] | None = None
    spread: npt.NDArray[np.float32] | None = None
    spread_of_predicted: npt.NDArray[np.float32] | None = None
    interval: npt.NDArray[np.float32] | None = None
    sets: list[list[str | int]] | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class OutputDecoder:
    """Decodes outputs into predictions.

    Attributes:
        kind: `binary` (one probability), `class` (one of several), `labels` (any of several), `numbers`;
            `steps` (a class for each step), `sequence` (classes read by ctc; classes[0] is the blank).
        classes: their names, or numbers where they have none. Of `labels` and `numbers` one for each output:
            the name of its target column.
        threshold: above which output a class or label is said: a probability, or 0 for scores.
        of_scores: whether outputs are scores, of which no probabilities follow.
        of_texts: whether a data set has the targets of a sequence as texts, in code points.
        of_one: whether several numbers are of one target: its quantiles, by the names `q10` and so on.
        port: the output, where outputs have names: its columns are called by it.
    """

    kind: Kind
    classes: tuple[str | int, ...]
    threshold: float = THRESHOLD
    of_scores: bool = False
    of_texts: bool = False
    of_one: bool = False
    port: Port | None = None

    @property
    def several_numbers(self) -> bool:
        """Whether several numbers are predicted of each row, each in a column of its own."""
        return self.kind == "numbers" and len(self.classes) > 1

    @property
    def several_targets(self) -> bool:
        """Whether each row has several numbers as targets."""
        return self.several_numbers and not self.of_one

    @property
    def has_probabilities(self) -> bool:
        """Whether classes or labels have probabilities."""
        return self.kind in ("binary", "class", "labels") and not self.of_scores

    @property
    def has_own_threshold(self) -> bool:
        """Whether the second of two classes is said above another probability than 0.5."""
        return self.kind == "binary" and not self.of_scores and self.threshold != THRESHOLD

    @property
    def has_spread(self) -> bool:
        """Whether there are numbers or probabilities in which several networks can differ."""
        return self.kind == "numbers" or self.has_probabilities

    def columns(
        self, *, probabilities: bool, targets: bool = False, spread: bool = False, interval: bool = False
    ) -> list[str]:
        """The names of this output's columns in a table of predictions.

        Args:
            probabilities: with one for each class, if they have probabilities.
            targets: with those of the true targets before them.
            spread: with a standard deviation over networks for each number, or for each probability that has
                a column; of labels for each.
            interval: with the two ends of each number's interval, or with the set of classes.
        """

        def named(what: str, several: bool) -> list[str]:
            return [f"{what}_{i}" for i in self.classes] if several else [what]

        target, prediction, probability = prediction_columns(self.port)
        of_target = named(target, self.several_targets) if targets else []
        numbers = named(prediction, self.several_numbers)
        predicted = [*numbers, *(interval_columns(self.kind, numbers) if interval else ())]
        if not self.has_probabilities:
            spreads = map(spread_column, numbers if spread and self.has_spread else ())
            return [*of_target, *predicted, *spreads]
        names = [*of_target, *predicted]
        if self.kind != "labels":
            names += [probability, *([spread_column(probability)] if spread else ())]
        names += self.class_columns if probabilities else []
        return [
            *names,
            *map(spread_column, self.class_columns if spread and self.spread_of_all(probabilities) else ()),
        ]

    def spread_of_all(self, probabilities: bool) -> bool:
        """Whether the spread of each class's probability is written, where these probabilities are or not.

        Labels have no other probability.
        """
        return probabilities or self.kind == "labels"

    @property
    def class_columns(self) -> list[str]:
        """The names of the columns of the classes' probabilities."""
        return [f"{self.port or 'probability'}_{name}" for name in self.classes]

    def class_numbers(self, targets: Array) -> npt.NDArray[np.int64]:
        """(N,) the class of each row, of targets as a data set has them, (N,) or (N, K)."""
        if targets.ndim == 2:
            targets = targets.argmax(axis=1) if targets.shape[1] > 1 else targets[:, 0]
        return targets.astype(np.int64)

    def true(self, targets: Array) -> list[Any]:
        """Targets as a data set has them, (N,) or (N, K), as predictions are written."""
        if self.kind == "numbers":
            numbers = targets.astype(np.float64).reshape(len(targets), -1).tolist()
            return [n[0] for n in numbers] if len(self.classes) == 1 or self.of_one else numbers
        if self.kind == "labels":
            return [[self.classes[k] for k in np.flatnonzero(row)] for row in targets > THRESHOLD]
        if self.of_texts:
            return ["".join(map(chr, codes)) for codes in lists_of(targets)]
        if self.kind in ("steps", "sequence"):
            return self._sequences(targets)
        return [self.classes[i] for i in self.class_numbers(targets).tolist()]

    def predictions(
        self,
        rows: Sequence[int],
        outputs_NK: Array,
        targets: Array | None = None,
        spread_NK: Array | None = None,
        present: Flags | None = None,
        region: Array | None = None,
    ) -> Predictions:
        """Decode the outputs of these rows.

        Args:
            rows: the number of each.
            outputs_NK: what the network gives, or several on average.
            targets: where they are known.
            spread_NK: the standard deviation of each output over several networks, where it is asked for.
            present: (N,) which rows have a target, where some lack it: that of these is then None.
            region: where it is asked for, the lower ends of the numbers' intervals and the upper ends,
                (N, 2 K); or (N, C) which classes the sets contain.
        """
        found = self._predictions(rows, outputs_NK)
        if spread_NK is not None and self.has_spread:
            found = self._with_spread(found, outputs_NK, spread_NK.astype(np.float32))
        if region is not None and self.kind == "numbers":
            found = replace(found, interval=region.astype(np.float32))
        elif region is not None:
            sets = [[self.classes[k] for k in np.flatnonzero(of_row)] for of_row in region]
            found = replace(found, sets=sets)
        if targets is None:
            return found
        true = self.true(targets)
        if present is not None:
            none = [None] * len(self.classes) if self.several_targets else None
            true = [t if there else none for t, there in zip(true, present.tolist(), strict=True)]
        return replace(found, true=true)

    def _predictions(self, rows: Sequence[int], outputs_NK: Array) -> Predictions:
        if self.kind in ("steps", "sequence"):
            found = outputs_NK.argmax(-1) if self.kind == "steps" else greedily_decoded(outputs_NK)
            return Predictions(rows, self._sequences(found), None, None)
        values = outputs_NK.astype(np.float32)
        if self.kind == "numbers":
            numbers = plain_floats(values)
            return Predictions(rows, [n[0] for n in numbers] if values.shape[1] == 1 else numbers, None, None)
        if self.kind == "labels":
            sets, which = np.unique(outputs_NK > self.threshold, axis=0, return_inverse=True)
            named = [[self.classes[k] for k in np.flatnonzero(chosen)] for chosen in sets]
            predicted = [list(named[i]) for i in which.tolist()]
            return Predictions(rows, predicted, None, None if self.of_scores else values)
        if self.kind == "binary":
            positive = outputs_NK[:, 0].astype(np.float64)
            values = np.stack([1 - positive, positive], axis=1).astype(np.float32)
            index = (positive > self.threshold).astype(np.int64)
        else:
            index = outputs_NK.argmax(axis=1)
        predicted = [self.classes[i] for i in index.tolist()]
        if self.of_scores:
            return Predictions(rows, predicted, None, None)
        return Predictions(rows, predicted, values[np.arange(len(index)), index], values)

    def _with_spread(
        self, found: Predictions, outputs_NK: Array, spread_NK: npt.NDArray[np.float32]
    ) -> Predictions:
        if self.kind == "binary":
            spread_NK = np.repeat(spread_NK, 2, axis=1)  # of p and of 1 - p it is the same
        if found.probability is None:
            return replace(found, spread=spread_NK)
        chosen = (
            (outputs_NK[:, 0] > self.threshold).astype(np.int64)
            if self.kind == "binary"
            else outputs_NK.argmax(1)
        )
        return replace(found, spread=spread_NK, spread_of_predicted=spread_NK[np.arange(len(chosen)), chosen])

    def _sequences(self, classes_NL: Array) -> list[Any]:
        """Lists of classes; texts, where a sequence's classes are single characters."""
        rows = lists_of(classes_NL) if self.kind == "sequence" else classes_NL.tolist()
        named = [[self.classes[c] for c in row] for row in rows]
        if self.kind == "sequence" and all(isinstance(c, str) and len(c) == 1 for c in self.classes[1:]):
            return ["".join(map(str, row)) for row in named]
        return named


def interval_columns(kind: Kind, predicted: Sequence[str]) -> list[str]:
    """The columns of the intervals, or of the sets, of what these columns predict."""
    if kind != "numbers":
        return [f"{name}_set" for name in predicted]
    return [f"{name}_{end}" for end in ("lower", "upper") for name in predicted]


def spread_column(name: str) -> str:
    """The column of the standard deviation, over several networks, of what another column holds."""
    return f"{name}_std"


def refuse_without_spread(run_id: str, decoders: Mapping[Port, OutputDecoder], networks: int) -> None:
    """Raise UsageError where there are no several networks, or nothing in which they could differ."""
    if networks < 2:
        raise UsageError(
            f"--spread is the standard deviation over several networks, and one of {run_id} is asked. It "
            "needs a run of several folds or seeds, without --member, or of an `ensemble`."
        )
    if not any(decoder.has_spread for decoder in decoders.values()):
        raise UsageError(
            f"--spread: {run_id} predicts neither numbers nor probabilities, of which there is a standard "
            "deviation."
        )


def output_decoders(
    spec: schema.ExperimentSpec, fitted: FittedPreprocessing, labels: Labels
) -> dict[Port, OutputDecoder]:
    """The decoder of each output of a spec's networks.

    Args:
        spec: the experiment.
        fitted: the preprocessing of one of its networks.
        labels: what the run's data set calls its classes and columns.
    """
    made = {}
    for port, view in output_views(spec).items():
        own = labels.output(port) if spec.outputs else labels
        decoder = make_output_decoder(view, fitted.of_output(port), own)
        made[port] = replace(decoder, port=port if spec.outputs else None)
    return made


def make_output_decoder(
    spec: schema.ExperimentSpec, fitted: FittedPreprocessing, labels: Labels
) -> OutputDecoder:
    """The decoder of the outputs of a spec's networks, of one output or as one of several sees the spec.

    The loss and the targets decide: probabilities are what a cross-entropy or class targets ask for, or what
    a data set of classes has.
    """
    last = graph_of(spec).first_output
    assert isinstance(last, schema.Dense), "lint lets only a dense layer end the stack"
    outputs, names, columns = fitted.output.n_outputs, labels.class_names or (), labels.target_names or ()
    of_classes = fitted.output.classes is not None
    of_labels = schema.last_activation_of(spec.own_loss) == "sigmoid"
    decides_as = schema.decision_activation(spec.own_loss, last.activation)
    if fitted.output.characters:
        return OutputDecoder("sequence", ("", *fitted.output.characters), of_texts=True)
    if isinstance(spec.own_loss, schema.Ctc):
        return OutputDecoder("sequence", ("", *_named_from_1(names, outputs)))
    if fitted.output.kind == schema.ClassSequenceTargets.kind:
        return OutputDecoder("steps", _named(names, outputs))
    if quantiles := schema.quantiles_of(spec.own_loss):
        return OutputDecoder("numbers", tuple(f"q{100 * q:g}" for q in quantiles), of_one=True)
    scores = (0.0, True) if schema.is_of_scores(spec.own_loss) else (THRESHOLD, False)
    if outputs == 1:
        if decides_as == "sigmoid" and (of_labels or labels.task == "binary"):
            if spec.threshold is not None and spec.threshold.at is not None:
                scores = spec.threshold.at, False
            return OutputDecoder("binary", _named(names, 2), *scores)
        return OutputDecoder("numbers", (0,))
    if decides_as == "softmax" or of_classes:
        return OutputDecoder("class", _named(names, outputs), *scores)
    if of_labels:
        return OutputDecoder("labels", _named(columns or names, outputs), *scores)
    return OutputDecoder("numbers", _named(columns, outputs))


def _named(names: Sequence[str], classes: int) -> tuple[str | int, ...]:
    """The name of each class; its number where the data set has fewer names."""
    return tuple(names[i] if i < len(names) else i for i in range(classes))


def _named_from_1(names: Sequence[str], classes: int) -> tuple[str | int, ...]:
    """The name of each class from 1 on; its number where there are fewer names."""
    return tuple(names[i - 1] if i <= len(names) else i for i in range(1, classes))


def plain_floats(values_NC: npt.NDArray[np.float32]) -> list[list[float]]:
    """Python's floats with the fewest digits that read back as the same float32: 0.1, not 0.10000000149."""
    return [list(map(float, row)) for row in values_NC.astype("U").tolist()]
