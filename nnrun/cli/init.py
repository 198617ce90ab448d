"""`nnrun init`: a first spec for a file, or a copy of one of the book's."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnrun.cli import options
from nnrun.cli.app import app
from nnrun.cli.output import message, paragraph, print_json, terminal_width
from nnrun.errors import UsageError, printable

if TYPE_CHECKING:
    from nnrun.data.files.read import ReadTable
    from nnrun.experiment.initial_spec import InitialSpec
    from nnrun.experiment.initial_target import TaskName

_MOST_COLUMNS = 60


class Task(str, Enum):
    """What to predict of the target."""

    classification = "classification"
    regression = "regression"


@dataclass(frozen=True)
class _Asked:
    """What the command line says of the target, and whether the rest may be asked."""

    target: str | None
    task: TaskName | None
    yes: bool


@app.command()
def init(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            parser=options.path,
            help="A .csv, .tsv, .jsonl or .parquet file (.gz too), or a folder with one of texts per class.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="COLUMN", help="What to predict.", show_default=False),
    ] = None,
    task: Annotated[Task | None, typer.Option("--task", help="Predict classes, or a number.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: decide.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="SPEC",
            parser=options.path,
            help="Where to write; default: FILE's stem, here.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a spec that is there.")] = False,
    example: Annotated[
        str | None, typer.Option("--example", metavar="NAME", help="Copy this spec of the project.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the specs that --example copies.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write a first spec for a file, with a comment beside each choice.

    The target is, of what the file has, the first of: a column with a usual name (target, label, y, survived,
    species, class, ...), a column called as the file is, the last column of few different values, the last
    column. A column with missing values, of one value, or of texts that all differ is never chosen. On a
    terminal it is asked, unless --target, --task or --yes decides.
    """
    if list_:
        _list_examples(as_json)
        return
    if (file is None) == (example is None):
        raise UsageError("init needs a FILE to look at, or an --example NAME (--list shows them).")
    if example is not None:
        from nnrun.spec.examples import example_text

        text = example_text(example)
        path = _place(output, example, force)
        path.write_text(text, encoding="utf-8")
        _end(path, {"example": example}, as_json)
        return
    assert file is not None, "else it is an example"
    path = _place(output, file.resolve().name.split(".")[0] or "spec", force)
    spec = _initial_spec(file, path, _Asked(target, None if task is None else task.value, yes))
    path.write_text(spec.text, encoding="utf-8")
    _end(path, dict(spec.chosen), as_json)


def _list_examples(as_json: bool) -> None:
    from nnrun.spec.examples import example_names, example_summary

    summaries = {name: example_summary(name) for name in example_names()}
    if as_json:
        print_json([{"name": name, "summary": summary} for name, summary in summaries.items()])
        return
    width = max(map(len, summaries))
    for name, summary in summaries.items():
        print(paragraph(f"{name:<{width}}  {summary}", terminal_width()))


def _place(output: Path | None, stem: str, force: bool) -> Path:
    """Where the spec goes."""
    path = Path(f"{stem}.yaml") if output is None else output
    shown = printable(str(path))
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"-o must name a .yaml file, but got {shown}.")
    if path.is_dir():
        raise UsageError(f"{shown} is a folder. Name a file in it with -o.")
    if path.exists() and not force:
        raise UsageError(f"{shown} is there already. Write over it with --force, or name another with -o.")
    if not path.parent.is_dir():
        raise UsageError(f"The folder {printable(str(path.parent))} does not exist. Make it first.")
    return path


# --- what is asked -----------------------------------------------------------------------------------------


def _initial_spec(file: Path, path: Path, asked: _Asked) -> InitialSpec:
    from nnrun.data.describe_file import read_file
    from nnrun.experiment.initial_spec import initial_spec_of_file, initial_spec_of_folder
    from nnrun.experiment.initial_target import require_target

    if file.is_dir():
        if asked.target is not None or asked.task == "regression":
            raise UsageError(
                "In a folder of texts the folders are the classes: leave out --target and --task."
            )
        return initial_spec_of_folder(file, path)
    read = read_file(file, message)
    target, why = (asked.target, "") if asked.target is not None else _target(read, file, asked)
    require_target(read, target)
    task = asked.task or _task(read, target, asked)
    return initial_spec_of_file(file, target, task, path, why_target=why, file=read, on_message=message)


def _target(read: ReadTable, file: Path, asked: _Asked) -> tuple[str, str]:
    from nnrun.experiment.initial_target import default_target, why_no_target

    target, why = default_target(read, file.name.split(".")[0])
    if asked.yes:
        return target, why
    _require_terminal(f"--target (by default {printable(target)!r}, {why})")
    for name, inferred in list(read.columns.items())[:_MOST_COLUMNS]:
        message(f"  {printable(name)}  {inferred.type}, {inferred.why}")
    if len(read.columns) > _MOST_COLUMNS:
        message(f"  ... and {len(read.columns) - _MOST_COLUMNS:,} more")
    while True:
        answer = str(typer.prompt("Which column is to be predicted?", default=target, err=True)).strip()
        if answer not in read.columns:
            message(f"There is no column {printable(answer)!r}.")
        elif reason := why_no_target(read.columns[answer], read.n_rows):
            message(f"That column cannot be the target: it {reason}.")
        else:
            return answer, why if answer == target else ""


def _task(read: ReadTable, target: str, asked: _Asked) -> TaskName:
    from nnrun.experiment.initial_target import default_task, possible_tasks

    possible = possible_tasks(read.columns[target])
    default = default_task(read.columns[target], read.n_rows)
    if asked.yes or len(possible) == 1:
        return default
    _require_terminal(f"--task (by default {default})")
    while True:
        answer = str(
            typer.prompt(
                "Predict classes (classification) or a number (regression)?", default=default, err=True
            )
        ).strip()
        found = [task for task in possible if answer and task.startswith(answer.lower())]
        if len(found) == 1:
            return found[0]
        message("Answer classification or regression (c or r).")


def _require_terminal(missing: str) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{missing} is not given, and there is no terminal to ask on. Add it, or --yes for the defaults."
        )


# --- the end -----------------------------------------------------------------------------------------------


def _end(path: Path, chosen: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json({"spec": str(path), "chosen": chosen})
        return
    shown = printable(str(path))
    word = f"'{shown}'" if " " in shown else shown
    print(f"{shown}: written\n")
    width = max(map(len, chosen))
    for what, value in chosen.items():
        print(f"  {what:<{width}}  {value}")
    print(f"\nNext   nnrun check {word}\n       nnrun train {word}")
