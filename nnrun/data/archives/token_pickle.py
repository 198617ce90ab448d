"""Token lists out of a pickle, without unpickling it.

Keras publishes IMDB and Reuters as NumPy object arrays of lists of integers, and NumPy stores object arrays
as pickles. A pickle is a program, and whoever runs it does what its author wants. So it is not run here. The
reader below understands the few operations that such an array is made of, for which it builds inert
stand-ins, and refuses everything else by name. No module is imported, no function is called, and nothing is
allocated on the word of the file: sizes are compared with the bytes that are really there.

Nearly all of the file is runs of integers. A regular expression finds a run at the speed of C, and its bytes
are set aside. At the end the runs, which by then are known to be integers and nothing else, are written into
a fresh pickle of plain lists, and that one is loaded.
"""

from __future__ import annotations

import pickle
import re
from itertools import chain
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import TokenRows
from nnrun.errors import DataError

MAX_TOKEN = 2**24  # no vocabulary is larger, and a multi-hot row is as wide as the largest token
# 25,000 reviews take 130,000 operations, a million short rows 5 million. One takes 120 bytes at worst.
MAX_OPERATIONS = 5_000_000

_LONG = rb"\x8a(?:\x00|\x01.|\x02..|\x03.{3}|\x04.{4}|\x05.{5}|\x06.{6}|\x07.{7}|\x08.{8})"
_INTEGER = rb"(?:K.|M..|J....|" + _LONG + rb")"
_ONE_INTEGER = re.compile(_INTEGER, re.DOTALL)
# A bounded run, since the expression's engine keeps a record of each repetition.
_INTEGERS = re.compile(_INTEGER + rb"{1,1024}", re.DOTALL)
_BATCH_BYTES = 1 << 20

_RECONSTRUCT, _NDARRAY, _DTYPE = "numpy's array constructor", "numpy.ndarray", "numpy.dtype"
_ENCODE = "a text's bytes"  # how Python 3 spells bytes for Python 2, in files of NumPy before 1.17
_GLOBALS = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DTYPE,
    ("_codecs", "encode"): _ENCODE,
}
_SIZED = {  # operation: (bytes of its length field, whether it is text)
    0x8C: (1, True),  # SHORT_BINUNICODE
    ord("X"): (4, True),  # BINUNICODE
    ord("C"): (1, False),  # SHORT_BINBYTES
    ord("B"): (4, False),  # BINBYTES
    ord("U"): (1, False),  # SHORT_BINSTRING, a str of Python 2
    ord("T"): (4, False),  # BINSTRING
}
_PLAIN = {ord("N"): None, 0x88: True, 0x89: False}


class _Mark:
    """The start of a group on the stack."""


