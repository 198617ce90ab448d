"""Token lists out of a pickle, of which nothing is run.

Keras publishes IMDB and Reuters as NumPy object arrays of lists of integers, and NumPy stores object arrays
as pickles. A pickle is a program that may import and call anything. So its operations are checked first, at
the speed of a regular expression: only those that such an array is made of are let through, and no size or
index beyond the bytes that are there. Then Python's unpickler follows it, with inert objects in place of the
few names of NumPy; any other name is refused.

The integers are Python's for a moment: reading takes up to 18 times the memory of the pickle.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import TokenRows
from nnrun.errors import DataError

MAX_TOKEN = 2**24  # no vocabulary is larger, and a multi-hot row is as wide as the largest token

# Operations without a size: integers of up to 64 bits and floats; lists, tuples, constants; calls and state
# of objects; memory; names on the stack; protocol and frame. A bounded run, since the expression's engine
# keeps a record of each repetition.
_LONG = rb"\x8a(?:\x00|\x01.|\x02..|\x03.{3}|\x04.{4}|\x05.{5}|\x06.{6}|\x07.{7}|\x08.{8})"
_PLAIN = re.compile(
    rb"(?:K.|M..|J.{4}|"
    + _LONG
    + rb"|G.{8}|[])(eaN\x88\x89\x85\x86\x87tRb\x93\x94]|[qh].|j.{4}|\x80.|\x95.{8})"
    rb"{1,1024}",
    re.DOTALL,
)
_SIZED = {  # operation of a text or of bytes: bytes of its length
    ord("\x8c"): 1,
    ord("X"): 4,  # SHORT_BINUNICODE, BINUNICODE
    ord("C"): 1,
    ord("B"): 4,  # SHORT_BINBYTES, BINBYTES
    ord("U"): 1,
    ord("T"): 4,  # SHORT_BINSTRING, BINSTRING: a str of Python 2
}
_DAMAGE = (
    *(pickle.UnpicklingError, EOFError, MemoryError, IndexError, KeyError, ValueError, TypeError),
    *(AttributeError, OverflowError),
)


class _Refusal(Exception):
    """What is wrong, without the name of the file."""


def read_token_pickle(payload: bytes, *, rows: int, where: str) -> TokenRows:
    """The rows of a pickled one-dimensional object array whose elements are lists of integers.

    Tuples and integer arrays pass for lists. Protocols 2 to 5, as Python 2 and 3 write them.

    Args:
        payload: the pickle.
        rows: how many rows the array's header declares.
        where: the array as a message names it.

    Raises:
        DataError: the pickle is damaged, holds something else, or asks for anything but this.
    """
    try:
        _check_operations(payload)
        array = _Unpickler(io.BytesIO(payload), encoding="bytes").load()
        return _token_rows(array, rows, most=2 * len(payload))
    except _Refusal as refusal:
        raise DataError(f"{where} {refusal}") from None
    except _DAMAGE:  # too few values on the stack, an unknown memo entry, bytes that are not text
        raise DataError(f"{where} holds a damaged pickle") from None


def _check_operations(data: bytes) -> None:
    """Refuse operations that no array of token lists needs, and those that reach beyond the data."""
    at = 0
    while True:
        while run := _PLAIN.match(data, at):
            at = run.end()
        operation = data[at : at + 1]
        if operation == b".":
            return
        if operation == b"c":  # GLOBAL: two lines, which find_class sees
            at = data.index(b"\n", data.index(b"\n", at, at + 200) + 1, at + 200) + 1
        elif operation == b"r":  # LONG_BINPUT: the unpickler makes room for so many entries
            if int.from_bytes(_bytes(data, at + 1, 4), "little") > len(data):
                raise ValueError
            at += 5
        elif operation and (width := _SIZED.get(operation[0])):
            size = int.from_bytes(_bytes(data, at + 1, width), "little")
            _bytes(data, at + 1 + width, size)
            at += 1 + width + size
        else:
            _refuse_operation(data, at)


def _bytes(data: bytes, at: int, size: int) -> bytes:
    if size > len(data) - at:
        raise _Refusal("ends in the middle: the file is truncated, or declares sizes it does not have")
    return data[at : at + size]


def _refuse_operation(data: bytes, at: int) -> NoReturn:
    operation = data[at : at + 1]
    if operation == b"\x8a" and data[at + 1 : at + 2] > b"\x08":  # LONG1
        raise _Refusal(f"holds a number beyond 64 bits; word indices run from 0 to {MAX_TOKEN:,}")
    if not operation or operation in b"KMJG\x8aqhj\x80\x95":
        _bytes(data, at, len(data) + 1)  # the expression did not match: its bytes are missing
    names = [known.name for known in pickletools.opcodes if known.code.encode("latin1") == operation]
    if not names:
        raise ValueError
    raise _Refusal(
        f"contains the pickle operation {names[0]}, which no array of token lists needs; nothing in it was "
        "run"
    )


# --- what stands in the place of NumPy's objects -----------------------------------------------------------


class _Dtype:
    """A type of integers, or objects: `O`."""

    def __init__(self, code: Any, *_: object) -> None:
        self.code = code.decode() if isinstance(code, bytes) else code
        self.order = "="
        if not re.fullmatch(r"O\d?|[iu][1248]", self.code):
            raise _Refusal(f"holds arrays of type {self.code[:20]!r}; token lists are lists of whole numbers")

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode() if isinstance(state[1], bytes) else state[1]
        if order not in ("|", "<", ">", "="):
            raise ValueError(order)
        self.order = "=" if order == "|" else order


@dataclass
class _Array:
    shape: tuple[Any, ...] = ()
    dtype: _Dtype | None = None
    content: Any = None

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.dtype, _, self.content = state
        if not isinstance(self.dtype, _Dtype):
            raise TypeError(self.dtype)


_NDARRAY = object()


def _reconstruct(built: Any, *_: object) -> _Array:
    if built is not _NDARRAY:
        raise _Refusal("holds a call that no array of token lists contains")
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 spells bytes for Python 2, in files of NumPy before 1.17."""
    if encoding not in ("latin1", b"latin1"):
        raise ValueError(encoding)
    return text.encode("latin1")


