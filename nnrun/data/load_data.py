"""The data of a spec, loaded: targets that a loss compares as classes, or as texts, are numbered."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from nnrun.data.dataset import Dataset, OutputData, Samples, TargetFacts, output_data, split_columns_of
from nnrun.data.sources import load_dataset
from nnrun.errors import DataError
from nnrun.sequences import padded
from nnrun.spec import schema
from nnrun.spec.graph import num_outputs
from nnrun.spec.ports import Port, array_of, columns_of, output_views, target_of, token_inputs, told_of


def load_data(
    spec: schema.ExperimentSpec,
    *,
    data_dir: Path | None = None,
    smoke: bool = False,
    on_message: Callable[[str], None] = lambda text: None,
    on_doubt: Callable[[str], None] | None = None,
) -> Dataset:
    """Load the data of a spec.

    Args:
        spec: the experiment.
        data_dir: where data files are looked for first.
        smoke: a few hundred rows only.
        on_message: is told what takes long or went differently.
        on_doubt: is told what is doubtful about columns; None: as `on_message`.

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
        on_doubt=on_doubt,
    )
    return _with_numbered_targets(spec, dataset, texts)


def _with_numbered_targets(spec: schema.ExperimentSpec, dataset: Dataset, texts: Collection[Port]) -> Dataset:
    """Classes and texts of each output as whole numbers, as its loss takes them."""
    each = {}
    for port, output in output_data(spec, dataset).items():
        with told_of(spec, port):
            own = _with_classes(output) if port not in texts else _with_code_points(output.dataset)
            each[port] = own
            if spec.outputs and own.test and not len(own.test.known_targets) and not dataset.smoke:
                raise DataError(
                    f"none of the {len(own.test):,} test rows has its target, so it cannot be measured on "
                    "them. Choose the test rows otherwise, or leave out the output."
                )
    first, *_ = each.values()
    if not spec.outputs:
        return first
    targets = {port: own.train.targets for port, own in each.items()}
    train = replace(dataset.train, targets=first.train.targets, of_outputs=targets)
    test = dataset.test
    if test is not None and first.test is not None:
        targets = {port: own.test.targets for port, own in each.items() if own.test is not None}
        test = replace(test, targets=first.test.targets, of_outputs=targets)
    facts = {port: TargetFacts.of(own) for port, own in each.items()}
    return replace(first, train=train, test=test, targets_of=facts)


def text_targets_of(spec: schema.ExperimentSpec) -> frozenset[Port]:
    """The outputs whose targets are texts, and not names of classes."""
    return frozenset(
        port
        for port, view in output_views(spec).items()
        if isinstance(view.preprocessing.targets, schema.CharactersTargets)
    )


def _with_code_points(dataset: Dataset) -> Dataset:
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


def _with_classes(output: OutputData) -> Dataset:
    """Whole numbers of a file that are not labels, as classes, where the loss is one for classes.

    Labels are positions among the units of the last layer (0 and 1 for a single one). Numbers that are not,
    such as 1, 2, 3 for three units or -1 and 1 for one, become the classes 0 to K - 1 in ascending order, and
    their names are the numbers. Anything else is given back unchanged.
    """
    spec, dataset = output.spec, output.dataset
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
    if values[0] >= 0 and values[-1] < max(2, num_outputs(spec)):
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
