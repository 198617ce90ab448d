"""The small data sets that ship with scikit-learn. They have no test set."""

from __future__ import annotations

import hashlib

import numpy as np

from nnrun.data.dataset import Dataset, Samples, SourceFile
from nnrun.data.sources.context import LoadContext
from nnrun.data.sources.generated_rows import generated
from nnrun.data.sources.sklearn_tables import read_sklearn_table, sklearn_version
from nnrun.spec import schema


def load(spec: schema.Sklearn, context: LoadContext) -> Dataset:
    """The data set as `sklearn.datasets.load_<name>` gives it."""
    facts = spec.facts
    if context.smoke:
        return generated(spec.name, facts)
    table = read_sklearn_table(spec.name)
    targets = table.targets.astype(np.float64 if facts.task == "regression" else np.int64)
    digest = hashlib.sha256(table.inputs.tobytes() + targets.tobytes()).hexdigest()
    return Dataset(
        name=spec.name,
        train=Samples(table.inputs, targets),
        test=None,
        sources=(SourceFile(spec.name, digest, len(targets), note=sklearn_version()),),
        task=facts.task,
        classes=facts.classes,
        class_names=table.class_names,
        feature_names=table.feature_names,
    )
