"""Texts in one folder for each class: `<class>/*.txt`, or train/<class>/*.txt and test/<class>/*.txt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnrun.data.dataset import Dataset, SourceFile
from nnrun.data.files.open_file import MAX_LINE, reading, shown_path
from nnrun.data.files.utf8 import BOM
from nnrun.data.sources.class_folders import FileKind, load_class_folders
from nnrun.data.sources.context import LoadContext
from nnrun.data.table import Table, TextColumn
from nnrun.data.value_names import text_name
from nnrun.errors import DataError
from nnrun.spec import schema

COLUMN = "text"
TEXTS = FileKind("text_folder", "texts", (".txt",))


def load(spec: schema.TextFolder, context: LoadContext) -> Dataset:
    """The folder's texts, by class and then by the names of their files."""
    return load_class_folders(Path(spec.path), spec.test, context, TEXTS, _read, (COLUMN,))


def _read(files: Sequence[Path], folder: SourceFile) -> Table:
    values = np.empty(len(files), object)
    values[:] = [_text(path) for path in files]
    return Table((TextColumn(COLUMN, values),), len(files))


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
