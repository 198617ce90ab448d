"""What a request to predict says: its rows and its options, read from the body and the query."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from nnrun.errors import UsageError, printable
from nnrun.spec.wording import listing, nearest, quoted

ROWS = "rows"
"""The key of a body that holds rows and options."""


@dataclass(frozen=True)
class Options:
    """What an answer holds besides the prediction.

    Attributes:
        probabilities: of every class.
        interval: the share of rows that intervals or sets of classes are to cover; None for none.
    """

    probabilities: bool = False
    interval: float | None = None


NO_OPTIONS = Options()
OPTIONS = tuple(Options.__dataclass_fields__)


class Asked(NamedTuple):
    """A request as it came."""

    body: bytes
    query: bytes = b""


@dataclass(frozen=True)
class Question:
    """A request that was read.

    Attributes:
        rows: values of JSON.
        options: what the answer holds.
    """

    rows: Sequence[Any]
    options: Options


class Refused(Exception):
    """A request that cannot be answered.

    Attributes:
        status: of HTTP.
        detail: what is wrong: a sentence, or a document for each thing.
    """

    def __init__(self, status: int, detail: str | list[dict[str, Any]]) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def read_request(asked: Asked, usual: Options, *, enveloped: bool) -> Question:
    """The rows and options of a request.

    Args:
        asked: the request.
        usual: the options where it names none.
        enveloped: whether an object with the key `rows` holds rows and options; else every object is a row.

    Raises:
        Refused: the body is not JSON (400), or the options are not those that there are (422).
    """
    value = parsed_json(asked.body)
    options = _of_query(asked.query, usual) if asked.query else usual
    if enveloped and isinstance(value, dict) and ROWS in value:
        rows = value.pop(ROWS)
        options = _changed(options, value, "the body", "a key")
        rows = rows if isinstance(rows, list) else [rows]
    else:
        rows = value if isinstance(value, list) else [value]
    if not rows:
        raise Refused(422, "there are no rows: give an object for one row, or a list of rows")
    return Question(rows, options)


def parsed_json(body: bytes) -> Any:
    """The value of a body of JSON as RFC 8259 has it, without NaN and infinity, each key of an object once.

    Raises:
        Refused: it is something else (400).
    """
    if not body.strip():
        raise Refused(400, "the body is empty: give a row, or a list of rows, as JSON")
    try:
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise Refused(400, f"the body is not UTF-8: byte {error.start}") from None
    except RecursionError:
        raise Refused(400, "the body is not JSON that can be read: it is nested too deeply") from None
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {printable(str(error))}") from None


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON; a missing value is null")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise ValueError(f"an object has the key {quoted(twice)} twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_number)
_QUERY = {"true": True, "1": True, "": True, "false": False, "0": False, "none": None, "null": None}


def _of_query(query: bytes, usual: Options) -> Options:
    values: dict[str, Any] = {}
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in values:
            raise Refused(422, f"the query names {quoted(name)} twice")
        values[name] = _QUERY.get(text.lower(), text) if name != "interval" else _level_of(text)
    return _changed(usual, values, "the query", "an option")


def _level_of(text: str) -> Any:
    try:
        return None if text.lower() in ("none", "null", "false") else float(text)
    except ValueError:
        return text


def _changed(options: Options, values: Mapping[str, Any], where: str, what: str) -> Options:
    """The options with those that a request names."""
    for name, value in values.items():
        if name not in OPTIONS:
            near = nearest(name, OPTIONS)
            meant = f" Did you mean {quoted(near)}?" if near else ""
            allowed = listing([ROWS, *OPTIONS] if where == "the body" else OPTIONS, "and")
            raise Refused(
                422, f"{where} has {quoted(name)}, which is not {what} that it takes: {allowed}.{meant}"
            )
        good = isinstance(value, bool) if name == "probabilities" else _is_level(value)
        if not good:
            takes = "true or false" if name == "probabilities" else "a number such as 0.9, or null for none"
            raise Refused(422, f"{where} has {printable(repr(value))[:60]} for {name}; it takes {takes}")
    return replace(options, **values)


def _is_level(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def refused(error: UsageError) -> Refused:
    """What an option asks for and this run does not have."""
    return Refused(422, str(error).removeprefix("--"))
