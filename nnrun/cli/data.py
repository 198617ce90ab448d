"""`nnrun data`: list the data sets, download one, inspect one. `check` is in `data_check`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nnrun.cli import options
from nnrun.cli.data_check import check
from nnrun.cli.data_text import file_text, number, overview_text, row_text
from nnrun.cli.output import message, print_json, print_result, table
from nnrun.errors import UsageError, printable

if TYPE_CHECKING:
    from nnrun.data.sources import NamedSet
    from nnrun.spec import schema

data = typer.Typer(
    name="data",
    help="List, fetch, inspect and check data sets.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A name that `nnrun data ls` shows, or a file: .npz, .csv, .tsv, .jsonl, .parquet; or a folder "
        "of texts.",
    ),
]


NameOrSpec = Annotated[
    str,
    typer.Argument(
        metavar="NAME|SPEC",
        help="A name that `nnrun data ls` shows, a file (.npz, .csv, .tsv, .jsonl, .parquet), a folder of "
        "texts, or a spec (.yaml).",
    ),
]
_SPEC_ENDINGS = (".yaml", ".yml")


Split = Literal["train", "test"]
"""The two sets that a row can be shown from."""


@data.command()
def ls(data_dir: options.DataDir = None, as_json: options.Json = False) -> None:
    """List the data sets, and where each is on this machine."""
    from nnrun.data.archives.download import find, other_files
    from nnrun.data.catalog import CATALOG

    entries = list(CATALOG.values())
    found = {e.name: [find(remote, data_dir) for remote in e.archives] for e in entries}
    places = {name: paths[0] if paths and all(paths) else None for name, paths in found.items()}
    if as_json:
        print_json([_entry_document(entry, places[entry.name]) for entry in entries])
        return
    rows = [["NAME", "WHAT", "TRAIN", "TEST", "WHERE"]]
    for entry in entries:
        place = places[entry.name]
        where = f"comes with {entry.home}" if entry.home else str(place) if place else "missing"
        facts = entry.facts
        rows.append([entry.name, entry.what, number(facts.train_rows), number(facts.test_rows), where])
    print(table(rows, right=(2, 3)))
    others = {
        entry.name: other
        for entry in entries
        for remote in entry.archives
        for other in other_files(remote, data_dir)
        if places[entry.name] is None and not entry.home
    }
    for name, other in others.items():
        message(
            f"{other} is not the published {name}, though it is called so: it is read as a table of your "
            f"own, `dataset: {{csv: {{path: {other}, target: ...}}}}`"
        )
    if any(row[-1] == "missing" for row in rows):
        message("Download a missing one with: nnrun data fetch NAME")


@data.command()
def fetch(name: Name, data_dir: options.DataDir = None, as_json: options.Json = False) -> None:
    """Download a data set, or show where it is; check it, and read it once."""
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
    name: NameOrSpec,
    row: Annotated[int | None, typer.Option("--row", min=0, help="Show this row, counted from 0.")] = None,
    split: Annotated[Split, typer.Option("--split", help="The set that the row is in.")] = "train",
    num_words: Annotated[
        int | None,
        typer.Option("--num-words", min=1, help="imdb, reuters: keep only the most frequent words."),
    ] = None,
    integers: Annotated[
        bool,
        typer.Option("--integers", help="With --row, for texts: also show the integers behind the words."),
    ] = False,
    prepared: Annotated[
        bool,
        typer.Option(
            "--prepared", help="With --row, for a SPEC: also show the numbers that the network gets."
        ),
    ] = False,
    allow_custom: options.AllowCustom = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Show what a data set or a file contains, or one of its rows: tokens as words, a table row by column.

    A file is searched for in the current folder, then in --data-dir.
    """
    if (integers or prepared) and row is None:
        raise UsageError(f"{'--integers' if integers else '--prepared'} is for one row: add --row N.")
    if Path(name).suffix.lower() in _SPEC_ENDINGS:
        if num_words is not None:
            raise UsageError("--num-words is for imdb and reuters; a spec says how many words it keeps.")
        _show_of_spec(name, row, split, integers, prepared, data_dir, as_json)
        return
    if prepared:
        raise UsageError(
            "--prepared needs a spec, which says how the data are prepared: "
            f"nnrun data show SPEC --row {row} --prepared."
        )

    from nnrun.data.catalog import entry_for, path_of, token_words_of
    from nnrun.data.sources import load_dataset
    from nnrun.data.summaries.describe_data import describe_row, overview
    from nnrun.data.summaries.describe_file import kind_of_file

    name = path_of(name, data_dir)
    if kind_of_file(name) is not None:
        _refuse_integers(integers, {})
        _show_file(name, row, split, num_words, as_json)
        return
    entry = entry_for(name)
    dataset = load_dataset(_limited(entry, num_words), data_dir=data_dir, on_message=message)
    if row is None:
        document = overview(dataset)
        text: Callable[[dict[str, Any]], str] = overview_text
    else:
        document = describe_row(dataset, split, row, token_words_of(entry.dataset, data_dir, message))
        _refuse_integers(integers, document)
        text = partial(row_text, integers=integers)
    print_result(as_json, lambda: document, lambda: text(document))


def _refuse_integers(integers: bool, document: Mapping[str, Any]) -> None:
    if integers and "tokens" not in document:
        raise UsageError("--integers is for texts that are stored as integers, such as imdb and reuters.")


def _show_of_spec(
    name: str,
    row: int | None,
    split: Split,
    integers: bool,
    prepared: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Show the data of a spec, or one row, also as the network gets it."""
    from nnrun.cli.running import listener_for
    from nnrun.experiment.describing.rows_of_spec import describe_row_of_spec
    from nnrun.spec.reading.load import load_spec

    document = describe_row_of_spec(
        load_spec(name).spec,
        split,
        row,
        prepared=prepared,
        data_dir=data_dir,
        listener=listener_for(quiet=False, verbose=False),
    )
    _refuse_integers(integers, document)
    text = overview_text if row is None else partial(row_text, integers=integers)
    print_result(as_json, lambda: document, lambda: text(document))


def _show_file(name: str, row: int | None, split: Split, num_words: int | None, as_json: bool) -> None:
    from nnrun.data.summaries.describe_file import file_overview, file_row, read_file

    if num_words is not None or split != "train":
        option = "--split" if num_words is None else "--num-words"
        raise UsageError(f"{option} is for data sets; a file of rows is shown as it is.")
    path = Path(name).expanduser()
    file = read_file(path, message)
    document = file_overview(path, file) if row is None else file_row(path, file, row)
    print_result(as_json, lambda: document, lambda: (file_text if row is None else row_text)(document))


def _limited(entry: NamedSet, num_words: int | None) -> schema.Component:
    """The entry's data set, with a limit to its words if one was asked for."""
    from nnrun.spec import schema

    if num_words is None:
        return entry.dataset
    if not isinstance(entry.dataset, (schema.Imdb, schema.Reuters)):
        raise UsageError(f"--num-words is for imdb and reuters; it does not apply to {entry.name}.")
    return entry.dataset.model_copy(update={"num_words": num_words})


def _entry_document(entry: NamedSet, place: Path | None) -> dict[str, Any]:
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


data.command()(check)
