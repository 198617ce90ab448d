"""What every reader knows of text in UTF-8: its marks, and bytes that are no text, with the likely reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnrun.errors import DataError
from nnrun.spec.wording import quoted

BOM = b"\xef\xbb\xbf"
NEWLINE = b"\n"
_IN_CACHE = 1 << 16
_WIDE = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def is_utf8(content: bytes | str) -> bool:
    """Whether bytes are UTF-8; or whether a text that was decoded with surrogates holds nothing else."""
    if content.isascii():
        return True
    try:
        content.decode() if isinstance(content, bytes) else content.encode()
    except UnicodeError:
        return False
    return True


def ends_with_carriage_return(text: bytes) -> bool:
    """Whether the first line of a text ends with a carriage return and no newline, and others follow."""
    text = text.lstrip(b"\r\n")
    at = text.find(b"\r")
    line = text[:at]
    follows = text[at + 1 : at + 2]
    return at >= 0 and b"\n" not in line and follows not in (b"", b"\n") and line.count(b'"') % 2 == 0


def with_newlines(text: bytes) -> bytes:
    """Each line end as a newline."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def count_newlines(data: bytes, start: int = 0) -> int:
    """How many newlines bytes hold from a place on; where they are many, faster than `bytes.count`."""
    characters = np.frombuffer(data, np.uint8)
    parts = range(start, len(data), _IN_CACHE)
    return sum(int(np.count_nonzero(characters[part : part + _IN_CACHE] == NEWLINE[0])) for part in parts)


def refuse_wide(head: bytes, name: str) -> None:
    """Raise DataError where a file begins as UTF-16 or UTF-32 does."""
    for mark, encoding in _WIDE.items():
        if head.startswith(mark):
            raise DataError(
                f"{name} is encoded as {encoding}, and files are read as UTF-8. Convert it: iconv -f "
                f"{encoding} -t UTF-8."
            )


def refuse_what_is_no_text(
    data: bytes, first_line: int, name: str, names: Sequence[str] = (), delimiter: bytes = b","
) -> None:
    """Raise DataError at the first byte that is no UTF-8, or is a NUL.

    Args:
        data: whole lines.
        first_line: the number of the first of them.
        name: of the file.
        names: of the columns, where the place is to be told by them.
        delimiter: between fields.
    """
    nul = data.find(b"\0")
    if nul >= 0:
        place = _place(data, nul, first_line, names, delimiter)
        raise DataError(
            f"{name}, {place} holds a NUL byte, which no text does. The file is damaged, or is not text."
        )
    if data.isascii():
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place(data, error.start, first_line, names, delimiter)
        raise DataError(
            f"{name}, {place}: the byte 0x{data[error.start]:02x} is not UTF-8. The file is probably in "
            "another encoding; convert it, for example: iconv -f WINDOWS-1252 -t UTF-8."
        ) from None


def _place(data: bytes, at: int, first_line: int, names: Sequence[str], delimiter: bytes) -> str:
    start = data.rfind(b"\n", 0, at) + 1
    line = f"line {first_line + data[:at].count(NEWLINE)}"
    before = data[start:at]
    if not names or b'"' in before:
        return line
    column = before.count(delimiter)
    return f"{line}, column {quoted(names[column])}" if column < len(names) else line
