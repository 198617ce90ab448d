"""The small data sets that ship with scikit-learn. They have no test set."""

from __future__ import annotations

import hashlib
from importlib.metadata import version

import numpy as np

from nnrun.data.dataset import Dataset, Samples, SourceFile
from nnrun.data.sources.context import LoadContext
from nnrun.data.sources.generated_rows import generated
from nnrun.spec import schema


def load(spec: schema.Sklearn, context: LoadContext) -> Dataset:
    """The data set as `sklearn.datasets.load_<name>` gives it."""
    facts = spec.facts
    if context.smoke:
        return generated(spec.name, facts)
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{spec.name}")()
    inputs = np.ascontiguousarray(bunch.data, np.float64)
    targets = np.asarray(bunch.target)
    targets = targets.astype(np.float64 if facts.task == "regression" else np.int64)
    digest = hashlib.sha256(inputs.tobytes() + targets.tobytes()).hexdigest()
    names = getattr(bunch, "target_names", None)
    return Dataset(
        name=spec.name,
        train=Samples(inputs, targets),
        test=None,
        sources=(
            SourceFile(spec.name, digest, len(targets), note=f"scikit-learn {version('scikit-learn')}"),
        ),
        task=facts.task,
        classes=facts.classes,
        class_names=tuple(str(n) for n in names) if facts.classes and names is not None else None,
        feature_names=tuple(str(n) for n in bunch.feature_names),
    )
