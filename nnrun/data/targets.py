"""Targets as a loss takes them: the step that they need, what each class counts, what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array, Dataset, Flags, OutputData, Samples, TokenRows, labels_of, output_data
from nnrun.data.preprocess.target_encoding import loss_of_digits
from nnrun.errors import DataError
from nnrun.sequences import lists_of, steps_needed
from nnrun.spec import schema
from nnrun.spec.graph import num_outputs
from nnrun.spec.lint import lint_view
from nnrun.spec.ports import Port, input_views, told_of
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.schema.layer_shapes import shape_text
from nnrun.spec.wording import counted, listing_of_some, nearest, quoted

_SUM_TOLERANCE = 1e-3
_MOST_LOST = 0.1  # of the targets' spread, by which float32 may move them


def target_steps(outputs: Mapping[Port, OutputData]) -> dict[Port, schema.Component | None]:
    """The target step of each output, as its targets and its loss need it.

    Raises:
        DataError: a loss cannot compare with its targets, training or test.
    """
    steps: dict[Port, schema.Component | None] = {}
    for port, output in outputs.items():
        steps[port] = target_step(output.spec, output.dataset)
        with told_of(output.spec, port):
            refuse_unsuitable_targets(output.spec, output.dataset, steps[port])
    return steps


def target_step(spec: schema.ExperimentSpec, dataset: Dataset) -> schema.Component | None:
    """The spec's target step, as the targets of its only output need it.

    Class indices taken `none` for the sparse loss stay integers; labels for a single unit stay as they are;
    rows that are one-hot already are not encoded again.
    """
    step, targets = spec.preprocessing.targets, dataset.train.targets
    units = num_outputs(spec)
    sparse = schema.target_step_of(spec.own_loss) == "class_index"
    if isinstance(step, schema.CharactersTargets):
        return step
    if sparse and targets.ndim == 2 and targets.shape[1] > 1 and targets.dtype.kind in "iu":
        return schema.ClassSequenceTargets()
    if isinstance(step, schema.NoTargetStep) and sparse:
        return schema.ClassIndexTargets()
    if (isinstance(step, schema.ClassIndexTargets) and units == 1) or (
        isinstance(step, schema.OneHotTargets) and targets.ndim == 2 and targets.shape[1] == units > 1
    ):
        return schema.NoTargetStep()
    return step


def refuse_unsuitable_fold(
    outputs: Mapping[Port, OutputData],
    fold: int,
    train_rows: npt.NDArray[np.integer],
    validation_rows: npt.NDArray[np.integer],
) -> None:
    """Raise DataError where an output cannot be learned or measured on these rows.

    Args:
        outputs: of the experiment; their training samples are split here.
        fold: the index of the fold, for messages.
        train_rows, validation_rows: positions among the training samples.
    """
    for port, output in outputs.items():
        with told_of(output.spec, port):
            _refuse_rows_without_target(output.dataset, fold, train_rows, validation_rows)
            _refuse_unknown_classes(output.spec, output.dataset, train_rows, validation_rows)


def refuse_unsuitable_targets(
    spec: schema.ExperimentSpec, dataset: Dataset, step: schema.Component | None
) -> None:
    """Raise DataError where the loss cannot compare with these targets, training or test.

    Args:
        spec: the experiment.
        dataset: its data.
        step: the target step in effect.
    """
    named = isinstance(spec.dataset, schema.Npz) and dataset.class_names is not None
    if named or (isinstance(spec.dataset, schema.FILES) and dataset.task is not None):
        _refuse_by_lint(spec, dataset)
    if not isinstance(step, schema.NoTargetStep):
        return
    for part, samples in (("training", dataset.train), ("test", dataset.test)):
        if samples is None:
            continue
        if schema.last_activation_of(spec.own_loss) == "sigmoid":
            _refuse_outside_of_0_and_1(spec.own_loss, samples, part)
        elif schema.target_step_of(spec.own_loss) == "one_hot" and samples.targets.ndim == 2:
            _refuse_what_is_no_share(spec.own_loss, samples, part)
        elif not isinstance(spec.own_loss, schema.ClassLoss):
            _refuse_what_float32_rounds_away(samples.known_targets, part)
        if isinstance(spec.own_loss, schema.Poisson | schema.Msle):
            _refuse_negative(spec.own_loss, samples, part)


def _refuse_rows_without_target(
    dataset: Dataset, fold: int, train_rows: npt.NDArray[np.integer], validation_rows: npt.NDArray[np.integer]
) -> None:
    """Raise DataError where no training row, or no validation row of a fold has the target of an output.

    The few rows of a smoke run may lack it.

    Args:
        dataset: as the output sees it.
        fold: its index.
        train_rows, validation_rows: positions among the training samples.
    """
    if dataset.train.present is None or dataset.smoke:
        return
    for part, rows in (("training", train_rows), ("validation", validation_rows)):
        if len(rows) and not len(dataset.train.with_target(rows)):
            raise DataError(
                f"None of the {len(rows):,} {part} rows of fold {fold} has a target, so that there is "
                f"nothing to {'learn' if part == 'training' else 'measure'}. Split the rows otherwise, as by "
                "shuffle: true, or with fewer folds."
            )


def _refuse_unknown_classes(
    spec: schema.ExperimentSpec,
    dataset: Dataset,
    train_rows: npt.NDArray[np.integer],
    validation_rows: npt.NDArray[np.integer],
) -> None:
    """Raise DataError at the first validation row of a file whose named class no training row has.

    The few rows of a smoke run may lack a rare class: nothing is learned from them anyway.

    Args:
        spec: the experiment.
        dataset: its training samples are split here.
        train_rows, validation_rows: positions among them.
    """
    names, labels = dataset.class_names, dataset.train.targets
    train_rows, validation_rows = map(dataset.train.with_target, (train_rows, validation_rows))
    if dataset.smoke or not isinstance(spec.dataset, schema.FILES) or names is None or labels.ndim != 1:
        return
    trained = np.zeros(len(names), bool)
    trained[labels[train_rows]] = True
    unknown = validation_rows[~trained[labels[validation_rows]]]
    if not len(unknown):
        return
    row = int(unknown[0])
    name = quoted(names[int(labels[row])])
    places = dataset.train.places
    place = f"training row {row}" if places is None else places.text_of_file(row)
    rows = int((labels[unknown] == labels[row]).sum())
    raise DataError(
        f"Only validation rows have the class {name} ({counted(rows, 'row')}, the first is {place}), so no "
        "network can learn it. Shuffle the rows (shuffle: true), stratify (stratify: "
        f"{next(iter(spec.outputs), 'true')}), or remove the class."
    )


def refuse_unsuitable_steps(outputs: Mapping[Port, OutputData], shapes: Mapping[Port, Sequence[int]]) -> None:
    """Raise DataError where an output has no steps for its targets, or the targets none for its steps.

    Args:
        outputs: of the experiment.
        shapes: for each output to check the shape of what it gives for a row, (K,) or (steps, K).
    """
    for port, shape in shapes.items():
        with told_of(outputs[port].spec, port):
            _refuse_unsuitable_steps(outputs[port].spec, outputs[port].dataset, shape)


def _refuse_unsuitable_steps(spec: schema.ExperimentSpec, dataset: Dataset, given: Sequence[int]) -> None:
    steps = given[0] if len(given) == 2 else None
    of_classes = schema.target_step_of(spec.own_loss) == "class_index"
    for part, samples in (("training", dataset.train), ("test", dataset.test)):
        if samples is None:
            continue
        shape = samples.targets.shape[1:]
        if isinstance(spec.own_loss, schema.Ctc) and steps is None:
            raise DataError(
                f"ctc reads classes from steps, and the last layer gives {shape_text(tuple(given))} per row. "
                "Let it take (steps, features): set return_sequences: true in the recurrent layer before it."
            )
        if isinstance(spec.own_loss, schema.Ctc):
            _refuse_what_steps_cannot_hold(samples, part, given[0])
        elif steps is not None and not of_classes:
            raise DataError(
                f"The last layer gives {shape_text(tuple(given))} per row, and predictions are one row of "
                "numbers. Add flatten or global_average_pooling before it."
            )
        elif steps is not None and (len(shape) != 1 or shape[0] != steps or steps == 1):
            found = f"{shape[0]} targets" if shape else "one target"
            raise DataError(
                f"The last layer gives {shape_text(tuple(given))} per row, one class for each of {steps} "
                f"steps, and the {part} rows have {found} each. Give the targets as (rows, {steps}) "
                "integers, or add flatten or global_average_pooling before the last layer."
            )
        elif steps is None and shape and shape[0] > 1 and of_classes:
            raise DataError(
                f"The {part} rows have {shape[0]} classes each, and the last layer gives {given[0]} numbers "
                "per row. For a class in each step let it take (steps, features), from which it gives "
                "(steps, units): set return_sequences: true in the recurrent layer before it."
            )


def _of_present(samples: Samples, wrong: Flags) -> Flags:
    """(N, ...): what is wrong in rows that have a target; the others only repeat one."""
    if samples.present is None:
        return wrong
    return wrong & samples.present.reshape(-1, *[1] * (wrong.ndim - 1))


def _refuse_what_steps_cannot_hold(samples: Samples, part: str, steps: int) -> None:
    targets = samples.targets
    if targets.ndim != 2 or targets.dtype.kind not in "iu":
        raise DataError(
            f"ctc reads a list of classes from each row, and the targets of the {part} rows have shape "
            f"{targets.shape}. Give them as lists of integers from 1, in an array of objects."
        )
    empty = _of_present(samples, (targets == 0).all(1))
    needed = steps_needed(targets)
    if samples.present is not None:
        needed = np.where(samples.present, needed, 0)
    if needed.max(initial=0) > steps:
        row = int(needed.argmax())
        found = lists_of(targets[row : row + 1])[0]
        raise DataError(
            f"Row {row} of the {part} rows has {len(found)} classes to read, for which "
            f"ctc needs {needed[row]} steps (one for each, and a blank between two that are equal), and the "
            f"network gives {steps}: its loss is infinite. Give it more steps, or leave out such rows."
        )
    if empty.any():
        row = int(np.argmax(empty))
        raise DataError(f"Row {row} of the {part} rows has no class to read. Leave out such rows.")


def _refuse_by_lint(spec: schema.ExperimentSpec, dataset: Dataset) -> None:
    """What the targets are is known only now: the rules of `nnrun check` once more, of the first input."""
    inputs = dataset.train.inputs
    shape = tuple(map(int, inputs.shape[1:])) if isinstance(inputs, np.ndarray) else ()
    facts = DatasetFacts(
        inputs="tokens" if isinstance(inputs, TokenRows) else "table",
        task=dataset.task,
        classes=dataset.classes,
        features=shape[0] if len(shape) == 1 else None,
        row_shape=shape if len(shape) > 1 else None,
        numbers=int(np.atleast_2d(dataset.train.targets.T).shape[0]),
    )
    view = next(iter(input_views(spec).values()))
    errors = [finding for finding in lint_view(view, facts) if finding.severity == "error"]
    if errors:
        said = "; ".join(finding.message for finding in errors)
        raise DataError(f"The data do not match the spec: {said}.", errors[0].location)


def _refuse_negative(loss: schema.Component, samples: Samples, part: str) -> None:
    targets = samples.targets
    negative = np.argwhere(_of_present(samples, targets < 0))
    if len(negative):
        value = targets[tuple(negative[0])].item()
        raise DataError(
            f"Row {int(negative[0][0])} of the {part} rows has the target {value}, but {loss.kind} is for "
            "numbers of 0 and more. Use mse, mae or huber."
        )


def _refuse_outside_of_0_and_1(loss: schema.Component, samples: Samples, part: str) -> None:
    targets = samples.targets
    outside = np.argwhere(_of_present(samples, (targets < 0) | (targets > 1)))
    if not len(outside):
        return
    row = int(outside[0][0])
    value = targets[tuple(outside[0])].item()
    different = len(np.unique(targets))
    advice = (
        "Write the two classes as 0 and 1."
        if different == 2
        else "For several classes use sparse_categorical_crossentropy with one softmax unit for each; for a "
        "number to predict use mse."
    )
    raise DataError(
        f"Row {row} of the {part} rows has the target {value}, but {loss.kind} expects values from "
        f"0 to 1. {advice}"
    )


def _refuse_what_float32_rounds_away(targets: Array, part: str) -> None:
    if loss_of_digits(targets) > _MOST_LOST:
        step = np.spacing(np.float32(np.abs(targets).max()))
        raise DataError(
            f"The targets of the {part} rows go from {targets.min()} to {targets.max()}, but networks "
            f"compute in float32, which rounds numbers of this size to multiples of {step:g}: most of what "
            "tells the rows apart is lost. Set `preprocessing: {targets: standardize}`."
        )


def _refuse_what_is_no_share(loss: schema.Component, samples: Samples, part: str) -> None:
    targets = samples.targets
    sums = targets.sum(axis=1)
    no_share = (targets.min(axis=1) < 0) | (np.abs(sums - 1) > _SUM_TOLERANCE)
    wrong = np.flatnonzero(_of_present(samples, no_share))
    if len(wrong):
        row = int(wrong[0])
        low, high = targets[row].min(), targets[row].max()
        raise DataError(
            f"Row {row} of the {part} rows has targets from {low:g} to {high:g} that sum to {sums[row]:g}, "
            f"but {loss.kind} expects shares: none negative, summing to 1. For several labels "
            "per row use binary_crossentropy with sigmoid units; for numbers to predict use mse."
        )


UNEVEN: Final = 10
"""How many times as many rows the largest class has than the rarest, from where on classes are uneven."""

_SHOWN = 60
"""More names than this in one message help nobody."""


def class_weights_of_rows(
    outputs: Mapping[Port, OutputData], train_rows: npt.NDArray[np.int64]
) -> dict[Port, npt.NDArray[np.float32]]:
    """For each output with class weights, (N,): `class_weight_of_rows`."""
    weights = {}
    for port, output in outputs.items():
        if output.spec.class_weight is not None:
            with told_of(output.spec, port):
                weights[port] = class_weight_of_rows(output.spec, output.dataset, train_rows)
    return weights


def class_weight_of_rows(
    spec: schema.ExperimentSpec, dataset: Dataset, train_rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """(N,): the weight that each row's class has, where the network trains on `train_rows`.

    `balanced` is scikit-learn's: n / (k * count), of the training rows only and the k classes among them. A
    class that a map does not name has weight 1, as in Keras.

    Raises:
        DataError: the rows have no single class each, or a name is not a class of the data.
    """
    labels = _one_class_each(dataset)
    if isinstance(spec.class_weight, Mapping):
        weights = _given(spec.class_weight, dataset, labels)
    else:
        weights = balanced(labels[dataset.train.with_target(train_rows)], int(labels.max()) + 1)
    return weights[labels].astype(np.float32)


def balanced(labels: Array, classes: int) -> npt.NDArray[np.float64]:
    """(classes,): n / (k * count) for each of the k classes among the labels; 1 for the others."""
    counts = np.bincount(labels, minlength=classes)
    weights = np.ones(classes)
    present = counts > 0
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights


def _given(given: Mapping[str, float], dataset: Dataset, labels: Array) -> npt.NDArray[np.float64]:
    classes = max(dataset.classes or 0, int(labels.max()) + 1)
    places = _places(dataset, classes, labels)
    weights = np.ones(classes)
    named: dict[int, str] = {}
    for name, weight in given.items():
        if name not in places:
            raise DataError(_unknown(name, dataset, list(places)))
        place = places[name]
        if place in named:
            raise DataError(
                f"class_weight names one class twice, as {quoted(named[place])} and as {quoted(name)}. Keep "
                "one of them."
            )
        named[place], weights[place] = name, weight
    return weights


def _places(dataset: Dataset, classes: int, labels: Array) -> dict[str, int]:
    """What a class may be called → its label: its name, or its label where no name could look like one."""
    names = dataset.class_names or ()
    known = range(classes) if dataset.classes else np.unique(labels)
    of_labels = {str(label): int(label) for label in known}
    of_names = {name: label for label, name in enumerate(names)}
    return of_names if any(name.isdecimal() for name in names) else of_names | of_labels


def _unknown(name: str, dataset: Dataset, known: Sequence[str]) -> str:
    match = nearest(name, known)
    hint = f" Did you mean {quoted(match)}?" if match else ""
    shown = known if dataset.class_names is None else known[: len(dataset.class_names)]
    named = listing_of_some(shown, _SHOWN)
    return f"class_weight: {dataset.name} has no class called {quoted(name)}.{hint} Its classes: {named}."


def _one_class_each(dataset: Dataset) -> Array:
    """(N,): the class of each training row."""
    targets = dataset.train.targets
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    one_hot = targets.ndim == 2 and bool(
        ((targets == 0) | (targets == 1)).all() and (targets.sum(1) == 1).all()
    )
    if one_hot:
        return np.asarray(targets.argmax(1))
    whole = targets.ndim == 1 and bool((targets == np.floor(targets)).all() and (targets >= 0).all())
    if dataset.task == "regression" or not whole:
        raise DataError(
            "class_weight needs one class for each row: a name, a whole number from 0, or a row of 0 and a "
            f"single 1. The targets of {dataset.name} are something else; remove class_weight."
        )
    return targets.astype(np.int64)


_HIDES_THEM: Final = (schema.Accuracy, schema.TopK)


def rare_class_warnings(spec: schema.ExperimentSpec, dataset: Dataset) -> list[str]:
    """A sentence for each output of uneven classes whose only measure is accuracy; none without doubt."""
    found = {
        port: _rare_class_warning(output.spec, output.dataset)
        for port, output in output_data(spec, dataset).items()
    }
    return [
        f"the output {quoted(port)}: {said}" if spec.outputs else said
        for port, said in found.items()
        if said is not None
    ]


def _rare_class_warning(spec: schema.ExperimentSpec, dataset: Dataset) -> str | None:
    """The sentence for one output; None where there is no doubt.

    The rule is that of `nnrun init` (the largest class has `UNEVEN` times as many rows as the rarest), so the
    specs that it writes cause no warning. Built-in data sets are not checked: their classes are known.
    """
    shows = (schema.ClassMetric, schema.CustomMetric)
    hides = any(isinstance(metric, _HIDES_THEM) for metric in spec.metrics)
    shown = any(isinstance(m, shows) and not isinstance(m, _HIDES_THEM) for m in spec.metrics)
    if not hides or shown or spec.class_weight is not None or not isinstance(spec.dataset, schema.WithPath):
        return None
    labels = _labels(spec, dataset)
    if labels is None:
        return None
    counts = np.bincount(labels)
    present = np.flatnonzero(counts)
    rarest, largest = present[counts[present].argmin()], present[counts[present].argmax()]
    if counts[largest] < UNEVEN * counts[rarest]:
        return None
    names = dataset.class_names
    most, fewest = (quoted(str(n) if names is None else names[int(n)]) for n in (largest, rarest))
    rows = int(counts.sum())
    return (
        f"class {fewest} has only {int(counts[rarest]):,} of {counted(rows, 'row')} "
        f"({_percent(counts[rarest], rows)}): always predicting {most} gets an accuracy of "
        f"{_percent(counts[largest], rows)}; write `metrics: [accuracy, f1, average_precision]` and "
        "`class_weight: balanced`"
    )


def _labels(spec: schema.ExperimentSpec, dataset: Dataset) -> Array | None:
    """The class of each training row, as an index; None where the targets are not classes."""
    targets = dataset.train.known_targets
    if schema.target_step_of(spec.own_loss) == "one_hot" and targets.ndim == 2 and targets.shape[1] > 1:
        return np.asarray(targets.argmax(axis=1))
    labels = labels_of(dataset)
    return None if labels is None or not len(labels) else np.asarray(labels.astype(np.int64))


def _percent(part: int, whole: int) -> str:
    """Rounded down, so that no class seems to have every row."""
    share = math.floor(1000 * int(part) / whole) / 10
    return f"{share:g} %" if share else "less than 0.1 %"
