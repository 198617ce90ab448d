"""The data of a spec, or a row of them, also as the network gets it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data import Dataset, SparseRows
from nnrun.data.catalog import token_words_of
from nnrun.data.dataset import RawInputs
from nnrun.data.load_data import load_data
from nnrun.data.preprocess import FittedInputs
from nnrun.data.rows import rows_by_place
from nnrun.data.summaries.describe_data import Split, describe_row, overview
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.setup.groups import EVERYTHING, prepare_groups
from nnrun.spec import schema


def describe_row_of_spec(
    spec: schema.ExperimentSpec,
    split: Split,
    row: int | None,
    *,
    prepared: bool,
    data_dir: Path | None,
    listener: Listener,
) -> dict[str, Any]:
    """A row of a spec's data set, or what the data set holds; plain values, ready for JSON.

    Args:
        spec: the experiment.
        split: the set that the row is in.
        row: counted from 0; None for the whole set.
        prepared: also tell the numbers that the network gets, under `prepared`. What preprocessing learns, it
            learns as in training: from the training rows of the first network.
        data_dir: where data files are looked for first.
        listener: receives progress messages.

    Raises:
        UsageError: there is no such row.
        DataError: the data are missing, or do not suit the spec.
    """
    dataset = load_data(spec, data_dir=data_dir, on_message=listener.message)
    if row is None:
        return overview(dataset)
    words = token_words_of(spec.dataset, data_dir, listener.message)
    document = describe_row(dataset, split, row, words)
    return document | ({"prepared": _prepared(spec, dataset, split, row)} if prepared else {})


def _prepared(spec: schema.ExperimentSpec, dataset: Dataset, split: Split, row: int) -> dict[str, Any]:
    """What the first network gets of a row: of each input, and the target of each output."""
    member = prepare_groups(spec, dataset)[0].members[0]
    samples = dataset.train if split == "train" or dataset.test is None else dataset.test
    fitted, member_type = member.fitted, EVERYTHING.member_type(spec)
    with rows_by_place(samples.places):
        one = samples.take(np.array([row]))
        inputs = {
            port: _prepared_input(each, dataset.input(port), one.input(port).inputs)
            for port, each in fitted.inputs.items()
        }
    targets = {}
    for port, each in fitted.outputs.items():
        own = one.output(port)
        lacks = own.present is not None and not own.present[0]
        targets[port] = None if lacks else each.transform(own.targets)[0].tolist()
    return {
        "fitted_on": len(member.fold.train_rows),
        "fitted_in": None if member_type is None else f"{member_type} {member.id}",
        **({"inputs": inputs} if spec.inputs else next(iter(inputs.values()))),
        **({"outputs": targets} if spec.outputs else {"target": next(iter(targets.values()))}),
    }


def _prepared_input(fitted: FittedInputs, dataset: Dataset, inputs: RawInputs) -> dict[str, Any]:
    """The numbers that an input's preprocessing makes of one row."""
    rows = fitted.transform(inputs)
    found: dict[str, Any] = {"features": rows.n_features, "names": _names(fitted, dataset)}
    if not isinstance(rows, SparseRows):
        return found | {"sparse": False, "values": rows.to_dense()[0].tolist()}
    indices: Sequence[int] = rows.indices.tolist()
    values = [1.0] * len(indices) if rows.values is None else rows.values.tolist()
    return found | {"sparse": True, "indices": indices, "values": values}


def _names(fitted: FittedInputs, dataset: Dataset) -> list[str] | None:
    names = fitted.feature_names or (None if fitted.custom or fitted.tokens else dataset.feature_names)
    return list(names) if names is not None and len(names) == fitted.width else None