_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            called = ".".join(part[:60] for part in (module, name))
            raise _Refusal(
                f"asks for {called!r}. Only arrays of token lists are read, and nothing in the file is ever "
                "run; a data set has no use for this, so do not trust the file"
            )
        return _NAMES[module, name]


# --- from what was built to rows ---------------------------------------------------------------------------


def _token_rows(array: Any, rows: int, most: int) -> TokenRows:
    """Token rows.

    Args:
        array: what the pickle built.
        rows: that it must have.
        most: tokens that all rows together may have: a list may stand in several rows, but not so often that
            a small file fills the memory.
    """
    if not isinstance(array, _Array) or array.dtype is None or not array.dtype.code.startswith("O"):
        raise _Refusal("is not an array of token lists")
    content = array.content
    if not isinstance(content, list) or array.shape != (rows,):
        raise _Refusal(f"declares {rows:,} rows in its header and another shape inside: it is damaged")
    if any(type(item) is int for item in content):
        raise _Refusal("holds single numbers among its rows; each row must be a list of word indices")
    if len(content) != rows:
        raise _Refusal(f"declares {rows:,} rows and holds {len(content):,}: it is damaged")
    lists = [_row(item, place) for place, item in enumerate(content)]
    bounds = np.zeros(rows + 1, np.int64)
    np.cumsum([len(row) for row in lists], out=bounds[1:])
    if bounds[-1] > most:
        raise _Refusal("repeats its rows so often that they would not fit in memory")
    for place, row in enumerate(lists):
        _refuse_other_members(row, place)
    tokens = np.fromiter(chain.from_iterable(lists), np.int64, int(bounds[-1]))
    if tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) <= MAX_TOKEN:
        wrong = int(tokens.min()) if int(tokens.min()) < 0 else int(tokens.max())
        raise _Refusal(f"holds the word index {wrong:,}; word indices run from 0 to {MAX_TOKEN:,}")
    return TokenRows(bounds, tokens.astype(np.int32))


def _row(item: Any, place: int) -> list[Any] | tuple[Any, ...] | npt.NDArray[Any]:
    """A row of anything, or a refusal."""
    if isinstance(item, _Array):
        return _integer_array(item, place)
    if not isinstance(item, (list, tuple)):
        raise _Refusal(f"holds {_kind(item)} as row {place}; each row must be a list of word indices")
    return item


def _refuse_other_members(row: list[Any] | tuple[Any, ...] | npt.NDArray[Any], place: int) -> None:
    """Refuse what is no integer. The total of the rows is known to be small: every member is looked at."""
    if not isinstance(row, np.ndarray) and set(map(type, row)) - {int}:
        wrong = next(member for member in row if type(member) is not int)
        raise _Refusal(f"holds {_kind(wrong)} in row {place}; word indices are whole numbers")


def _integer_array(array: _Array, place: int) -> npt.NDArray[Any]:
    dtype = array.dtype
    if dtype is None or dtype.code.startswith("O") or not isinstance(array.content, bytes):
        raise _Refusal(f"holds an array of objects as row {place}; each row must be a list of word indices")
    values = np.frombuffer(array.content, np.dtype(dtype.order + dtype.code))
    if array.shape != (len(values),):
        raise _Refusal(f"holds an array as row {place} whose shape does not match its content")
    return values


def _kind(value: Any) -> str:
    """What a stray value is, in words."""
    if value is None:
        return "None"
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, float):
        return "a floating-point number"
    if isinstance(value, (str, bytes)):
        return "a text"
    if isinstance(value, (list, tuple)):
        return "a list inside a list"
    return "something other than a number"
