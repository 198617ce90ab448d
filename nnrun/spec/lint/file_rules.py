"""The columns of a file and its test rows: what a spec says of them must fit together."""

from __future__ import annotations

from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.dataset_facts import DatasetFacts
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.reading.locate import Location
from nnrun.spec.wording import listing, quoted


def each_column_has_one_part(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A column is an input, or a target, or says something else of its row."""
    file = spec.dataset
    if not isinstance(file, schema.RowFile):
        return
    at: Location = ("dataset", file.kind)
    test = file.test.column if file.test is not None else None
    parts: list[tuple[Location, str, str]] = [
        ((*at, "target", i), name, "the target") for i, name in enumerate(file.target)
    ]
    further = (("group", file.group), ("weight", file.weight))
    parts += [((*at, key), name, f"the {key}") for key, name in further if name is not None]
    if test is not None:
        parts.append(((*at, "test", "column"), test, "the column that marks the test rows"))
    taken: dict[str, str] = {}
    for location, name, part in parts:
        if name in taken and {part, taken[name]} != {"the group", "the column that marks the test rows"}:
            again = "twice among the targets" if part == taken[name] else f"{taken[name]} already"
            yield Finding(location, f"{quoted(name)} is {again}; name another column, or remove it")
        taken.setdefault(name, part)
    if file.inputs == []:
        yield Finding((*at, "inputs"), "an empty list leaves no inputs; remove it for all other columns")
    for i, name in enumerate(file.inputs or ()):
        if name in taken:
            why = (
                "the network would see the answer" if taken[name] == "the target" else "it cannot be an input"
            )
            yield Finding(
                (*at, "inputs", i), f"{quoted(name)} is {taken[name]}, and {why}; remove it from the inputs"
            )
        elif name in (file.inputs or ())[:i]:
            yield Finding((*at, "inputs", i), f"{quoted(name)} is in the list twice")


def test_rows_are_told_in_one_way(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A fraction, another file, or a value in a column."""
    if not isinstance(spec.dataset, schema.FILES) or spec.dataset.test is None:
        return
    test, folder = spec.dataset.test, isinstance(spec.dataset, schema.TextFolder)
    at: Location = ("dataset", spec.dataset.kind, "test")
    ways = [key for key in ("fraction", "path", "column") if getattr(test, key) is not None]
    if folder and "column" in ways:
        yield Finding((*at, "column"), "texts in folders have no columns; use fraction or path")
    elif not ways:
        allowed = ["fraction", "path"] if folder else ["fraction", "path", "column and value"]
        yield Finding(at, f"test must say which rows: {listing(allowed)}")
    elif len(ways) > 1:
        yield Finding(
            (*at, ways[1]), f"{listing(ways, 'and')} each say which rows are the test set; keep one of them"
        )
    if test.column is not None and test.value is None:
        yield Finding((*at, "column"), "column needs the value that test rows have there; add `value: ...`")
    if test.value is not None and test.column is None:
        yield Finding((*at, "value"), "value needs the column it stands in; add `column: ...`")
    if ways != ["fraction"]:
        for key in ("shuffle", "stratify", "seed"):
            if ways and key in test.model_fields_set and getattr(test, key) != _DEFAULTS[key]:
                yield Finding((*at, key), f"{key} is for a fraction of the rows; remove it")
    elif test.stratify and not test.shuffle:
        yield Finding(
            (*at, "stratify"),
            "stratify draws rows of each class at random, and shuffle is false; set shuffle: true",
        )
    elif test.stratify and getattr(spec.dataset, "group", None) is not None:
        yield Finding(
            (*at, "stratify"), "whole groups are drawn, which cannot be stratified; remove stratify or group"
        )


_DEFAULTS = {key: field.default for key, field in schema.TestRows.model_fields.items()}


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


RULES: tuple[Rule, ...] = (
    each_column_has_one_part,
    test_rows_are_told_in_one_way,
    a_delimiter_is_one_character,
    marks_of_numbers_differ,
)
