"""Texts in one folder for each class: `<class>/*.txt`, or train/<class>/*.txt and test/<class>/*.txt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnrun.data.dataset import Dataset, Samples, SourceFile
from nnrun.data.files.open_file import MAX_LINE, reading, shown_path
from nnrun.data.files.utf8 import BOM
from nnrun.data.sources.context import LoadContext
from nnrun.data.sources.generated_rows import some_rows
from nnrun.data.sources.test_rows import rows_of_fraction
from nnrun.data.table import Table, TextColumn
from nnrun.data.value_names import in_order, text_name
from nnrun.errors import DataError, printable
from nnrun.spec import schema
from nnrun.spec.schema import Task
from nnrun.spec.wording import counted, listing, quoted

COLUMN = "text"
_SUFFIX = ".txt"
_TRAIN, _TEST = "train", "test"


def load(spec: schema.TextFolder, context: LoadContext) -> Dataset:
    """The folder's texts, by class and then by the names of their files.

    A smoke run takes a few hundred of them, evenly spread.
    """
    root = Path(spec.path)
    parts = folder_parts(root)
    if parts.test is not None and spec.test is not None:
        raise DataError(
            f"{shown_path(root)} has a folder {_TEST}, so the spec's `test` has no effect: remove it."
        )
    train_files = files_of(parts.train)
    test_root = parts.test
    if spec.test is not None and spec.test.path is not None:
        test_root = Path(spec.test.path)
        _refuse_what_is_no_folder(test_root)
    names = tuple(train_files)
    if len(names) < 2:
        raise DataError(
            f"{shown_path(parts.train)} has one folder with texts, {quoted(names[0])}. Each class needs "
            f"its own folder, and there must be at least two classes."
        )
    train = _samples(train_files, names)
    sources = [_source(parts.train, train_files)]
    test: Samples | None = None
    if test_root is not None:
        test_files = files_of(test_root)
        unknown = [name for name in test_files if name not in names]
        if unknown:
            raise DataError(
                f"{shown_path(test_root)} has the class {quoted(unknown[0])}, which the training texts do "
                f"not have. They have {listing([quoted(name) for name in names], 'and')}."
            )
        test = _samples(test_files, names)
        sources.append(_source(test_root, test_files))
    elif spec.test is not None:
        held = rows_of_fraction(spec.test, len(train), train.targets, None, shown_path(root))
        rest = np.setdiff1d(np.arange(len(train)), held)
        train, test = train.take(rest), train.take(held)
    if context.smoke:
        train, test, sources = some_rows(train, test, sources, "some texts only")
    task: Task = "binary" if len(names) == 2 else "multiclass"
    return Dataset(
        name=root.name,
        train=train,
        test=test,
        sources=tuple(sources),
        task=task,
        classes=len(names),
        class_names=names,
        feature_names=(COLUMN,),
        smoke=context.smoke,
    )


@dataclass(frozen=True)
class FolderParts:
    """The folder that holds the training classes, and the one that holds the test classes, if any."""

    train: Path
    test: Path | None


def folder_parts(root: Path) -> FolderParts:
    """Where a folder of texts has its classes.

    Raises:
        DataError: there is no such folder.
    """
    _refuse_what_is_no_folder(root)
    if not (root / _TRAIN).is_dir():
        return FolderParts(root, None)
    return FolderParts(root / _TRAIN, root / _TEST if (root / _TEST).is_dir() else None)


def files_of(root: Path) -> dict[str, list[Path]]:
    """Class → its files, both in the order of their names. Folders without texts are no classes.

    Raises:
        DataError: there are no texts.
    """
    name = shown_path(root)
    found: dict[str, list[Path]] = {}
    with reading(name):
        for folder in sorted(root.iterdir(), key=lambda path: path.name):
            if folder.is_dir() and not folder.name.startswith("."):
                texts = [path for path in folder.iterdir() if path.name.lower().endswith(_SUFFIX)]
                if texts:
                    of_class = found.setdefault(text_name(folder.name), [])
                    of_class += sorted(texts, key=lambda path: path.name)
    if not found:
        raise DataError(
            f"{name} has no folder with files that end in {_SUFFIX}. text_folder needs a folder for each "
            f"class, with its texts: {name}/positive/1{_SUFFIX}."
        )
    return {name: found[name] for name in in_order(found)}


def _refuse_what_is_no_folder(root: Path) -> None:
    name = shown_path(root)
    with reading(name):
        exists, is_folder = root.exists(), root.is_dir()
    if not exists:
        raise DataError(
            f"{name} does not exist. text_folder needs a folder that holds a folder for each class."
        )
    if not is_folder:
        raise DataError(f"{name} is a file. text_folder needs a folder that holds a folder for each class.")


def _samples(files: dict[str, list[Path]], names: Sequence[str]) -> Samples:
    texts = [_text(path) for paths in files.values() for path in paths]
    labels = [names.index(name) for name, paths in files.items() for _ in paths]
    values = np.empty(len(texts), object)
    values[:] = texts
    return Samples(Table((TextColumn(COLUMN, values),), len(texts)), np.array(labels, np.int64))


def _text(path: Path) -> str:
    name = shown_path(path)
    with reading(name):
        size = path.stat().st_size
        if size > MAX_LINE:
            raise DataError(f"{name} has {size:,} bytes; a text may have {MAX_LINE:,}.")
        data = path.read_bytes()
    try:
        return text_name(data.removeprefix(BOM).decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{name}, line {line}: the byte 0x{data[error.start]:02x} is not UTF-8. The text is probably in "
            f"another encoding; convert it, for example: iconv -f WINDOWS-1252 -t UTF-8."
        ) from None


def _source(root: Path, files: dict[str, list[Path]]) -> SourceFile:
    """The hash is over the files' relative names and contents."""
    digest = hashlib.sha256()
    every = [path for paths in files.values() for path in paths]
    for path in sorted(every, key=lambda path: (path.parent.name, path.name)):
        place = f"{path.parent.name}/{path.name}".encode("utf-8", "surrogateescape")
        content = path.read_bytes()
        digest.update(b"%d %s %d\n" % (len(place), place, len(content)))
        digest.update(content)
    rows = sum(len(paths) for paths in files.values())
    name = f"{root.parent.name}/{root.name}" if root.name in (_TRAIN, _TEST) else root.name
    return SourceFile(printable(name), digest.hexdigest(), rows, str(root), counted(len(files), "folder"))