class _Global:
    """One of the known names, as a name and nothing else."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _Dtype:
    __slots__ = ("byte_order", "code")

    def __init__(self, code: str) -> None:
        self.code = code
        self.byte_order = "="


class _Array:
    """An array under construction: BUILD fills it in."""

    __slots__ = ("content", "dtype", "shape")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype: _Dtype | None = None
        self.content: list[Any] | bytes | None = None


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
        array = _Reader(payload).read()
        return _token_rows(payload, array, rows)
    except _Refusal as refusal:
        raise DataError(f"{where} {refusal}") from None
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError):
        # Too few values on the stack, an unknown memo entry, bytes that are not text: a broken program.
        raise DataError(f"{where} holds a damaged pickle") from None


class _Reader:
    """A stack machine for the part of the pickle language that arrays of token lists use.

    Integers stay slices of the file, on the stack as in lists and tuples; a slice holds one integer or more.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.taken_apart = 0

    def read(self) -> Any:
        """Follow the program to its end and give back what it built."""
        data, stack, memo = self.data, self.stack, self.memo
        match_integers = _INTEGERS.match
        for _ in range(MAX_OPERATIONS):
            if run := match_integers(data, self.at):
                stack.append(slice(self.at, run.end()))
                self.at = run.end()
                continue
            if self.at >= len(data):
                raise _Refusal("ends in the middle: the file is truncated")
            op = data[self.at]
            self.at += 1
            if op == 0x5D:  # EMPTY_LIST
                stack.append([])
            elif op == 0x94:  # MEMOIZE
                memo[len(memo)] = self.top()
            elif op == 0x71:  # BINPUT
                memo[self.number(1)] = self.top()
            elif op == 0x72:  # LONG_BINPUT
                memo[self.number(4)] = self.top()
            elif op == 0x28:  # MARK
                stack.append(_Mark)
            elif op == 0x65:  # APPENDS
                items = self.since_mark()
                self.target_list().extend(items)
            elif op == 0x61:  # APPEND
                items = self.pop(1)
                self.target_list().extend(items)
            elif op == 0x68:  # BINGET
                stack.append(memo[self.number(1)])
            elif op == 0x6A:  # LONG_BINGET
                stack.append(memo[self.number(4)])
            elif op == 0x29:  # EMPTY_TUPLE
                stack.append(())
            elif op in (0x85, 0x86, 0x87):  # TUPLE1, TUPLE2, TUPLE3
                stack.append(tuple(self.pop(op - 0x84)))
            elif op == 0x74:  # TUPLE
                stack.append(tuple(self.since_mark()))
            elif op in _PLAIN:
                stack.append(_PLAIN[op])
            elif op == 0x47:  # BINFLOAT: no token, but a likely mistake that deserves its own message
                self.raw(8)
                stack.append(0.0)
            elif op in _SIZED:
                width, is_text = _SIZED[op]
                raw = self.raw(self.number(width))
                stack.append(raw.decode() if is_text else raw)
            elif op == 0x63:  # GLOBAL
                stack.append(self.known_global(self.line(), self.line()))
            elif op == 0x93:  # STACK_GLOBAL
                module, name = self.pop(2)
                stack.append(self.known_global(module, name))
            elif op == 0x52:  # REDUCE
                function, arguments = self.pop(2)
                stack.append(self.stand_in(function, arguments))
            elif op == 0x62:  # BUILD
                (state,) = self.pop(1)
                self.fill_in(self.top(), state)
            elif op == 0x95:  # FRAME: only a hint for buffering
                self.raw(8)
            elif op == 0x80:  # PROTO
                self.raw(1)
            elif op == 0x2E:  # STOP
                (result,) = self.pop(1)
                return result
            else:
                self.refuse_operation(op)
        raise _too_long()

    def raw(self, size: int) -> bytes:
        """The next bytes, which must be there."""
        if size > len(self.data) - self.at:
            raise _Refusal("ends in the middle: the file is truncated, or declares sizes it does not have")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.raw(width), "little")

    def line(self) -> str:
        end = self.data.index(b"\n", self.at, self.at + 200)
        return self.raw(end + 1 - self.at)[:-1].decode()

    def pop(self, count: int) -> list[Any]:
        """The last `count` values. A run of integers counts as many, and is taken apart if need be."""
        values: list[Any] = []
        while len(values) < count:
            value = self.stack.pop()
            if value is _Mark:
                raise IndexError
            if isinstance(value, slice):
                ones = self.single_integers(value)
                keep = max(len(ones) - (count - len(values)), 0)
                if keep:
                    self.stack.append(slice(value.start, ones[keep].start))
                values = ones[keep:] + values
            else:
                values.insert(0, value)
        return values

    def top(self) -> Any:
        (value,) = self.pop(1)
        self.stack.append(value)
        return value

    def since_mark(self) -> list[Any]:
        stack = self.stack
        start = len(stack) - 1
        while stack[start] is not _Mark:
            start -= 1
            if start < 0:
                raise IndexError
        items = stack[start + 1 :]
        del stack[start:]
        return items

    def target_list(self) -> list[Any]:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TypeError
        return target

    def single_integers(self, run: slice) -> list[slice]:
        ones = [slice(*m.span()) for m in _ONE_INTEGER.finditer(self.data, run.start, run.stop)]
        self.taken_apart += len(ones)
        if self.taken_apart > MAX_OPERATIONS:
            raise _too_long()
        return ones

    def scalars(self, values: Any, limit: int = 16) -> list[Any]:
        """The members of a small tuple, with the integers as numbers."""
        if not isinstance(values, tuple):
            raise TypeError
        found: list[Any] = []
        for value in values[:limit]:
            found.extend(_integers_of(self.data, [value]).tolist() if isinstance(value, slice) else [value])
        return found

    @staticmethod
    def known_global(module: Any, name: Any) -> _Global:
        known = _GLOBALS.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            called = ".".join(part[:60] if isinstance(part, str) else "?" for part in (module, name))
            raise _Refusal(
                f"asks for {called!r}. Only arrays of token lists are read, and nothing in the file is "
                "ever run; "
                "a data set has no use for this, so do not trust the file"
            )
        return _Global(known)

    def stand_in(self, function: Any, arguments: Any) -> _Array | _Dtype | bytes:
        """What a call of one of the known names would give, as an inert description."""
        values = self.scalars(arguments)
        if isinstance(function, _Global):
            built = values[0]
            if function.name == _RECONSTRUCT and isinstance(built, _Global) and built.name == _NDARRAY:
                return _Array()
            if function.name == _DTYPE:
                code = values[0].decode() if isinstance(values[0], bytes) else values[0]
                if re.fullmatch(r"O\d?|[iu][1248]", code):
                    return _Dtype(code)
                raise _Refusal(f"holds arrays of type {code[:20]!r}; token lists are lists of whole numbers")
            if function.name == _ENCODE and values[1] == "latin1" and len(values[0]) <= 16:
                encoded: bytes = values[0].encode("latin1")
                return encoded
        raise _Refusal("holds a call that no array of token lists contains")

    def fill_in(self, target: Any, state: Any) -> None:
        values = self.scalars(state)
        if isinstance(target, _Dtype):
            order = values[1].decode() if isinstance(values[1], bytes) else values[1]
            if order not in ("|", "<", ">", "="):
                raise ValueError
            target.byte_order = order
            return
        if not isinstance(target, _Array) or target.content is not None:
            raise TypeError
        _, shape, dtype, _, content = values
        if not isinstance(dtype, _Dtype) or not isinstance(content, (list, bytes)):
            raise TypeError
        target.shape, target.dtype, target.content = tuple(self.scalars(shape)), dtype, content

    def refuse_operation(self, op: int) -> NoReturn:
        import pickletools

        if op == 0x8A and self.data[self.at : self.at + 1] > b"\x08":  # LONG1
            raise _Refusal(f"holds a number beyond 64 bits; word indices run from 0 to {MAX_TOKEN:,}")
        if op in b"KMJ\x8a":
            self.raw(len(self.data))  # an integer, and the expression did not match: its bytes are missing

        names = [known.name for known in pickletools.opcodes if known.code == chr(op)]
        if not names:
            raise ValueError
        raise _Refusal(
            f"contains the pickle operation {names[0]}, which no array of token lists needs; "
            "nothing in it was run"
        )


