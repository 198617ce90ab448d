"""A page of text, tables and figures as one HTML file that fetches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nnrun.errors import printable


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `kind` decides how it looks."""

    text: str
    kind: Literal["", "verdict", "muted", "warning"] = ""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        headings, rows: text by text.
        note: stands below.
        words: all columns to the left; else all but the first to the right.
        texts: for each row a text of any length, which stands below it: two lines, and all of it on a click.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: bool = False
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A figure of a page.

    Attributes:
        svg: an `<svg>` element.
        note: stands under it.
        detailed: it is not made small on a phone.
        width: in inches, of one that keeps its size and is scrolled where it is too wide; else it is as wide
            as the text.
    """

    svg: str
    note: str = ""
    detailed: bool = False
    width: float | None = None


@dataclass(frozen=True)
class Block:
    """Paragraphs, figures, tables and program text, in this order; what is empty is left out.

    `folded` is the line behind which the program text is folded away.
    """

    title: str = ""
    paragraphs: Sequence[Paragraph] = ()
    figures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    code: str = ""
    folded: str = ""


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    subtitle: str
    sections: Sequence[Section]


def render(page: Page) -> str:
    """The page as HTML. All text is escaped; only the figures are taken as they are."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def finalize(value: object) -> object:
        return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=PackageLoader("nnrun.figures", "."),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(page=page)
