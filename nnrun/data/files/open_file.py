"""Bytes of a file or of a stream, plain or packed with gzip; a sentence for whatever is wrong with them."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from nnrun.data.files.utf8 import BOM, count_newlines, ends_with_carriage_return, refuse_wide, with_newlines
from nnrun.errors import DataError, printable
from nnrun.spec.wording import nearest_file, quoted

GZIP = ".gz"
MAX_LINE = 64 * 2**20  # bytes of one line: what is longer is no file of rows
_GZIP_SIGNATURE = b"\x1f\x8b"
_BLOCK = 1 << 20
# Tables pack to between a third and a twentieth. What packs a hundred times better is made to fill a machine.
_LARGEST_RATIO = 200
_UNSUSPICIOUS = 64 * 2**20


def shown_path(path: Path) -> str:
    """A path for a message."""
    return printable(str(path))


@contextmanager
def reading(name: str) -> Iterator[None]:
    """What the system does not let be read becomes a DataError: `rows.csv cannot be read: ...`."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}.") from None


def refuse_what_is_no_file(path: Path, kind: str) -> None:
    """Raise DataError where there is no file to read at this path.

    Args:
        path: of the file.
        kind: the data set's, as a spec names it.
    """
    name = shown_path(path)
    with reading(name):
        try:
            status = path.stat()
        except FileNotFoundError:
            raise DataError(does_not_exist(path)) from None
    refuse_workbook(path)
    if stat.S_ISDIR(status.st_mode):
        raise DataError(
            f"{name} is a folder, and {kind} reads a file. For a folder of texts use text_folder."
        )
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{name} is not a regular file. Write the rows to a file first.")
    if not status.st_size:
        raise DataError(f"{name} is empty (0 bytes).")


_WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")


def refuse_workbook(path: Path) -> None:
    """Raise DataError for a workbook of a spreadsheet program, which is read once it is CSV."""
    if path.suffix.lower() in _WORKBOOKS and path.is_file():
        csv = shown_path(path.with_suffix(".csv"))
        raise DataError(
            f"{shown_path(path)} is a workbook, and nnrun reads CSV, JSON lines and Parquet. Save the sheet "
            f'as CSV (in Excel: Save As, CSV UTF-8), or convert it: python -c "import pandas; '
            f"pandas.read_excel('{shown_path(path)}').to_csv('{csv}', index=False)\" (pip install openpyxl)."
        )


