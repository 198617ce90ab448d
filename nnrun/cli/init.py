"""`nnrun init`: a first spec for a file, or a copy of one of the book's."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nnrun.cli import options
from nnrun.cli.output import message, paragraph, print_json, terminal_width
from nnrun.errors import UsageError, printable

if TYPE_CHECKING:
    from nnrun.data.files.read_table import ReadTable
    from nnrun.experiment.init.table_spec import InitialSpec
    from nnrun.experiment.init.target import TaskName

_MOST_COLUMNS = 60


Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class _Asked:
    """What the command line says about the data, and whether the rest may be asked."""

    targets: tuple[str, ...]
    task: TaskName | None
    yes: bool
    test: Path | None = None


@dataclass(frozen=True)
class _Target:
    """What is predicted, and what else could be."""

    names: tuple[str, ...]
    why: str = ""
    runners_up: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


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
        help="The column to predict. Repeat it for several: each gets an output, labels that are 0 or 1 one "
        "together.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    options.output_file("SPEC", "Where to write; default: FILE's stem, in the current folder."),
]
Example = Annotated[str | None, typer.Option("--example", metavar="NAME", help="Copy this example spec.")]


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
    On a terminal nnrun asks, unless --target, --task or --yes decides. Several targets get an output each,
    with its own loss and metrics, and share all layers before; --task holds for all of them.
    """
    if list_:
        _list_examples(as_json)
        return
    if (file is None) == (example is None):
        raise UsageError("init needs a FILE, or --example NAME (--list shows them).")
    if example is not None:
        from nnrun.spec.examples import example_text

        text = example_text(example)
        path = _place(output, example, force)
        path.write_text(text, encoding="utf-8")
        _end(path, {"example": example}, as_json)
        return
    assert file is not None, "else it is an example"
    path = _place(output, file.resolve().name.split(".")[0] or "spec", force)
    asked = _Asked(tuple(target or ()), task, yes, test)
    spec = _initial_spec(file, path, asked)
    path.write_text(spec.text, encoding="utf-8")
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


def _place(output: Path | None, stem: str, force: bool) -> Path:
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


def _initial_spec(file: Path, path: Path, asked: _Asked) -> InitialSpec:
    from nnrun.data.files.open_file import refuse_workbook
    from nnrun.data.summaries.describe_file import read_file
    from nnrun.experiment.init.folder_spec import initial_spec_of_folder
    from nnrun.experiment.init.table_spec import Request, initial_spec_of_file
    from nnrun.experiment.init.target import require_target

    if file.is_dir():
        if asked.targets or asked.task == "regression" or asked.test is not None:
            raise UsageError(
                "In a folder of texts or images the subfolders are the classes, and a folder test/ is the "
                "test set: leave out --target, --task and --test."
            )
        return initial_spec_of_folder(file, path)
    if file.suffix.lower() == ".npz":
        return _spec_of_npz(file, path, asked)
    refuse_workbook(file)
    read = read_file(file, message)
    if asked.test is not None:
        _require_same_columns(read, read_file(asked.test, message))
    chosen = _Target(asked.targets) if asked.targets else _target(read, file, asked)
    for name in chosen.names:
        require_target(read, name)
    tasks = {name: asked.task or _task(read, name, len(chosen.names) > 1, asked) for name in chosen.names}
    request = Request(
        file,
        chosen.names,
        tasks[chosen.names[0]],
        path,
        chosen.why,
        chosen.runners_up,
        asked.test,
        chosen.labels,
        tasks,
    )
    return initial_spec_of_file(request, read, message)


def _spec_of_npz(file: Path, path: Path, asked: _Asked) -> InitialSpec:
    from nnrun.experiment.init.array_spec import initial_spec_of_npz

    if asked.targets or asked.test is not None:
        raise UsageError(
            "In an npz file y_train is the target, and x_test and y_test are the test set: leave out "
            "--target and "
            "--test."
        )
    return initial_spec_of_npz(file, path, asked.task)


def _require_same_columns(file: ReadTable, test: ReadTable) -> None:
    lacking = [name for name in file.columns if name not in test.columns]
    if lacking:
        from nnrun.spec.wording import listing, quoted

        shown = listing([quoted(name) for name in lacking[:8]], "and")
        raise UsageError(
            f"{test.name}, the file of test rows, must have the same columns as {file.name}, but lacks "
            f"{shown}{' and more' if len(lacking) > 8 else ''}."
        )


def _target(read: ReadTable, file: Path, asked: _Asked) -> _Target:
    from nnrun.experiment.init.likely_target import require_candidates
    from nnrun.experiment.init.target import labels_of, why_no_target

    found = require_candidates(read, file.name.split(".")[0])
    labels = labels_of(read)
    best = found[0]
    default = _Target((best.name,), best.why, tuple(other.name for other in found[1:]), labels)
    if asked.yes:
        return default
    why = f", {best.why}" if best.why else ""
    _require_terminal(f"--target (by default {printable(best.name)!r}{why})")
    for name, inferred in list(read.columns.items())[:_MOST_COLUMNS]:
        message(f"  {printable(name)}  {inferred.type}, {inferred.why}")
    if len(read.columns) > _MOST_COLUMNS:
        message(f"  ... and {len(read.columns) - _MOST_COLUMNS:,} more")
    message("For several, write commas between them.")
    while True:
        answer = str(typer.prompt("Which column should be predicted?", default=best.name, err=True)).strip()
        # A column may have commas in its name.
        names = [answer] if answer in read.columns else [name.strip() for name in answer.split(",")]
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
            return default if answer == best.name else _Target(tuple(reasons), labels=labels)


def _task(read: ReadTable, target: str, is_of_several: bool, asked: _Asked) -> TaskName:
    """As what a target is predicted, asked where both are possible."""
    from nnrun.experiment.init.target import default_task, possible_tasks

    possible = possible_tasks(read.columns[target])
    default = default_task(read.columns[target], read.n_rows, target)
    if asked.yes or len(possible) == 1:
        return default
    if is_of_several and not _at_terminal():
        return default  # --task would be one for all of them
    _require_terminal(f"--task (by default {default})")
    what = f"{printable(target)}: predict" if is_of_several else "Predict"
    question = f"{what} classes (classification) or a number (regression)?"
    while True:
        answer = str(typer.prompt(question, default=default, err=True)).strip()
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
    print(f"\nNext   nnrun check {word}\n       nnrun train {word}")
    if again is not None:
        print(f"       {again}   to predict another column")
