"""NumPy's .npz archives, read without trust: a file from the web, or one that was cut short on the way.

Sizes are checked before anything is allocated, a member can never grow past the size it declares, and no
pickle is ever run (see token_pickle.py). A large array is written to nnrun's cache once, block by block, and
mapped from there: in the archive it may be compressed, its numbers are not aligned, and the file may change.
"""

from __future__ import annotations

import hashlib
import math
import os
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from nnrun.data.archives.token_pickle import read_token_pickle
from nnrun.data.cache_entry import OnMessage
from nnrun.data.dataset import TokenRows
from nnrun.data.files import stored_arrays
from nnrun.data.files.array_cache import cached_array
from nnrun.errors import DataError, printable

MAX_COMPRESSED_TOTAL = 2 * 2**30  # bytes that an archive's compressed members may unpack to, all together
MAX_TOKEN_MEMBER = 512 * 2**20  # bytes of one member of token lists
_MAX_HEADER = 2000
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BLOCK = 1 << 20
_READABLE_KINDS = "biufcSU"

TokenReader = Callable[[str, Callable[[], TokenRows]], TokenRows]


class Archive:
    """An open .npz file.

    Attributes:
        path: the file.
        sha256: the hash of its bytes.
        names: the arrays in it, without the `.npy` of their members.
    """

    def __init__(self, path: Path) -> None:
        """Open, hash and check. Raises DataError, with a sentence, for whatever is not a sound archive."""
        self.path = path
        if os.path.isdir(path):
            raise DataError(f"{path} is a folder. Name the .npz file itself.")
        if os.path.exists(path) and not os.path.isfile(path):
            raise DataError(f"{path} is not a regular file.")  # a pipe would be waited for without end
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
        try:
            self.sha256, head = _hash(self._file)
            _check_signature(path, head)
            self._zip = zipfile.ZipFile(self._file)
            self._check_members()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            self._file.close()
            raise DataError(
                f"{path} is damaged or incomplete: {_lower(error)}. Download it or write it again."
            ) from None
        except BaseException:
            self._file.close()
            raise
        self.names = tuple(n.removesuffix(".npy") for n in self._zip.namelist() if n.endswith(".npy"))
        self._mapped: dict[str, npt.NDArray[Any]] = {}

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()
        self._file.close()

    def require(self, *names: str, advice: str = "") -> None:
        """Raise DataError, which ends with the advice, unless all these arrays are there."""
        missing = [name for name in names if name not in self.names]
        if missing:
            found = printable(", ".join(name[:60] for name in self.names[:20])) or "no arrays at all"
            raise DataError(
                f"{self.path} has no array {' and no '.join(missing)}. It holds: {found}. "
                f"Needed: {', '.join(names)}.{advice}"
            )

    def read(
        self,
        name: str,
        *,
        tokens: TokenReader = lambda name, read: read(),
        map_large: OnMessage | None = None,
    ) -> npt.NDArray[Any] | TokenRows:
        """An array of numbers or texts, or the token rows that an object array holds.

        Args:
            name: the array.
            tokens: called in place of reading an object array, with the array's name and the function that
                reads it, and so can keep and give back what was read before.
            map_large: where it is given, a large array of numbers is mapped from nnrun's cache, if that can
                be written; called with what is told of that.
        """
        info = self._zip.getinfo(f"{name}.npy")
        where = f"{self.path}: the array {name}"
        with _told_if_damaged(where), self._zip.open(info) as member:
            head = _Head(*_header(member, where), info.file_size - member.tell())
            if head.dtype.hasobject:
                return tokens(name, lambda: self._read_tokens(info, where))
            _check_size(head, where)
            if map_large is not None and head.is_large:
                mapped = self._from_cache(name, head, map_large)
                if mapped is not None:
                    return mapped
            return _read_plain(member, head, where)

    def _from_cache(self, name: str, head: _Head, on_message: OnMessage) -> npt.NDArray[Any] | None:
        """A large array, mapped; None where it cannot be written."""
        if name in self._mapped:
            return self._mapped[name]
        where = f"{self.path}: the array {name}"

        def parts() -> Iterator[npt.NDArray[Any]]:
            with self._zip.open(f"{name}.npy") as member:
                _header(member, where)
                yield from _row_parts(member, head, where)

        kind = head.dtype.newbyteorder("=")
        array = cached_array(["npz", self.sha256, name], head.shape, kind, parts, where, on_message)
        if array is not None:
            self._mapped[name] = array
        return array

    def holds_objects(self, name: str) -> bool:
        """Whether an array holds Python objects: lists."""
        info = self._zip.getinfo(f"{name}.npy")
        with self._zip.open(info) as member:
            return _header(member, f"{self.path}: the array {name}")[2].hasobject

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Like `read`, for an array that cannot be token lists."""

        def refuse(name: str, read: Callable[[], TokenRows]) -> TokenRows:
            raise DataError(
                f"{self.path}: the array {name} holds Python objects. Save it as numbers, or as texts "
                "with a fixed width (NumPy's type U)."
            )

        array = self.read(name, tokens=refuse)
        assert isinstance(array, np.ndarray)
        return array

    def _read_tokens(self, info: zipfile.ZipInfo, where: str) -> TokenRows:
        if info.file_size > MAX_TOKEN_MEMBER:
            raise DataError(
                f"{where} unpacks to {info.file_size:,} bytes; token lists may take {MAX_TOKEN_MEMBER:,}."
            )
        with self._zip.open(info) as member:
            shape, _, dtype = _header(member, where)
            if len(shape) != 1 or dtype.fields is not None:
                raise DataError(
                    f"{where} holds objects in shape {shape}. Token lists are a one-dimensional array of "
                    "lists."
                )
            return read_token_pickle(member.read(), rows=shape[0], where=where)

    def _check_members(self) -> None:
        compressed_total = 0
        file_size = self.path.stat().st_size
        for info in self._zip.infolist():
            if info.compress_type == zipfile.ZIP_STORED:
                if info.file_size > file_size:
                    raise ValueError(f"{printable(info.filename[:60])} is longer than the file that holds it")
            elif info.compress_type == zipfile.ZIP_DEFLATED:
                compressed_total += info.file_size
            else:
                raise ValueError(
                    f"{printable(info.filename[:60])} is compressed in a way that NumPy never writes"
                )
        if compressed_total > MAX_COMPRESSED_TOTAL:
            raise DataError(
                f"{self.path} would unpack from {file_size:,} bytes to {compressed_total:,}; "
                f"at most {MAX_COMPRESSED_TOTAL:,} are allowed. If you trust it, save it with "
                "numpy.savez, uncompressed."
            )


def _hash(file: BinaryIO) -> tuple[str, bytes]:
    digest = hashlib.sha256()
    head = file.read(_BLOCK)
    block = head
    while block:
        digest.update(block)
        block = file.read(_BLOCK)
    file.seek(0)
    return digest.hexdigest(), head[:64]


def _check_signature(path: Path, head: bytes) -> None:
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return
    if not head:
        raise DataError(f"{path} is empty.")
    if head.lstrip()[:1] == b"<":
        raise DataError(
            f"{path} holds a web page, not data. Its download went wrong: delete it and fetch it again."
        )
    if head[:6] == b"\x93NUMPY":
        raise DataError(f"{path} holds a single array (.npy). Save the arrays together with numpy.savez.")
    raise DataError(f"{path} is not a NumPy archive (.npz).")


def _header(member: Any, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The shape, order and type that a member declares."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers that Python 2 wrote: they are read all the same
            version = np.lib.format.read_magic(member)
            if version not in _HEADERS:
                raise DataError(f"{where} has a header of version {version}; only simple types are read.")
            shape, fortran, dtype = _HEADERS[version](member, max_header_size=_MAX_HEADER)
    except (
        ValueError,
        TypeError,
        SyntaxError,
        tokenize.TokenError,
        RecursionError,
        MemoryError,
        OverflowError,
    ):
        raise DataError(f"{where} has a damaged header.") from None
    if any(n < 0 for n in shape):
        raise DataError(f"{where} declares the shape {shape}.")
    return shape, fortran, dtype


class _Head(NamedTuple):
    """What a member declares of its array, and how many bytes follow its header."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    there: int

    @property
    def is_large(self) -> bool:
        """Whether it has rows of numbers that are not worth the memory."""
        return bool(self.shape) and self.dtype.kind in "buif" and self.there >= stored_arrays.STORED_BYTES


