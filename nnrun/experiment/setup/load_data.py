"""The data of a spec: loaded, with targets as its loss takes them, split into its own folds or others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnrun.data import Dataset, Samples, load_dataset
from nnrun.data.dataset import Array, Flags, TargetFacts, TokenRows, strata
from nnrun.data.inference.dates import iso_texts
from nnrun.data.preprocess import loss_of_digits
from nnrun.data.sources.generated_rows import TRAIN_ROWS
from nnrun.data.sources.table_file import default_inputs
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table
from nnrun.errors import DataError, printable
from nnrun.sequences import lists_of, padded, steps_needed
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.spec.lint import lint_view
from nnrun.spec.ports import (
    Port,
    array_of,
    columns_of,
    input_views,
    output_views,
    target_of,
    token_inputs,
    told_of,
)
from nnrun.spec.reading.load import LoadedSpec, load_with_folds
from nnrun.spec.reading.overrides import Overrides
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.schema.layer_shapes import shape_text
from nnrun.spec.wording import counted, quoted
from nnrun.validation.splits import Fold, make_folds


def load_data(
    spec: schema.ExperimentSpec,
    *,
    data_dir: Path | None = None,
    smoke: bool = False,
    on_message: Callable[[str], None] = lambda text: None,
) -> Dataset:
    """Load the data of a spec.

    Args:
        spec: the experiment.
        data_dir: where data files are looked for first.
        smoke: a few hundred rows only.
        on_message: is told what takes long or went differently.

    Raises:
        DataError: the data are missing, damaged, or not what the spec says.
    """
    texts = text_targets_of(spec)
    dataset = load_dataset(
        spec.dataset,
        data_dir=data_dir,
        smoke=smoke,
        split_columns=split_columns_of(spec.validation),
        inputs={name: tuple(columns_of(spec, name)) or (array_of(spec, name),) for name in spec.inputs},
        outputs={name: tuple(target_of(spec, name)) for name in spec.outputs},
        on_message=on_message,
        text_targets=texts,
        token_inputs=token_inputs(spec),
    )
    if spec.outputs:
        return _with_classes_of_each(spec, dataset, texts)
    return with_code_points(dataset) if texts else with_classes(spec, dataset)


def _with_classes_of_each(spec: schema.ExperimentSpec, dataset: Dataset, texts: Collection[Port]) -> Dataset:
    """`with_classes` of each output; `with_code_points` of those whose targets are texts."""
    each = {}
    for port, view in output_views(spec).items():
        own = dataset.output(port)
        with told_of(spec, port):
            each[port] = with_code_points(own) if port in texts else with_classes(view, own)
            if own.test is not None and not len(own.test.known_targets) and not dataset.smoke:
                raise DataError(
                    f"none of the {len(own.test):,} test rows has its target, so it cannot be measured on "
                    "them. Choose the test rows otherwise, or leave out the output."
                )
    targets = {port: own.train.targets for port, own in each.items()}
    first, *_ = each
    train = replace(dataset.train, targets=targets[first], of_outputs=targets)
    test = dataset.test
    if test is not None:
        targets = {port: own.test.targets for port, own in each.items() if own.test is not None}
        test = replace(test, targets=targets[first], of_outputs=targets)
    facts = {port: TargetFacts.of(own) for port, own in each.items()}
    return replace(each[first], train=train, test=test, targets_of=facts)


def text_targets_of(spec: schema.ExperimentSpec) -> frozenset[Port]:
    """The outputs whose targets are texts, and not names of classes."""
    return frozenset(
        port
        for port, view in output_views(spec).items()
        if isinstance(view.preprocessing.targets, schema.CharactersTargets)
    )


def with_code_points(dataset: Dataset) -> Dataset:
    """Texts that were taken for names of classes as lists of code points, filled up with 0.

    Raises:
        DataError: the targets are no texts.
    """
    names = dataset.class_names
    if names is None or dataset.train.targets.ndim != 1:
        raise DataError(
            f"targets: characters takes a text from each row, and the targets of {dataset.name} are numbers. "
            "Leave it out, or name a column of texts."
        )
    codes = padded([list(map(ord, name)) for name in names])

    def in_codes(samples: Samples) -> Samples:
        return replace(samples, targets=codes[samples.targets])

    test = None if dataset.test is None else in_codes(dataset.test)
    return replace(
        dataset, train=in_codes(dataset.train), test=test, task=None, classes=None, class_names=None
    )


def split_columns_of(validation: schema.Component) -> tuple[str, ...]:
    """The columns that tell which rows validate. They are no inputs by default."""
    match validation:
        case schema.Holdout(column=str(column)) | schema.TimeSeries(column=str(column)):
            return (column,)
        case schema.KFold(group=str(group)):
            return (group,)
    return ()


_SUM_TOLERANCE = 1e-3
_MOST_LOST = 0.1  # of the targets' spread, by which float32 may move them


def effective_preprocessing(spec: schema.ExperimentSpec, dataset: Dataset) -> schema.Preprocessing:
    """The spec's preprocessing, its target step as these targets and this loss need it.

    Class indices taken `none` for the sparse loss stay integers; labels for a single unit stay as they are;
    rows that are one-hot already are not encoded again.
    """
    step, targets = spec.preprocessing.targets, dataset.train.targets
    units = outputs_of(spec)
    sparse = schema.target_step_of(spec.own_loss) == "class_index"
    wanted: schema.Component | None = step
    if isinstance(step, schema.CharactersTargets):
        return spec.preprocessing
    if sparse and targets.ndim == 2 and targets.shape[1] > 1 and targets.dtype.kind in "iu":
        wanted = schema.ClassSequenceTargets()
    elif isinstance(step, schema.NoTargetStep) and sparse:
        wanted = schema.ClassIndexTargets()
    elif (isinstance(step, schema.ClassIndexTargets) and units == 1) or (
        isinstance(step, schema.OneHotTargets) and targets.ndim == 2 and targets.shape[1] == units > 1
    ):
        wanted = schema.NoTargetStep()
    if wanted is step:
        return spec.preprocessing
    return spec.preprocessing.model_copy(update={"targets": wanted})


def with_classes(spec: schema.ExperimentSpec, dataset: Dataset) -> Dataset:
    """Whole numbers of a file that are not labels, as classes, where the loss is one for classes.

    Labels are positions among the units of the last layer (0 and 1 for a single one). Numbers that are not,
    such as 1, 2, 3 for three units or -1 and 1 for one, become the classes 0 to K - 1 in ascending order, and
    their names are the numbers. Anything else is given back unchanged.
    """
    numbers = dataset.train.targets
    if (
        not isinstance(spec.dataset, schema.FILES)
        or not isinstance(spec.own_loss, schema.ClassLoss)
        or dataset.class_names is not None
        or numbers.ndim != 1
        or numbers.dtype.kind != "i"
    ):
        return dataset
    values = np.unique(numbers if dataset.test is None else np.append(numbers, dataset.test.targets))
    if values[0] >= 0 and values[-1] < max(2, outputs_of(spec)):
        return dataset

    def labelled(samples: Samples) -> Samples:
        return replace(samples, targets=np.searchsorted(values, samples.targets).astype(np.int64))

    return replace(
        dataset,
        train=labelled(dataset.train),
        test=None if dataset.test is None else labelled(dataset.test),
        task="binary" if len(values) == 2 else "multiclass",
        classes=len(values),
        class_names=tuple(str(value) for value in values.tolist()),
    )


def refuse_unknown_classes(
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
    lines = dataset.train.lines
    place = f"training row {row}" if lines is None else f"line {int(lines[row])} of the file"
    rows = int((labels[unknown] == labels[row]).sum())
    raise DataError(
        f"Only validation rows have the class {name} ({counted(rows, 'row')}, the first is {place}), so no "
        "network can learn it. Shuffle the rows (shuffle: true), stratify (stratify: "
        f"{next(iter(spec.outputs), 'true')}), or remove the class."
    )


def refuse_rows_without_target(dataset: Dataset, fold: Fold) -> None:
    """Raise DataError where no training row, or no validation row of a fold has the target of an output.

    The few rows of a smoke run may lack it.

    Args:
        dataset: as the output sees it.
        fold: the rows.
    """
    if dataset.train.present is None or dataset.smoke:
        return
    for part, rows in (("training", fold.train_rows), ("validation", fold.validation_rows)):
        if len(rows) and not len(dataset.train.with_target(rows)):
            raise DataError(
                f"None of the {len(rows):,} {part} rows of fold {fold.index} has a target, so that there is "
                f"nothing to {'learn' if part == 'training' else 'measure'}. Split the rows otherwise, as by "
                "shuffle: true, or with fewer folds."
            )


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


def refuse_unsuitable_steps(spec: schema.ExperimentSpec, dataset: Dataset, given: Sequence[int]) -> None:
    """Raise DataError where an output has no steps for the targets, or the targets none for its steps.

    Args:
        spec: the experiment.
        dataset: its data.
        given: the shape of what the output gives for a row, (K,) or (steps, K).
    """
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
    empty = _of_present(samples, (targets == 0).all(1))
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
    errors = [finding.message for finding in lint_view(view, facts) if finding.severity == "error"]
    if errors:
        raise DataError(f"The data do not match the spec: {'; '.join(errors)}.")


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


def outputs_of(spec: schema.ExperimentSpec) -> int:
    """K, the units of the layer that gives the first output, or the only one."""
    last = graph_of(spec).first_output
    assert isinstance(last, schema.Dense), "lint lets only a dense layer end the stack"
    return last.units


EPOCHS = 2


def smoke_spec(spec: schema.ExperimentSpec) -> schema.ExperimentSpec:
    """The spec with two epochs and a validation that a few hundred rows can bear."""
    validation = spec.validation
    if isinstance(validation, schema.Holdout) and validation.first is not None:
        first = min(validation.first, TRAIN_ROWS // 4)
        validation = validation.model_copy(update={"first": first})
    if isinstance(validation, (schema.KFold, schema.TimeSeries)):
        validation = validation.model_copy(update={"k": min(validation.k, TRAIN_ROWS // 4)})
    return spec.model_copy(update={"epochs": min(spec.epochs, EPOCHS), "validation": validation})


def folds_of(spec: schema.ExperimentSpec, dataset: Dataset, seed: int) -> tuple[Fold, ...]:
    """How a spec with this seed splits the training rows.

    Raises:
        DataError: the data do not allow it.
    """
    groups, column = dataset.train.groups, None
    for name in split_columns_of(spec.validation):
        found = _column(dataset, name)
        if isinstance(spec.validation, schema.KFold):
            groups = _groups_of(found)
        else:
            column = _times(found) if isinstance(spec.validation, schema.TimeSeries) else _values(found)
    own, least = dataset, 2
    match spec.validation:
        case schema.Holdout(stratify=str(output)):
            own = dataset.output(output)
        case schema.KFold(stratify=str(output), k=k):
            own, least = dataset.output(output), k
    labels = labels_of(own)
    return make_folds(
        spec.validation,
        len(dataset.train),
        None if labels is None else strata(labels, own.train.present, least),
        seed,
        groups=groups,
        column=column,
        class_names=own.class_names,
    )


def labels_of(dataset: Dataset) -> Array | None:
    """The class of each training row, to stratify by; None where the targets are not classes."""
    targets = dataset.train.targets
    return None if dataset.task == "regression" or targets.ndim != 1 else targets


def _column(dataset: Dataset, name: str) -> Column:
    """A column that the validation names: one that was put aside, or an input."""
    tables = [dataset.train.split_columns, dataset.train.inputs]
    for table in tables:
        if isinstance(table, Table) and name in table.by_name:
            return table.by_name[name]
    raise DataError(f"validation: {dataset.name} has no column {printable(name)!r} to split by.")


def _values(column: Column) -> Array:
    """(N,) numbers with NaN, or texts or whole numbers of any length with None, where a value is missing."""
    if isinstance(column, NumberColumn):
        return column.identities()
    if isinstance(column, CategoryColumn):
        return np.array([*column.levels, None], object)[column.codes]
    return column.values


def _times(column: Column) -> Array:
    """The same, dates in ISO form, however the file writes them."""
    if isinstance(column, CategoryColumn) and column.dates:
        column = replace(column, levels=tuple(iso_texts(column.levels)))
    return _values(column)


def _groups_of(column: Column) -> Array:
    """(N,) a number for each different value."""
    missing = column.missing
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise DataError(
            f"validation.kfold.group: column {printable(column.name)!r} has no value in training row {row} "
            "(from 0), and each row needs a group. Leave out such rows, or name another column."
        )
    return np.unique(_values(column), return_inverse=True)[1].astype(np.int64)


def with_validation(spec: schema.ExperimentSpec, validation: schema.Validation) -> schema.ExperimentSpec:
    """The spec validated otherwise, on the same inputs: what was set apart to split by does not become one.

    Raises:
        DataError: the file's columns must be looked up for that, and it is not there or not readable.
    """
    changed = spec.model_copy(update={"validation": validation})
    dataset = spec.dataset
    if not isinstance(dataset, schema.NamedColumns) or dataset.inputs is not None:
        return changed
    split_columns = split_columns_of(spec.validation)
    if set(split_columns) <= set(split_columns_of(validation)):
        return changed
    if isinstance(dataset, schema.PublishedTable):
        inputs = dataset.default_inputs(split_columns)
    else:
        inputs = default_inputs(dataset, split_columns)
    return changed.model_copy(update={"dataset": dataset.model_copy(update={"inputs": inputs})})


def load_for_kfold(
    path: Path | str,
    overrides: Overrides = (),
    *,
    k: int | None = None,
    repeats: int | None = None,
    prefix: str = "",
) -> LoadedSpec:
    """A spec to be trained by k-fold (`load_with_folds`), on the inputs that it has by its own validation."""
    own, folded = load_with_folds(path, overrides, k=k, repeats=repeats, prefix=prefix)
    return replace(folded, spec=with_validation(own.spec, folded.spec.validation))
