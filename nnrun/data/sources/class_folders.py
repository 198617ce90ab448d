"""Files in one folder for each class: `<class>/*`, or train/<class>/* and test/<class>/*."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from nnrun.data.dataset import Array, Dataset, RawInputs, Samples, SourceFile
from nnrun.data.files.open_file import does_not_exist, is_row_file, reading, shown_path
from nnrun.data.row_places import RowPlaces
from nnrun.data.sources.context import LoadContext
from nnrun.data.sources.generated_rows import spread_rows
from nnrun.data.sources.test_rows import rows_of_fraction
from nnrun.data.value_names import in_order, text_name
from nnrun.errors import DataError, printable
from nnrun.spec import schema
from nnrun.spec.schema import Task
from nnrun.spec.wording import counted, listing, quoted

_TRAIN, _TEST = "train", "test"
_LEFT_BY_SYSTEMS: Final = ("thumbs.db", "desktop.ini")  # what Windows puts beside images
_MOST_NAMED: Final = 3


@dataclass(frozen=True)
class FileKind:
    """What a data set takes from its folders.

    Attributes:
        source: the data set's name in a spec.
        what: what messages call the files' contents, in the plural.
        suffixes: the endings of their names, in lower case.
    """

    source: str
    what: str
    suffixes: tuple[str, ...]


@dataclass(frozen=True)
class FolderParts:
    """The folder that holds the training classes, and the one that holds the test classes, if any."""

    train: Path
    test: Path | None


def load_class_folders(
    root: Path,
    test_rows: schema.TestRows | None,
    context: LoadContext,
    kind: FileKind,
    read: Callable[[Sequence[Path], SourceFile], RawInputs],
    feature_names: tuple[str, ...] | None = None,
) -> Dataset:
    """The files' contents, by class and then by the names of the files.

    A smoke run takes a few hundred of them, evenly spread.

    Args:
        root: the folder.
        test_rows: what the spec says of the test set.
        context: how to load.
        kind: which files are taken.
        read: reads files, in their order, of the folder that it is given.
        feature_names: of what `read` gives.

    Raises:
        DataError: there are no two classes, or a file cannot be read.
    """
    parts = folder_parts(root, kind)
    test_root = _test_root(root, parts, test_rows, kind)
    train_files = files_of(parts.train, kind)
    names = tuple(train_files)
    _refuse_one_class(parts.train, names, kind)
    sources = [_source(parts.train, train_files)]
    test_files = {} if test_root is None else files_of(test_root, kind)
    for folder in (parts.train, test_root):
        if folder is not None and (text := left_out_text(folder, kind)):
            context.on_message(text)
    if test_root is not None:
        _refuse_unknown_class(test_root, test_files, names, kind)
        sources = [replace(sources[0], split="train"), replace(_source(test_root, test_files), split="test")]
    train, train_labels = _listed(train_files, names)
    test, test_labels = _listed(test_files, names)
    if test_rows is not None and test_root is None:
        held = rows_of_fraction(test_rows, len(train), train_labels, None, shown_path(root))
        test, test_labels = _taken(train, train_labels, held)
        train, train_labels = _taken(train, train_labels, np.setdiff1d(np.arange(len(train)), held))
    if context.smoke:
        chosen, chosen_test, sources = spread_rows(len(train), len(test), sources, f"some {kind.what} only")
        train, train_labels = _taken(train, train_labels, chosen)
        test, test_labels = _taken(test, test_labels, chosen_test)
    task: Task = "binary" if len(names) == 2 else "multiclass"
    return Dataset(
        name=root.name,
        train=Samples(read(train, sources[0]), train_labels, places=_places(train)),
        test=Samples(read(test, sources[-1]), test_labels, places=_places(test)) if test else None,
        sources=tuple(sources),
        task=task,
        classes=len(names),
        class_names=names,
        feature_names=feature_names,
        smoke=context.smoke,
    )


def _test_root(
    root: Path, parts: FolderParts, test_rows: schema.TestRows | None, kind: FileKind
) -> Path | None:
    """The folder of the test classes: in the folder itself, or the one that the spec names, if any."""
    if test_rows is None:
        return parts.test
    if parts.test is not None:
        raise DataError(
            f"{shown_path(root)} has a folder {_TEST}, so the spec's `test` has no effect: remove it."
        )
    return _test_folder(test_rows, kind)


def _test_folder(test_rows: schema.TestRows, kind: FileKind) -> Path | None:
    """The folder that a spec names for the test set; None where it takes some of the rows."""
    if test_rows.path is None:
        return None
    root = Path(test_rows.path)
    _refuse_what_is_no_folder(root, kind)
    return root


def _refuse_one_class(root: Path, names: Sequence[str], kind: FileKind) -> None:
    if len(names) < 2:
        raise DataError(
            f"{shown_path(root)} has one folder with {kind.what}, {quoted(names[0])}. Each class "
            "needs its own folder, and there must be at least two classes."
        )


def _taken(files: Sequence[Path], labels: Array, rows: Array) -> tuple[list[Path], Array]:
    """The files at these positions, and their labels."""
    return [files[row] for row in rows], labels[rows]


def folder_parts(root: Path, kind: FileKind) -> FolderParts:
    """Where a folder has its classes.

    Raises:
        DataError: there is no such folder.
    """
    _refuse_what_is_no_folder(root, kind)
    if not (root / _TRAIN).is_dir():
        return FolderParts(root, None)
    return FolderParts(root / _TRAIN, root / _TEST if (root / _TEST).is_dir() else None)


def files_of(root: Path, kind: FileKind) -> dict[str, list[Path]]:
    """Class → its files, both in the order of their names. Folders without such files are no classes.

    Names that begin with a dot are passed over, such as `._1.png`, which macOS writes beside `1.png`.

    Raises:
        DataError: there are no such files.
    """
    name = shown_path(root)
    found: dict[str, list[Path]] = {}
    with reading(name):
        for folder in sorted(root.iterdir(), key=lambda path: path.name):
            if folder.is_dir() and not folder.name.startswith("."):
                files = [path for path in folder.iterdir() if is_row_file(path, kind.suffixes)]
                if files:
                    of_class = found.setdefault(text_name(folder.name), [])
                    of_class += sorted(files, key=lambda path: path.name)
    if not found:
        raise DataError(
            f"{name} has no folder with files that end in {listing(kind.suffixes)}. {kind.source} needs a "
            f"folder for each class, with its {kind.what}: {name}/positive/1{kind.suffixes[0]}."
        )
    return {name: found[name] for name in in_order(found)}


def left_out_text(root: Path, kind: FileKind) -> str | None:
    """A sentence about what lies in the classes' folders and is no row; None where nothing does.

    Raises:
        DataError: a folder cannot be read.
    """
    named: list[str] = []
    with reading(shown_path(root)):
        for folder in root.iterdir():
            if folder.is_dir() and not folder.name.startswith("."):
                with os.scandir(folder) as entries:
                    named += [f"{folder.name}/{entry.name}" for entry in entries if _is_left_out(entry, kind)]
    if not named:
        return None
    named.sort()
    more = f" and {len(named) - _MOST_NAMED:,} more" if len(named) > _MOST_NAMED else ""
    shown = ", ".join(map(printable, named[:_MOST_NAMED])) + more
    return (
        f"{shown_path(root)}: left out, since {kind.source} takes the files right in a class's folder whose "
        f"names end in {listing(kind.suffixes)}: {shown}"
    )


def _is_left_out(entry: os.DirEntry[str], kind: FileKind) -> bool:
    """Whether a person may take what lies in a class's folder for a row, and it is none.

    The folder's own listing says what is a folder: to ask of each of many thousand files takes as long as
    reading some of them.
    """
    if entry.name.startswith(".") or entry.name.lower() in _LEFT_BY_SYSTEMS:
        return False
    return entry.is_dir() or not is_row_file(Path(entry.name), kind.suffixes)


def _refuse_what_is_no_folder(root: Path, kind: FileKind) -> None:
    name, needed = shown_path(root), f"{kind.source} needs a folder that holds a folder for each class."
    with reading(name):
        exists, is_folder = root.exists(), root.is_dir()
    if not exists:
        raise DataError(f"{does_not_exist(root)} {needed}")
    if not is_folder:
        raise DataError(f"{name} is a file. {needed}")


def _refuse_unknown_class(
    root: Path, files: dict[str, list[Path]], names: Sequence[str], kind: FileKind
) -> None:
    unknown = [name for name in files if name not in names]
    if unknown:
        raise DataError(
            f"{shown_path(root)} has the class {quoted(unknown[0])}, which the training {kind.what} do "
            f"not have. They have {listing([quoted(name) for name in names], 'and')}."
        )


def _listed(files: dict[str, list[Path]], names: Sequence[str]) -> tuple[list[Path], np.ndarray]:
    """All files, and (N,) the label of each."""
    labels = [names.index(name) for name, paths in files.items() for _ in paths]
    return [path for paths in files.values() for path in paths], np.array(labels, np.int64)


def _places(files: Sequence[Path]) -> RowPlaces:
    """Each file with the folder of its class before it; bytes that are no UTF-8 as escapes."""
    return RowPlaces(files=np.array([printable(f"{f.parent.name}/{f.name}") for f in files], object))


def _source(root: Path, files: dict[str, list[Path]]) -> SourceFile:
    """The hash is over the files' relative names and contents."""
    digest = hashlib.sha256()
    every = [path for paths in files.values() for path in paths]
    for path in sorted(every, key=lambda path: (path.parent.name, path.name)):
        place = f"{path.parent.name}/{path.name}".encode("utf-8", "surrogateescape")
        with reading(shown_path(path)):
            content = path.read_bytes()
        digest.update(b"%d %s %d\n" % (len(place), place, len(content)))
        digest.update(content)
    rows = sum(len(paths) for paths in files.values())
    name = f"{root.parent.name}/{root.name}" if root.name in (_TRAIN, _TEST) else root.name
    return SourceFile(printable(name), digest.hexdigest(), rows, str(root), counted(len(files), "folder"))