@contextmanager
def _told_if_damaged(where: str) -> Iterator[None]:
    """What zipfile and zlib raise as a DataError."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        # RuntimeError is how zipfile says that a member is encrypted, ValueError that a name is no UTF-8.
        raise DataError(
            f"{where} is damaged or incomplete: {_lower(error)}. Download it or write it again."
        ) from None


def _check_size(head: _Head, where: str) -> None:
    dtype, size = head.dtype, head.dtype.itemsize * math.prod(head.shape)
    if dtype.kind not in _READABLE_KINDS or dtype.itemsize == 0:
        raise DataError(
            f"{where} has the type {str(dtype)[:60]}; only numbers, truth values and texts are read."
        )
    if size != head.there:
        raise DataError(
            f"{where} declares the shape {head.shape}, which is {size:,} bytes, but holds {head.there:,}."
        )


def _blocks(member: Any, size: int, where: str) -> Iterator[bytes]:
    """The bytes of a member behind its header, all blocks but the last of the same size."""
    filled = 0
    while filled < size:
        block = member.read(min(_BLOCK, size - filled))
        if not block:
            raise DataError(f"{where} ends after {filled:,} of {size:,} bytes: the file is truncated.")
        yield block
        filled += len(block)
    member.read(1)  # reaches the end, where zipfile compares the checksum


def _read_plain(member: Any, head: _Head, where: str) -> npt.NDArray[Any]:
    content = np.empty(head.there, np.uint8)
    target = content.data
    filled = 0
    for block in _blocks(member, head.there, where):
        target[filled : filled + len(block)] = block
        filled += len(block)
    array = content.view(head.dtype).reshape(head.shape, order="F" if head.fortran else "C")
    return array if head.dtype.isnative else array.astype(head.dtype.newbyteorder("="))


def _row_parts(member: Any, head: _Head, where: str) -> Iterator[npt.NDArray[Any]]:
    """The array row by row, some at a time, in the byte order of this machine."""
    native = head.dtype.newbyteorder("=")
    blocks = (np.frombuffer(block, np.uint8) for block in _blocks(member, head.there, where))
    if not head.fortran:
        for block in blocks:
            yield block if head.dtype.isnative else block.view(head.dtype).astype(native)
        return
    # Column by column: all of it must be there before the first row is.
    columns = stored_arrays.stored_rows(blocks, (head.there,), np.uint8)
    array = columns.view(head.dtype).reshape(head.shape, order="F")
    at_once = max(1, _BLOCK * len(array) // head.there)
    for first in range(0, len(array), at_once):
        yield np.ascontiguousarray(array[first : first + at_once], native)


def _lower(error: BaseException) -> str:
    text = str(error).rstrip(".") or type(error).__name__
    return printable(text[:1].lower() + text[1:200])
