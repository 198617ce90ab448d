"""`nnrun init`: a first spec for a file, or a copy of one of the book's."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nnrun.atomic_files import write_text
from nnrun.cli import completing, options
from nnrun.cli.output import message, paragraph, print_json, terminal_width
from nnrun.errors import UsageError, printable

if TYPE_CHECKING:
    from nnrun.data.files.read_table import ReadTable
    from nnrun.experiment.init.initial_spec import ChosenTarget
    from nnrun.experiment.init.target import TaskName

_MOST_COLUMNS = 60


Task = Literal["classification", "regression"]


File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        parser=options.path,
        help="A .csv, .tsv, .jsonl, .parquet (.gz too) or .npz file, or a folder with a "
        "subfolder of texts or images for each class.",
        show_default=False,
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="COLUMN",
        help="The column to predict. Repeat it for several, or write commas between them: each gets an "
        "output, labels that are 0 or 1 one together.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    options.output_file("SPEC", "Where to write; default: FILE's stem, in the current folder."),
]
Example = Annotated[
    str | None,
    typer.Option(
        "--example", metavar="NAME", help="Copy this example spec.", autocompletion=completing.examples
    ),
]


def init(
    file: File = None,
    target: Targets = None,
    task: Annotated[Task | None, typer.Option("--task", help="Predict classes, or a number.")] = None,
    test: Annotated[Path | None, options.test_file("A file with the same columns: the test set.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask no questions; use the defaults.")] = False,
    output: Output = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing spec.")] = False,
    example: Example = None,
    list_: Annotated[bool, typer.Option("--list", help="List the specs that --example copies.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write a first spec for a file, with a comment on each choice.

    The target is the first of these that the file has: a column with a usual name (target, label, y,
    survived, class, ...), a column named like the file, one whose name has a word that is common in
    targets (price, salary, score, ...) or in the file's name, the last column, the first column. Never
    chosen: ids, row numbers, dates, marks of test rows, and columns of one value or of texts that all differ.
    On a terminal nnrun asks, unless --target, --task or --yes decides; where there is none, --target or --yes
    is needed. Several targets get an output each, with its own loss and metrics, and share all layers before;
    --task holds for all of them.
    """
    if list_:
        _list_examples(as_json)
        return
    if (file is None) == (example is None):
        raise UsageError("init needs a FILE, or --example NAME (--list shows them).")
    if example is not None:
        from nnrun.spec.examples import example_text

        text = example_text(example)
        path = place(output, example, force)
        write_text(path, text)
        _end(path, {"example": example}, as_json)
        return
    assert file is not None, "else it is an example"
    path = place(output, file.resolve().name.split(".")[0] or "spec", force)

    from nnrun.experiment.init.initial_spec import Defaults, Wanted, initial_spec

    wanted = Wanted(tuple(target or ()), task, test)
    spec = initial_spec(file, path, wanted, Defaults() if yes else _Terminal(wanted.targets), message)
    write_text(path, spec.text)
    again = None
    if "other candidates" in spec.chosen:
        words = [
            _word(file),
            "--target COLUMN",
            *([] if output is None else ["-o", _word(output)]),
            "--force",
        ]
        again = f"nnrun init {' '.join(words)}"
    _end(path, dict(spec.chosen), as_json, again)


def _list_examples(as_json: bool) -> None:
    from nnrun.spec.examples import example_names, example_summary

    summaries = {name: example_summary(name) for name in example_names()}
    if as_json:
        print_json([{"name": name, "summary": summary} for name, summary in summaries.items()])
        return
    width = max(map(len, summaries))
    for name, summary in summaries.items():
        print(paragraph(f"{name:<{width}}  {summary}", terminal_width()))


def place(output: Path | None, stem: str, force: bool) -> Path:
    """Where the spec goes."""
    path = Path(f"{stem}.yaml") if output is None else output
    shown = printable(str(path))
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"-o must name a .yaml file, but got {shown}.")
    if path.is_dir():
        raise UsageError(f"{shown} is a folder. Name a file in it with -o.")
    if path.exists() and not force:
        raise UsageError(
            f"{shown} already exists. Overwrite it with --force, or choose another name with -o."
        )
    if not path.parent.is_dir():
        raise UsageError(f"The folder {printable(str(path.parent))} does not exist. Make it first.")
    return path


