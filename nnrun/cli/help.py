"""`nnrun help`: the reference of the spec, and of the commands."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from nnrun.cli import completing, options
from nnrun.cli.output import paragraph, print_result, table, text_width

if TYPE_CHECKING:
    from nnrun.spec.topics import Topic

_INDENT = "  "


def help_(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC",
            autocompletion=completing.topics,
            help="A key or component of a spec (loss, layers.lstm, lstm), or a command; default: all keys.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Explain a key of the spec, with its default, allowed values and an example; or a command."""
    from nnrun.cli.app import COMMANDS, app

    if topic is None:
        print_result(as_json, lambda: {"keys": _overview(), "commands": list(COMMANDS)}, _contents)
    elif topic in COMMANDS and not as_json:
        app([topic, "--help"], standalone_mode=False, prog_name="nnrun")
    else:
        from nnrun.spec.topics import find_topics

        found = find_topics(topic)
        print_result(
            as_json,
            lambda: {"topics": [each.as_document() for each in found]},
            lambda: "\n\n".join(_page(each) for each in found),
        )


def _overview() -> dict[str, str]:
    from nnrun.spec.topics import overview

    return overview()


def _contents() -> str:
    """The keys of a spec, and what else can be asked for."""
    return "\n".join(
        [
            "Keys of a spec",
            *_listed(_overview()),
            "",
            "nnrun help KEY             what may stand there, such as nnrun help layers",
            "nnrun help KEY.COMPONENT   such as nnrun help layers.lstm, or nnrun help lstm",
            "nnrun help COMMAND         such as nnrun help train",
        ]
    )


def _page(topic: Topic) -> str:
    blocks = [[topic.path]]
    facts = {"Default": topic.default, "Allowed": "" if topic.components else topic.allowed}
    facts["Also written"] = ", ".join(topic.aliases)
    lines = [f"{name}: {value}" for name, value in facts.items() if value]
    if topic.text:
        blocks.append(_prose(topic.text))
    if lines:
        blocks.append([line for each in lines for line in _wrapped(each)])
    if topic.keys:
        blocks.append(["Keys", *_keys(topic)])
    if topic.components:
        blocks.append(["One of", *_listed(topic.components)])
    blocks.append(["Example", *(f"{_INDENT}{line}" for line in topic.example.splitlines())])
    return "\n\n".join("\n".join(block) for block in blocks)


def _prose(text: str) -> list[str]:
    """Paragraphs, broken anew for this screen; what is set in is left as it is."""
    lines: list[str] = []
    for part in text.split("\n\n"):
        set_in = any(line.startswith(" ") for line in part.splitlines())
        lines += ["", *([f"{_INDENT}{line}" for line in part.splitlines()] if set_in else _wrapped(part))]
    return lines[1:]


def _wrapped(text: str) -> list[str]:
    filled = paragraph(" ".join(text.split()), text_width() - len(_INDENT))
    return [f"{_INDENT}{line}" for line in filled.splitlines()]


def _keys(topic: Topic) -> list[str]:
    rows = [[key.name, "required" if key.default is None else key.default] for key in topic.keys]
    return _beside(zip(table(rows).splitlines(), (key.allowed for key in topic.keys), strict=True))


def _listed(named: Mapping[str, str]) -> list[str]:
    """Names and what they are."""
    return _beside(named.items())


def _beside(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Two columns, of which the second is broken between words."""
    rows = list(pairs)
    width = max(len(left) for left, _ in rows) + 3
    lines = []
    for left, right in rows:
        first, *more = textwrap.wrap(right, max(20, text_width() - width - len(_INDENT))) or [""]
        lines.append(f"{_INDENT}{left:<{width}}{first}".rstrip())
        lines += [f"{_INDENT}{'':<{width}}{part}" for part in more]
    return lines
