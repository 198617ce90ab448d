"""What may stand for a spec where Python asks for one: a file's path, the YAML itself, or a dict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from nnrun.errors import UsageError
from nnrun.spec.reading.nodes import Place, SourceText, from_plain, plain
from nnrun.spec.writing.dump import dump_mapping

SpecSource = str | os.PathLike[str] | Mapping[str, Any]
"""A path; or YAML, which has several lines or stands in braces; or a dict of what the YAML would hold."""

GIVEN_NAME = "spec"
"""What a spec is called that has no file and gives itself no name."""


def text_of(source: SpecSource) -> str | None:
    """The YAML of a spec that is not a file's; None for a path.

    Raises:
        UsageError: it is none of these, or the dict holds what YAML has no word for.
    """
    if isinstance(source, str):
        braces = source.lstrip().startswith("{") and source.rstrip().endswith("}")
        return source if ("\n" in source or braces) and not os.path.lexists(source) else None
    if isinstance(source, os.PathLike):
        return None
    if not isinstance(source, Mapping):
        raise UsageError(
            f"A spec is a file's path, YAML text of several lines, or a dict; found a "
            f"{type(source).__name__}."
        )
    try:
        values = plain(from_plain(source, Place(SourceText(GIVEN_NAME, ""), 1, 1)))
    except TypeError as error:
        raise UsageError(
            f"The dict of the spec is, or holds, {error}; a spec holds text, numbers, lists and maps."
        ) from None
    return dump_mapping(values)