def _too_long() -> _Refusal:
    return _Refusal(f"takes more than {MAX_OPERATIONS:,} pickle operations, which is too many to be safe")


def _token_rows(data: bytes, array: Any, rows: int) -> TokenRows:
    """Check what the program built, and turn it into token rows."""
    if not isinstance(array, _Array) or array.dtype is None or not array.dtype.code.startswith("O"):
        raise _Refusal("is not an array of token lists")
    content = array.content
    if not isinstance(content, list) or array.shape != (rows,):
        raise _Refusal(f"declares {rows:,} rows in its header and another shape inside: it is damaged")
    if any(isinstance(item, slice) for item in content):
        raise _Refusal("holds single numbers among its rows; each row must be a list of word indices")
    if len(content) != rows:
        raise _Refusal(f"declares {rows:,} rows and holds {len(content):,}: it is damaged")

    runs: list[Any] = []
    first_run = [0]
    # A list may stand in several rows, but not so often that a small file fills the memory.
    room = 2 * len(data)
    for i, item in enumerate(content):
        if isinstance(item, _Array):
            runs.append(_integer_array(item, i))
            room -= len(item.content) if isinstance(item.content, bytes) else 0
        elif isinstance(item, (list, tuple)):
            for member in item:
                if not isinstance(member, slice):
                    raise _Refusal(f"holds {_kind(member)} in row {i}; word indices are whole numbers")
                room -= member.stop - member.start
            runs.extend(item)
        else:
            raise _Refusal(f"holds {_kind(item)} as row {i}; each row must be a list of word indices")
        if room < 0:
            raise _Refusal("repeats its rows so often that they would not fit in memory")
        first_run.append(len(runs))

    counts, tokens = _decode(data, runs)
    bounds = np.zeros(len(runs) + 1, np.int64)
    np.cumsum(counts, out=bounds[1:])
    return TokenRows(bounds[np.asarray(first_run)], tokens)


def _integer_array(array: _Array, row: int) -> npt.NDArray[Any]:
    """A row that is an array of integers."""
    dtype = array.dtype
    if dtype is None or dtype.code.startswith("O") or not isinstance(array.content, bytes):
        raise _Refusal(f"holds an array of objects as row {row}; each row must be a list of word indices")
    order = "=" if dtype.byte_order == "|" else dtype.byte_order
    values = np.frombuffer(array.content, np.dtype(order + dtype.code))
    if array.shape != (len(values),):
        raise _Refusal(f"holds an array as row {row} whose shape does not match its content")
    return values


def _decode(data: bytes, runs: list[Any]) -> tuple[list[int], npt.NDArray[np.int32]]:
    """The integers of all runs, and how many each run holds; in batches, so that memory stays small."""
    counts: list[int] = []
    parts: list[npt.NDArray[np.int32]] = [np.zeros(0, np.int32)]
    batch: list[slice] = []
    size = 0

    def flush() -> None:
        nonlocal size
        if batch:
            lists = _integer_lists(data, batch)
            lengths = [len(x) for x in lists]
            counts.extend(lengths)
            parts.append(_checked(np.fromiter(chain.from_iterable(lists), np.int64, sum(lengths))))
            batch.clear()
            size = 0

    for run in runs:
        if isinstance(run, slice):
            batch.append(run)
            size += run.stop - run.start
            if size >= _BATCH_BYTES:
                flush()
        else:
            flush()
            counts.append(len(run))
            parts.append(_checked(run))
    flush()
    return counts, np.concatenate(parts)


def _integer_lists(data: bytes, runs: list[slice]) -> list[list[int]]:
    """Load runs of integers through a pickle written here, a list of lists with nothing else in it."""
    body = b"".join(b"](" + data[run] + b"e" for run in runs)
    lists: list[list[int]] = pickle.loads(b"\x80\x02](" + body + b"e.")  # noqa: S301  (see above: integers only)
    return lists


def _integers_of(data: bytes, runs: list[slice]) -> npt.NDArray[np.int64]:
    return np.array([i for run in _integer_lists(data, runs) for i in run], np.int64)


def _checked(tokens: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    if tokens.size:
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high > MAX_TOKEN:
            wrong = low if low < 0 else high
            raise _Refusal(f"holds the word index {wrong:,}; word indices run from 0 to {MAX_TOKEN:,}")
    return tokens.astype(np.int32)


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
