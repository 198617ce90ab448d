"""Texts from files and records as fields of CSV and JSON, which end up in terminals and in spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from typing import Any

from nnrun.errors import printable

_FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula."""


def cell(value: Any) -> Any:
    """A value for a field of CSV. A name that a spreadsheet would compute gets an apostrophe before it.

    So OWASP advises ("CSV injection"). Numbers stay as they are, and so does a text that is one: `-1`. What a
    terminal could take for a command is written as an escape. JSON holds every name as it is.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    formula = len(text) > 1 and text.startswith(_FORMULA) and not _is_number(text)
    return f"'{text}" if formula else text


def several_in_one(names: Iterable[Any]) -> str:
    """Several names as one field, `setosa;virginica`: a line of CSV whose delimiter is `;`.

    So a name that holds `;`, a quote or a line break is quoted as in CSV, and `csv.reader([field],
    delimiter=";")` gives the names again. No names are an empty field.
    """
    file = io.StringIO()
    csv.writer(file, delimiter=";", lineterminator="\r\n").writerow(names)  # has both quoted in a name
    return file.getvalue().removesuffix("\r\n")


def json_text(document: Any, *, indent: int | None = None) -> str:
    """JSON with letters of any script as they are; what no terminal should get, as JSON's own escapes.

    It reads back as the same text. NaN and infinity must have been dealt with.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _json_escape(c) for c in text)


def _json_escape(character: str) -> str:
    return f"\\u{ord(character):04x}" if character.isascii() else json.dumps(character)[1:-1]


def json_for(text: str, encoding: str | None) -> str:
    """JSON as it is, or with what this encoding cannot hold as JSON's own escapes: it reads back the same."""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "".join(c if c.isascii() else _json_escape(c) for c in text)
    return text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
