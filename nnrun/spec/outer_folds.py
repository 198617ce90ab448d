"""How the outer folds of nested cross-validation split the rows: as `validation` does, with k of `nested`."""

from __future__ import annotations

from nnrun.spec import schema


def outer_validation(spec: schema.ExperimentSpec) -> schema.KFold | schema.TimeSeries:
    """The outer split of a spec with `nested`: it keeps the order of time and the groups of its validation.

    A holdout of the first rows, or a k-fold, without `shuffle` has contiguous outer folds.
    """
    nested, inner = spec.nested, spec.validation
    assert nested is not None, "only a spec with nested has outer folds"
    if inner.takes_last_rows:
        return schema.TimeSeries(k=nested.k, column=getattr(inner, "column", None))
    shuffled = inner.drawn_by_seed if nested.shuffle is None else nested.shuffle
    stratified = getattr(inner, "stratify", False) if nested.stratify is None else nested.stratify
    group = inner.group if isinstance(inner, schema.KFold) else None
    return schema.KFold(k=nested.k, shuffle=shuffled, stratify=stratified, group=group)
