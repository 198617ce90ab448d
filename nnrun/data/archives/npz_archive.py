"""NumPy's .npz archives, read without trust: a file from the web, or one that was cut short on the way.

Sizes are checked before anything is allocated, a member can never grow past the size it declares, and no
pickle is ever run (see token_pickle.py).
"""

from __future__ import annotations

import hashlib
import os
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from nnrun.data.archives.token_pickle import read_token_pickle
from nnrun.data.dataset import TokenRows
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
        self, name: str, *, tokens: TokenReader = lambda name, read: read()
    ) -> npt.NDArray[Any] | TokenRows:
        """An array of numbers or texts, or the token rows that an object array holds.

        `tokens` is called in place of reading an object array, with the array's name and the function that
        reads it, and so can keep and give back what was read before.
        """
        info = self._zip.getinfo(f"{name}.npy")
        where = f"{self.path}: the array {name}"
        try:
            with self._zip.open(info) as member:
                shape, fortran, dtype = _header(member, where)
                if dtype.hasobject:
                    return tokens(name, lambda: self._read_tokens(info, where))
                return _read_plain(member, info.file_size - member.tell(), shape, fortran, dtype, where)
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


def _read_plain(
    member: Any, there: int, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any], where: str
) -> npt.NDArray[Any]:
    if dtype.kind not in _READABLE_KINDS or dtype.itemsize == 0:
        raise DataError(
            f"{where} has the type {str(dtype)[:60]}; only numbers, truth values and texts are read."
        )
    size = dtype.itemsize
    for n in shape:
        size *= n
    if size != there:
        raise DataError(f"{where} declares the shape {shape}, which is {size:,} bytes, but holds {there:,}.")
    content = np.empty(size, np.uint8)
    target = content.data
    filled = 0
    while filled < size:
        block = member.read(min(_BLOCK, size - filled))
        if not block:
            raise DataError(f"{where} ends after {filled:,} of {size:,} bytes: the file is truncated.")
        target[filled : filled + len(block)] = block
        filled += len(block)
    member.read(1)  # reaches the end, where zipfile compares the checksum
    array = content.view(dtype).reshape(shape, order="F" if fortran else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _lower(error: BaseException) -> str:
    text = str(error).rstrip(".") or type(error).__name__
    return printable(text[:1].lower() + text[1:200])
