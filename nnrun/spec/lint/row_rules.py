"""How rows are chosen, split and batched, against what is known of the data set."""

from __future__ import annotations

import math
from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.dataset_facts import DatasetFacts
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.lint.network_rules import dataset_name
from nnrun.spec.reading.locate import Location
from nnrun.spec.wording import listing, quoted


def some_words_are_left(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`skip_top` drops the most frequent words, and `num_words` the rare ones."""
    match spec.dataset:
        case (
            schema.Imdb(num_words=int(words), skip_top=skip)
            | schema.Reuters(num_words=int(words), skip_top=skip)
        ):
            if skip >= words:
                yield Finding(
                    ("dataset", spec.dataset.kind, "skip_top"),
                    f"skip_top {skip:,} drops every word below num_words {words:,}; use a smaller skip_top",
                )


def holdout_is_possible(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A holdout takes the first rows or a share of them, and leaves some to train on."""
    holdout = spec.validation
    if not isinstance(holdout, schema.Holdout):
        return
    at: Location = ("validation", "holdout")
    rows, name = facts.train_rows, dataset_name(spec)
    given = [key for key in ("first", "fraction", "column") if getattr(holdout, key) is not None]
    if len(given) > 1:
        yield Finding(
            (*at, given[-1]),
            f"{listing(given, 'and')} {'both' if len(given) == 2 else 'all'} say which rows are held out; "
            "keep one of them",
        )
    elif holdout.column is None and holdout.value is not None:
        yield Finding((*at, "value"), "value needs a column; add column, or remove it")
    elif holdout.column is not None:
        if holdout.value is None:
            yield Finding(
                (*at, "column"), f"column {quoted(holdout.column)} says where; add the value to hold out"
            )
        for key in ("shuffle", "stratify"):
            if getattr(holdout, key):
                yield Finding(
                    (*at, key), f"column takes every row with the value, so {key} has no effect; remove it"
                )
    elif holdout.first is not None:
        if holdout.stratify:
            yield Finding(
                (*at, "stratify"),
                "first takes the rows as they come, so stratify has no effect; use fraction",
            )
        if holdout.shuffle:
            yield Finding(
                (*at, "shuffle"), "first takes the rows as they come, so shuffle has no effect; use fraction"
            )
        if rows is not None and holdout.first >= rows:
            yield Finding(
                (*at, "first"),
                f"{name} has {rows:,} training rows, so first: {holdout.first} leaves none",
            )
    else:
        if holdout.stratify and not holdout.shuffle:
            yield Finding(
                (*at, "stratify"),
                "stratify draws rows of each class at random, and shuffle is false; set shuffle: true",
            )
        if rows is not None and holdout.fraction is not None and math.ceil(rows * holdout.fraction) >= rows:
            yield Finding(
                (*at, "fraction"),
                f"{name} has {rows:,} training rows, so fraction: {holdout.fraction} leaves none",
            )
    if holdout.stratify and facts.task == "regression":
        yield Finding(
            (*at, "stratify"), f"stratify needs classes, and {name} has a number to predict; remove it"
        )


def kfold_is_possible(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Each fold has a row, and repeats differ."""
    kfold = spec.validation
    if not isinstance(kfold, schema.KFold):
        return
    at: Location = ("validation", "kfold")
    name = dataset_name(spec)
    if facts.train_rows is not None and kfold.k > facts.train_rows:
        yield Finding(
            (*at, "k"), f"{name} has {facts.train_rows:,} training rows, too few for {kfold.k:,} folds"
        )
    if kfold.stratify and facts.task == "regression":
        yield Finding(
            (*at, "stratify"), f"stratify needs classes, and {name} has a number to predict; remove it"
        )
    if kfold.repeats > 1 and not kfold.shuffle:
        yield Finding(
            (*at, "repeats"),
            "without shuffle every repeat has the same folds; add shuffle: true, or remove repeats",
        )


def time_series_is_possible(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Each part has a row, and no group is split."""
    series = spec.validation
    if not isinstance(series, schema.TimeSeries):
        return
    at: Location = ("validation", "time_series")
    if facts.train_rows is not None and series.k >= facts.train_rows:
        yield Finding(
            (*at, "k"),
            f"{dataset_name(spec)} has {facts.train_rows:,} training rows, too few for "
            f"{series.k + 1:,} parts",
        )
    if isinstance(spec.dataset, schema.RowFile) and spec.dataset.group is not None:
        yield Finding(
            ("dataset", spec.dataset.kind, "group"),
            "time_series cuts by time, which would split groups; remove group, or use kfold",
        )


def columns_have_names(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Only rows of a file with named columns can be split by one."""
    if isinstance(spec.dataset, schema.RowFile):
        return
    for key in ("column", "group"):
        name = getattr(spec.validation, key, None)
        if name is not None:
            yield Finding(
                ("validation", spec.validation.kind, key),
                f"{dataset_name(spec)} has no columns with names, so {quoted(name)} cannot be one; remove it",
            )


def batches_are_smaller_than_the_data(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A batch larger than the training rows makes each epoch a single update."""
    rows = _rows_trained_on(spec, facts)
    if rows is not None and spec.batch_size > rows > 0:
        yield Finding(
            ("batch_size",),
            f"a batch of {spec.batch_size:,} is larger than the {rows:,} training rows: each epoch is one "
            "update",
            "warning",
        )


def _rows_trained_on(spec: schema.ExperimentSpec, facts: DatasetFacts) -> int | None:
    rows = facts.train_rows
    if rows is None:
        return None
    match spec.validation:
        case schema.Holdout(first=int(first)):
            return rows - first
        case schema.Holdout(fraction=float(fraction)):
            return rows - math.ceil(rows * fraction)
        case schema.KFold(k=k):
            return rows - math.ceil(rows / k)
        case schema.TimeSeries(k=k):
            return rows - rows // (k + 1)
    return rows


def nesterov_has_momentum(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Nesterov's method looks ahead along the momentum."""
    if isinstance(spec.optimizer, schema.Sgd) and spec.optimizer.nesterov and spec.optimizer.momentum == 0:
        yield Finding(
            ("optimizer", "sgd", "nesterov"),
            "nesterov needs momentum above 0, and it is 0; add momentum: 0.9",
        )


RULES: tuple[Rule, ...] = (
    some_words_are_left,
    holdout_is_possible,
    kfold_is_possible,
    time_series_is_possible,
    columns_have_names,
    batches_are_smaller_than_the_data,
    nesterov_has_momentum,
)
