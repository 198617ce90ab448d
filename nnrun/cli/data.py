"""`nnrun data`: which data sets there are, bring one here, look into one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.app import app
from nnrun.cli.output import message, print_json, text_width
from nnrun.errors import UsageError, printable

if TYPE_CHECKING:
    from nnrun.data.catalog import Entry
    from nnrun.spec import schema

_MOST_COLUMNS_SHOWN = 64

data = typer.Typer(help="List, fetch and look into data sets.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data, name="data")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A name that `nnrun data ls` shows, or a path ending in .npz.")
]


class Split(str, Enum):
    """The two sets that a row can be shown of."""

    train = "train"
    test = "test"


@data.command()
def ls(data_dir: options.DataDir = None, as_json: options.Json = False) -> None:
    """List the data sets, and where each is on this machine."""
    from nnrun.data.cache import find
    from nnrun.data.catalog import CATALOG

    entries = list(CATALOG.values())
    places = {e.name: find(e.archive, data_dir) if e.archive else None for e in entries}
    if as_json:
        print_json([_entry_document(entry, places[entry.name]) for entry in entries])
        return
    rows = [["NAME", "WHAT", "TRAIN", "TEST", "WHERE"]]
    for entry in entries:
        place = places[entry.name]
        where = f"comes with {entry.home}" if entry.home else str(place) if place else "missing"
        facts = entry.facts
        rows.append([entry.name, entry.what, _number(facts.train_rows), _number(facts.test_rows), where])
    print(_table(rows, right=(2, 3)))
    if any(row[-1] == "missing" for row in rows):
        message("Bring a missing one here with: nnrun data fetch NAME")


@data.command()
def fetch(name: Name, data_dir: options.DataDir = None, as_json: options.Json = False) -> None:
    """Download a data set, or say where it is; check it, and read it once."""
    from nnrun.data.catalog import entry_for, fetch_entry

    entry = entry_for(name)
    files = fetch_entry(entry, data_dir, message)
    if as_json:
        print_json(
            {
                "name": entry.name,
                "home": entry.home,
                "files": [{**vars(file), "path": str(file.path)} for file in files],
            }
        )
        return
    for file in files:
        state = "downloaded" if file.downloaded else "found"
        kind = "the published file" if file.published else "not the published file"
        print(f"{file.name}: {state} at {printable(str(file.path))} ({kind})")
    if not files:
        print(f"{printable(entry.name)} needs no download.")


@data.command()
def show(
    name: Name,
    row: Annotated[int | None, typer.Option("--row", min=0, help="Show this row, counted from 0.")] = None,
    split: Annotated[Split, typer.Option("--split", help="The set that the row is in.")] = Split.train,
    num_words: Annotated[
        int | None,
        typer.Option("--num-words", min=1, help="imdb, reuters: keep the most frequent words only."),
    ] = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Show what a data set holds, or one row of it: a token row as words, a table row by column."""
    from nnrun.data.catalog import entry_for, token_words_of
    from nnrun.data.describe import describe_row, overview
    from nnrun.data.sources import load_dataset

    entry = entry_for(name)
    dataset = load_dataset(_limited(entry, num_words), data_dir=data_dir, on_message=message)
    if row is None:
        document = overview(dataset)
        text = _overview_text
    else:
        document = describe_row(dataset, split.value, row, token_words_of(entry.dataset, data_dir, message))
        text = _row_text
    if as_json:
        print_json(document)
    else:
        print(printable(text(document)))


def _limited(entry: Entry, num_words: int | None) -> schema.Component:
    """The entry's data set, with a limit to its words if one was asked for."""
    from nnrun.spec import schema

    if num_words is None:
        return entry.dataset
    if not isinstance(entry.dataset, (schema.Imdb, schema.Reuters)):
        raise UsageError(f"--num-words is for imdb and reuters; {entry.name} takes no such limit.")
    return entry.dataset.model_copy(update={"num_words": num_words})


def _entry_document(entry: Entry, place: Path | None) -> dict[str, Any]:
    facts = entry.facts
    return {
        "name": entry.name,
        "what": entry.what,
        "inputs": facts.inputs,
        "task": facts.task,
        "train_rows": facts.train_rows,
        "test_rows": facts.test_rows,
        "home": entry.home,
        "path": str(place) if place else None,
        "present": entry.home is not None or place is not None,
    }


# --- text --------------------------------------------------------------------------------------------------


def _overview_text(document: dict[str, Any]) -> str:
    rows = document["rows"]
    test = f"{rows['test']:,} test rows" if rows["test"] else "no test set"
    parts = [f"{document['name']}: {rows['train']:,} training rows, {test}"]
    for source in document["sources"]:
        note = f" ({source['note']})" if source["note"] else ""
        parts[0] += f"\n{source['path'] or source['name']}{note}\nSHA-256 {source['sha256']}"
    if "tokens" in document:
        lengths, tokens = document["tokens_per_row"], document["tokens"]
        parts.append(
            f"{tokens['total']:,} training tokens, {tokens['different']:,} different, "
            f"the highest {tokens['highest']:,}\n"
            f"tokens per row: median {lengths['median']:g}, mean {lengths['mean']:.1f}, "
            f"from {lengths['min']:.0f} to {lengths['max']:.0f}"
        )
    if "classes" in document:
        table = [["LABEL", "CLASS", "TRAIN", "TEST"]]
        for c in document["classes"]:
            table.append([str(c["label"]), c["name"] or "", f"{c['train']:,}", f"{c['test']:,}"])
        if not rows["test"]:
            table = [line[:3] for line in table]
        if all(not line[1] for line in table[1:]):
            table = [[line[0], *line[2:]] for line in table]
            parts.append(_table(table, right=(0, 1, 2)))
        else:
            parts.append(_table(table, right=(0, 2, 3)))
    if "features" in document:
        parts.append(_statistics_table("COLUMN", document["features"]))
    if "target" in document:
        parts.append(_statistics_table("TARGET", document["target"]))
    return "\n\n".join(parts)


def _statistics_table(heading: str, columns: list[dict[str, Any]]) -> str:
    table = [[heading, "MEAN", "STD", "MIN", "MAX"]]
    for column in columns[:_MOST_COLUMNS_SHOWN]:
        table.append([column["name"], *(f"{column[key]:.5g}" for key in ("mean", "std", "min", "max"))])
    text = _table(table, right=(1, 2, 3, 4))
    hidden = len(columns) - _MOST_COLUMNS_SHOWN
    return f"{text}\n... and {hidden:,} more; --json shows all" if hidden > 0 else text


def _row_text(document: dict[str, Any]) -> str:
    target = document["target"]
    shown = f"{target} ({document['class']})" if "class" in document else f"{target}"
    head = f"{document['name']}, {document['split']} row {document['row']}: target {shown}"
    if "tokens" in document:
        words = document.get("words") or [str(token) for token in document["tokens"]]
        body = textwrap.fill(" ".join(words), text_width(), break_long_words=False, break_on_hyphens=False)
    else:
        body = _table([[name, f"{value:g}"] for name, value in document["values"].items()], right=(1,))
    return f"{head}\n\n{body}"


def _number(count: int | None) -> str:
    return f"{count:,}" if count else "-"


def _table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows in aligned columns; those of `right` are aligned to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            f"{cell:>{w}}" if i in right else f"{cell:<{w}}"
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