# --- what is asked -----------------------------------------------------------------------------------------


class _Terminal:
    """Asks on the terminal; where there is none, a target that is `given` needs no more answers."""

    def __init__(self, given: Sequence[str]) -> None:
        self._given = given

    def target(self, read: ReadTable, default: ChosenTarget) -> ChosenTarget:
        """Which column is to be predicted, or several."""
        from nnrun.experiment.init.initial_spec import ChosenTarget
        from nnrun.experiment.init.target import named_columns, why_no_target

        (best,) = default.names
        why = f", {default.why}" if default.why else ""
        _require_terminal(f"--target (by default {printable(best)!r}{why})")
        for name, inferred in list(read.columns.items())[:_MOST_COLUMNS]:
            message(f"  {printable(name)}  {inferred.type}, {inferred.why}")
        if len(read.columns) > _MOST_COLUMNS:
            message(f"  ... and {len(read.columns) - _MOST_COLUMNS:,} more")
        message("For several, write commas between them.")
        while True:
            answer = str(typer.prompt("Which column should be predicted?", default=best, err=True)).strip()
            names = named_columns(read, answer)
            wrong = next((name for name in names if name not in read.columns), None)
            if wrong is not None:
                message(f"There is no column {printable(wrong)!r}.")
                continue
            reasons = {name: why_no_target(read.columns[name], read.n_rows) for name in names}
            unable = next((name for name, reason in reasons.items() if reason), None)
            if unable is not None:
                which = "That column" if len(reasons) == 1 else f"The column {printable(unable)!r}"
                message(f"{which} cannot be the target: it {reasons[unable]}.")
            else:
                return default if answer == best else ChosenTarget(tuple(reasons), labels=default.labels)

    def task(self, read: ReadTable, target: str, default: TaskName, is_of_several: bool) -> TaskName:
        """As what a target is predicted."""
        from nnrun.experiment.init.target import possible_tasks

        if self._given and not _at_terminal():
            if not is_of_several:  # of several --task would be one for all of them
                other = next(each for each in possible_tasks(read.columns[target]) if each != default)
                message(f"{printable(target)!r} is predicted as {default} (--task {other} for the other).")
            return default
        _require_terminal(f"--task (by default {default})")
        what = f"{printable(target)}: predict" if is_of_several else "Predict"
        question = f"{what} classes (classification) or a number (regression)?"
        while True:
            answer = str(typer.prompt(question, default=default, err=True)).strip()
            possible = possible_tasks(read.columns[target])
            found = [task for task in possible if answer and task.startswith(answer.lower())]
            if len(found) == 1:
                return found[0]
            message("Answer classification or regression (c or r).")


def _at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _require_terminal(missing: str) -> None:
    if not _at_terminal():
        raise UsageError(
            f"{missing} is not given, and there is no terminal to ask on. Add it, or --yes for the defaults."
        )


# --- the end -----------------------------------------------------------------------------------------------


def _word(path: Path) -> str:
    """A path as one word of a command."""
    return shlex.quote(printable(str(path)))


def _end(path: Path, chosen: dict[str, str], as_json: bool, again: str | None = None) -> None:
    """Say what was written, what was chosen, and what to do next.

    Args:
        path: of the spec.
        chosen: what → in words.
        as_json: print one document.
        again: the command that chooses another target, where another could be meant.
    """
    if as_json:
        print_json({"spec": str(path), "chosen": chosen})
        return
    word = _word(path)
    print(f"{printable(str(path))}: written\n")
    width = max(map(len, chosen))
    for what, value in chosen.items():
        print(f"  {what:<{width}}  {value}")
    print(f"\nNext   nnrun check {word}")
    if "data?" in chosen:
        print(f"       nnrun data check {word}   to see which rows and columns, and what else")
    print(f"       nnrun train {word}")
    if again is not None:
        print(f"       {again}   to predict another column")
