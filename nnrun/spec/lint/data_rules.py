"""The data set: columns, test rows, and how rows are chosen, split and batched."""

from __future__ import annotations

import math
from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.lint.network_rules import dataset_name
from nnrun.spec.ports import columns_of, target_of
from nnrun.spec.reading.grammar import Location
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.wording import listing, nearest, quoted


def each_column_has_one_part(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A column is an input, or a target, or says something else of its row."""
    file = spec.dataset
    if not isinstance(file, schema.NamedColumns):
        return
    at: Location = ("dataset", file.kind)
    test = file.test.column if file.test is not None else None
    parts = _targets(spec, file)
    further = [
        ((*at, "group"), file.group, "the group"),
        ((*at, "weight"), file.weight, "the weight"),
        ((*at, "test", "column"), test, "the column that marks the test rows"),
    ]
    parts += [(location, name, part) for location, name, part in further if name is not None]
    taken: dict[str, str] = {}
    for location, name, part in parts:
        if name in taken and {part, taken[name]} != {"the group", "the column that marks the test rows"}:
            again = "twice among the targets" if part == taken[name] else f"{taken[name]} already"
            yield Finding(location, f"{quoted(name)} is {again}; name another column, or remove it")
        taken.setdefault(name, part)
    if file.inputs == []:
        yield Finding((*at, "inputs"), "an empty list leaves no inputs; remove it for all other columns")
    named: list[tuple[Location, list[str]]] = [
        (("inputs", port, "columns"), columns_of(spec, port)) for port in spec.inputs
    ]
    for place, inputs in named or [((*at, "inputs"), file.inputs or [])]:
        for i, name in enumerate(inputs):
            if name in taken:
                answer = taken[name].startswith("the target")
                why = "the network would see the answer" if answer else "it cannot be an input"
                said = f"{quoted(name)} is {taken[name]}, and {why}; remove it from the inputs"
                yield Finding((*place, i), said)
            elif name in inputs[:i]:
                yield Finding((*place, i), f"{quoted(name)} is in the list twice")


def _targets(spec: schema.ExperimentSpec, file: schema.NamedColumns) -> list[tuple[Location, str, str]]:
    """Where each target stands, its column, and whose it is. Several outputs may have the same one."""
    if not spec.outputs:
        at: Location = ("dataset", file.kind, "target")
        return [((*at, i), name, "the target") for i, name in enumerate(file.target)]
    found: list[tuple[Location, str, str]] = []
    for port in sorted(spec.outputs):  # each output's view of the spec has them in another order
        others = {name for _, name, _ in found}
        for i, name in enumerate(target_of(spec, port)):
            if name not in others:
                found.append((("outputs", port, "target", i), name, f"the target of {quoted(port)}"))
    return found


def columns_are_in_the_table(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """The columns of a published table are known before it is there; those of a file once it is read."""
    table = spec.dataset
    if not isinstance(table, schema.PublishedTable):
        return
    at: Location = ("dataset", table.kind)
    named: list[tuple[Location, str | None]] = [
        *(((*at, "target", i), name) for i, name in enumerate(table.target)),
        *(((*at, "types", name), name) for name in table.types),
        *(((*at, key), getattr(table, key)) for key in ("group", "weight")),
        ((*at, "test", "column"), None if table.test is None else table.test.column),
    ]
    for key in ("column", "group"):
        named.append((("validation", spec.validation.kind, key), getattr(spec.validation, key, None)))
    if not spec.inputs:
        named += [((*at, "inputs", i), name) for i, name in enumerate(table.inputs or ())]
    for port in spec.inputs:
        columns = enumerate(columns_of(spec, port))
        named += [(("inputs", port, "columns", i), name) for i, name in columns]
    for location, name in named:
        if name is not None and name not in table.columns:
            match = nearest(name, table.columns)
            hint = f"did you mean {quoted(match)}?" if match else f"it has {listing(table.columns, 'and')}"
            yield Finding(location, f"{table.kind} has no column {quoted(name)}; {hint}")


def test_rows_are_told_in_one_way(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A fraction, another file, or a value in a column."""
    if not isinstance(spec.dataset, schema.FILES) or spec.dataset.test is None:
        return
    test, folder = spec.dataset.test, isinstance(spec.dataset, schema.FOLDERS)
    at: Location = ("dataset", spec.dataset.kind, "test")
    ways = [key for key in ("fraction", "path", "column") if getattr(test, key) is not None]
    if folder and "column" in ways:
        yield Finding((*at, "column"), "texts in folders have no columns; use fraction or path")
    elif "path" in ways and not isinstance(spec.dataset, schema.WithPath):
        yield Finding((*at, "path"), f"{spec.dataset.kind} is one file; use fraction, or column and value")
    elif not ways:
        allowed = ["fraction", "path"] if folder else ["fraction", "path", "column and value"]
        yield Finding(at, f"test must say which rows: {listing(allowed)}")
    elif len(ways) > 1:
        said = f"{listing(ways, 'and')} each say which rows are the test set; keep one of them"
        yield Finding((*at, ways[1]), said)
    if test.column is not None and test.value is None:
        yield Finding((*at, "column"), "column needs the value that test rows have there; add `value: ...`")
    if test.value is not None and test.column is None:
        yield Finding((*at, "value"), "value needs the column it stands in; add `column: ...`")
    if ways != ["fraction"]:
        given = ways and [key for key in ("shuffle", "stratify", "seed") if key in test.model_fields_set]
        for key in given:
            if getattr(test, key) != schema.TestRows.model_fields[key].default:
                yield Finding((*at, key), f"{key} is for a fraction of the rows; remove it")
    elif test.stratify and not test.shuffle:
        yield Finding((*at, "stratify"), _STRATIFIED_AND_NOT_SHUFFLED)
    elif test.stratify and getattr(spec.dataset, "group", None) is not None:
        said = "whole groups are drawn, which cannot be stratified; remove stratify or group"
        yield Finding((*at, "stratify"), said)


_STRATIFIED_AND_NOT_SHUFFLED = (
    "stratify draws rows of each class at random, and shuffle is false; set shuffle: true"
)


def a_delimiter_is_one_character(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """As pandas and Python's csv module have it."""
    if isinstance(spec.dataset, schema.Csv) and spec.dataset.delimiter is not None:
        mark = spec.dataset.delimiter
        if len(mark) != 1 or not mark.isascii() or mark in '"\r\n\0':
            yield Finding(
                ("dataset", "csv", "delimiter"),
                f"the delimiter must be one ASCII character, not a quote or a line end; found {quoted(mark)}",
            )


def marks_of_numbers_differ(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """One mark cannot stand before the decimals and between thousands."""
    file = spec.dataset
    if not isinstance(file, schema.Csv):
        return
    at: Location = ("dataset", "csv")
    formats: list[tuple[Location, schema.Csv | schema.NumberFormat]] = [(at, file)]
    formats += [((*at, "number_formats", name), value) for name, value in file.number_formats.items()]
    for location, format_ in formats:
        if format_.thousands == format_.decimal:
            other = "." if format_.decimal == "," else ","
            said = f"{quoted(format_.decimal)} is the decimal mark too; set `decimal: {quoted(other)}`, or "
            said += "another mark here"
            yield Finding((*location, "thousands"), said)


def some_words_are_left(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`skip_top` drops the most frequent words, and `num_words` the rare ones."""
    dataset = spec.dataset
    if isinstance(dataset, (schema.Imdb, schema.Reuters)) and dataset.num_words is not None:
        skip, words = dataset.skip_top, dataset.num_words
        if skip >= words:
            said = f"skip_top {skip:,} drops every word below num_words {words:,}; use a smaller skip_top"
            yield Finding(("dataset", dataset.kind, "skip_top"), said)


def holdout_is_possible(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A holdout takes the first rows or a share of them, and leaves some to train on."""
    holdout = spec.validation
    if not isinstance(holdout, schema.Holdout):
        return
    at: Location = ("validation", "holdout")
    column, value, stratify = holdout.column, holdout.value, holdout.stratify
    given = [key for key in ("first", "fraction", "column") if getattr(holdout, key) is not None]
    unused = [key for key in ("shuffle", "stratify") if getattr(holdout, key)]
    if len(given) > 1:
        both = "both" if len(given) == 2 else "all"
        said = f"{listing(given, 'and')} {both} say which rows are held out; keep one of them"
        yield Finding((*at, given[-1]), said)
    elif column is None and value is not None:
        yield Finding((*at, "value"), "value needs a column; add column, or remove it")
    elif column is not None:
        if value is None:
            yield Finding((*at, "column"), f"column {quoted(column)} says where; add the value to hold out")
        for key in unused:
            said = f"column takes every row with the value, so {key} has no effect; remove it"
            yield Finding((*at, key), said)
    elif holdout.first is not None:
        for key in reversed(unused):
            said = f"first takes the rows as they come, so {key} has no effect; use fraction"
            yield Finding((*at, key), said)
        yield from _leaves_some(spec, facts, "first", holdout.first)
    else:
        if stratify and not holdout.shuffle:
            yield Finding((*at, "stratify"), _STRATIFIED_AND_NOT_SHUFFLED)
        yield from _leaves_some(spec, facts, "fraction", holdout.fraction)
    yield from _stratify_has_classes(spec, facts, stratify)


def _leaves_some(
    spec: schema.ExperimentSpec, facts: DatasetFacts, key: str, held_out: float | None
) -> Iterator[Finding]:
    """Some rows are trained on, after that many, or that share of them, are held out."""
    left = _rows_trained_on(spec, facts)
    if left is not None and left <= 0:
        name, rows = dataset_name(spec), facts.train_rows
        said = f"{name} has {rows:,} training rows, so {key}: {held_out} leaves none"
        yield Finding(("validation", "holdout", key), said)


def _stratify_has_classes(
    spec: schema.ExperimentSpec, facts: DatasetFacts, stratify: bool | str
) -> Iterator[Finding]:
    if stratify is True and facts.task == "regression":
        said = f"stratify needs classes, and {dataset_name(spec)} has a number to predict; remove it"
        yield Finding(("validation", spec.validation.kind, "stratify"), said)


def kfold_is_possible(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Each fold has a row, and repeats differ."""
    kfold = spec.validation
    if not isinstance(kfold, schema.KFold):
        return
    if facts.train_rows is not None and kfold.k > facts.train_rows:
        said = f"{dataset_name(spec)} has {facts.train_rows:,} training rows, too few for {kfold.k:,} folds"
        yield Finding(("validation", "kfold", "k"), said)
    yield from _stratify_has_classes(spec, facts, kfold.stratify)
    if kfold.repeats > 1 and not kfold.shuffle:
        said = "without shuffle every repeat has the same folds; add shuffle: true, or remove repeats"
        yield Finding(("validation", "kfold", "repeats"), said)


def time_series_is_possible(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Each part has a row, and no group is split."""
    series, rows = spec.validation, facts.train_rows
    if not isinstance(series, schema.TimeSeries):
        return
    if rows is not None and series.k >= rows:
        said = f"{dataset_name(spec)} has {rows:,} training rows, too few for {series.k + 1:,} parts"
        yield Finding(("validation", "time_series", "k"), said)
    if isinstance(spec.dataset, schema.NamedColumns) and spec.dataset.group is not None:
        said = "time_series cuts by time, which would split groups; remove group, or use kfold"
        yield Finding(("dataset", spec.dataset.kind, "group"), said)


def columns_have_names(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Only rows of a file with named columns can be split by one."""
    for key in ("column", "group"):
        name = getattr(spec.validation, key, None)
        if name is not None and not isinstance(spec.dataset, schema.NamedColumns):
            no_names = f"{dataset_name(spec)} has no columns with names"
            said = f"{no_names}, so {quoted(name)} cannot be one; remove it"
            yield Finding(("validation", spec.validation.kind, key), said)


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


RULES: tuple[Rule, ...] = (
    each_column_has_one_part,
    columns_are_in_the_table,
    test_rows_are_told_in_one_way,
    a_delimiter_is_one_character,
    marks_of_numbers_differ,
    some_words_are_left,
    holdout_is_possible,
    kfold_is_possible,
    time_series_is_possible,
    columns_have_names,
    batches_are_smaller_than_the_data,
)