def is_row_file(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a file of a folder is a row, by its name: it has one of these endings, and is not hidden.

    Hidden are `._1.png` and the like, which macOS writes beside `1.png`.
    """
    return path.name.lower().endswith(suffixes) and not path.name.startswith(".")


def does_not_exist(path: Path) -> str:
    """A sentence on a file or folder that is not there, with the name in its folder that may be meant."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        names = []
    match = nearest_file(path.name, (name for name in names if not name.endswith((".yaml", ".yml"))))
    like = f" The folder has {quoted(match)}: did you mean that?" if match else ""
    return f"{shown_path(path)} does not exist.{like}"


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes.

    Raises:
        DataError: it cannot be read.
    """
    digest = hashlib.sha256()
    with reading(shown_path(path)), path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class Opened:
    """A file's bytes, unpacked, without a byte order mark.

    Attributes:
        name: for messages.
        newlines: give a newline for each line end, also where the first line ends with a carriage return
            alone, as old Macs write it.
        at_end: whether nothing follows what was read last; of a stream that is not known.
    """

    def __init__(self, name: str, file: BinaryIO, *, packed_size: int | None = None) -> None:
        """Args:
        name: for messages.
        file: of which nothing was read; a stream gives what is there and is not waited for.
        packed_size: bytes of the file where it is packed with gzip.
        """
        self.name = name
        self._file = file
        self._packed_size = packed_size
        self._bytes = file if packed_size is None else cast(BinaryIO, gzip.GzipFile(fileobj=file))
        self._size = max(1, os.fstat(file.fileno()).st_size) if _is_file(file) else None
        self._unpacked = 0
        self._put_back = b""
        self.newlines = False
        self.at_end = False
        self._carriage_returns: bool | None = None

    def read(self, size: int) -> bytes:
        """So many bytes; fewer at the end, or where line ends become newlines. None are left at b"".

        Raises:
            DataError: the file is damaged, is UTF-16, or unpacks to something monstrous.
        """
        if self._put_back:
            block, self._put_back = self._put_back, b""
            return block
        block = self._read(size)
        if self._carriage_returns is None:
            while len(block) <= len(BOM) and (more := self._read(size)):
                block += more
            refuse_wide(block, self.name)
            block = block.removeprefix(BOM)
            self._carriage_returns = ends_with_carriage_return(block)
        if not (self.newlines and self._carriage_returns):
            return block
        while block.endswith(b"\r") and (more := self._read(1)):
            block += more  # its newline may be the next byte
        return with_newlines(block)

    def put_back(self, data: bytes) -> None:
        """Give these bytes, which were read, once more."""
        self._put_back = data

    def _read(self, size: int) -> bytes:
        try:
            block = self._bytes.read(size) if self._size is not None else self._file.read1(size)  # type: ignore[attr-defined]
        except EOFError:
            raise DataError(
                f"{self.name} ends in the middle of its compressed data: it is truncated. Download it "
                "or compress it again."
            ) from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{self.name} is damaged and cannot be decompressed: {printable(str(error))}."
            ) from None
        except OSError as error:
            raise DataError(f"{self.name} cannot be read: {error.strerror or error}.") from None
        self.at_end = self._size is not None and len(block) < size
        if self._packed_size is not None:
            self._unpacked += len(block)
            if self._unpacked > max(_UNSUSPICIOUS, _LARGEST_RATIO * self._packed_size):
                raise DataError(
                    f"{self.name} unpacks from {self._packed_size:,} bytes to more than {self._unpacked:,}, "
                    f"which is too much for a table. If you trust it, unpack it yourself."
                )
        return bytes(block)

    @property
    def done(self) -> float:
        """The share that has been read; 0 of a stream."""
        return 0.0 if self._size is None else min(1.0, self._file.tell() / self._size)


def _is_file(file: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """A file's bytes.

    Raises:
        DataError: it cannot be opened, or its name says the contrary of its bytes about gzip.
    """
    name = shown_path(path)
    with reading(name):
        file = path.open("rb")
    with file:
        head = file.read(2)
        file.seek(0)
        packed = path.name.lower().endswith(GZIP)
        if packed and head and head != _GZIP_SIGNATURE:
            raise DataError(
                f"{name} ends in {GZIP} and is not compressed with gzip. Rename it, or compress it."
            )
        if not packed and head == _GZIP_SIGNATURE:
            raise DataError(f"{name} is compressed with gzip: add {GZIP} to its name.")
        size = max(1, os.fstat(file.fileno()).st_size)
        yield Opened(name, file, packed_size=size if packed else None)


def whole_lines(file: Opened, size: int) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines, each with the number of its first line, from 1. The last may lack its end.

    Raises:
        DataError: a line is longer than any row is.
    """
    begun: list[bytes] = []  # of a line whose end was not read
    begun_bytes, line = 0, 1
    while block := file.read(size):
        whole = block.rfind(b"\n") + 1
        if not whole and begun_bytes + len(block) > MAX_LINE:
            raise DataError(
                f"{file.name}, line {line} is longer than {MAX_LINE:,} bytes: it is not a file of rows."
            )
        end = len(block) if file.at_end else whole
        if end:
            data = b"".join([*begun, block[:end]])
            begun, begun_bytes = [], 0
            yield data, line
            line += count_newlines(data)
        begun.append(block[end:])
        begun_bytes += len(block) - end
    if rest := b"".join(begun):
        yield rest, line
