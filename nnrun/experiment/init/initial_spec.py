"""The first spec of any file: of a table, of arrays, or of a folder of texts or images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nnrun.data.files.open_file import refuse_workbook
from nnrun.data.files.read_table import ReadTable
from nnrun.data.summaries.describe_file import read_file
from nnrun.errors import UsageError
from nnrun.experiment.init.array_spec import initial_spec_of_npz
from nnrun.experiment.init.folder_spec import initial_spec_of_folder
from nnrun.experiment.init.likely_target import require_candidates
from nnrun.experiment.init.table_spec import InitialSpec, Request, initial_spec_of_file
from nnrun.experiment.init.target import (
    TaskName,
    default_task,
    labels_of,
    named_columns,
    possible_tasks,
    require_target,
)
from nnrun.spec.wording import listing, quoted


@dataclass(frozen=True)
class Wanted:
    """What somebody says about the data.

    Attributes:
        targets: the columns to predict; empty for the likeliest.
        task: predict classes or a number; None for what the target looks like.
        test: a file of test rows.
    """

    targets: tuple[str, ...] = ()
    task: TaskName | None = None
    test: Path | None = None


@dataclass(frozen=True)
class ChosenTarget:
    """What is predicted, and what else could be."""

    names: tuple[str, ...]
    why: str = ""
    runners_up: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


class Answers(Protocol):
    """Who is asked what nobody has said."""

    def target(self, read: ReadTable, default: ChosenTarget) -> ChosenTarget:
        """What is to be predicted."""

    def task(self, read: ReadTable, target: str, default: TaskName, is_of_several: bool) -> TaskName:
        """As what a target is predicted, where both are possible."""


class Defaults:
    """Asks nobody."""

    def target(self, read: ReadTable, default: ChosenTarget) -> ChosenTarget:
        """The likeliest."""
        return default

    def task(self, read: ReadTable, target: str, default: TaskName, is_of_several: bool) -> TaskName:
        """What the target looks like."""
        return default


def initial_spec(
    file: Path, path: Path, wanted: Wanted, answers: Answers, on_message: Callable[[str], None]
) -> InitialSpec:
    """The first spec of a file or folder.

    Args:
        file: the data.
        path: where the spec will lie.
        wanted: what is known already.
        answers: who is asked the rest.
        on_message: takes sentences about the file, each once.

    Raises:
        UsageError, DataError: there is no such file or column, or it cannot be learned from.
    """
    on_message = _once(on_message)  # the file is read again once it is known what is missing where
    if file.is_dir():
        if wanted.targets or wanted.task == "regression" or wanted.test is not None:
            raise UsageError(
                "In a folder of texts or images the subfolders are the classes, and a folder test/ is the "
                "test set: leave out --target, --task and --test."
            )
        return initial_spec_of_folder(file, path)
    if file.suffix.lower() == ".npz":
        return _of_npz(file, path, wanted, on_message)
    refuse_workbook(file)
    read = read_file(file, on_message)
    if wanted.test is not None:
        _require_same_columns(read, read_file(wanted.test, on_message))
    named = dict.fromkeys(name for text in wanted.targets for name in named_columns(read, text))
    chosen = ChosenTarget(tuple(named)) if named else _target(read, file, answers)
    for name in chosen.names:
        require_target(read, name)
    several = len(chosen.names) > 1
    tasks = {name: wanted.task or _task(read, name, several, answers) for name in chosen.names}
    request = Request(
        file,
        chosen.names,
        tasks[chosen.names[0]],
        path,
        chosen.why,
        chosen.runners_up,
        wanted.test,
        chosen.labels,
        tasks,
    )
    return initial_spec_of_file(request, read, on_message)


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """What hands on each sentence once."""
    told: set[str] = set()

    def hear(text: str) -> None:
        if text not in told:
            told.add(text)
            tell(text)

    return hear


def _of_npz(file: Path, path: Path, wanted: Wanted, on_message: Callable[[str], None]) -> InitialSpec:
    if wanted.targets or wanted.test is not None:
        raise UsageError(
            "In an npz file y_train is the target, and x_test and y_test are the test set: leave out "
            "--target and "
            "--test."
        )
    return initial_spec_of_npz(file, path, wanted.task, on_message)


def _require_same_columns(file: ReadTable, test: ReadTable) -> None:
    lacking = [name for name in file.columns if name not in test.columns]
    if lacking:
        shown = listing([quoted(name) for name in lacking[:8]], "and")
        raise UsageError(
            f"{test.name}, the file of test rows, must have the same columns as {file.name}, but lacks "
            f"{shown}{' and more' if len(lacking) > 8 else ''}."
        )


def _target(read: ReadTable, file: Path, answers: Answers) -> ChosenTarget:
    found = require_candidates(read, file.name.split(".")[0])
    labels = labels_of(read)
    best = found[0]
    default = ChosenTarget((best.name,), best.why, tuple(other.name for other in found[1:]), labels)
    return answers.target(read, default)


def _task(read: ReadTable, target: str, is_of_several: bool, answers: Answers) -> TaskName:
    default = default_task(read.columns[target], read.n_rows, target)
    possible = possible_tasks(read.columns[target])
    return default if len(possible) == 1 else answers.task(read, target, default, is_of_several)
