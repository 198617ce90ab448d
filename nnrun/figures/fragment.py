"""Paragraphs, tables and figures as a piece of HTML that stands in another page, such as a notebook's.

It brings its few rules in `style` attributes: a page may show many such pieces, and has its own style sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from nnrun.errors import printable
from nnrun.figures.page import Block, Paragraph, Table

# The names that `inline_svg` draws with; text has the page's own colour, on light and on dark pages.
_AROUND: Final = "--grid:#8884;--muted:#888;--blue:#2a8fd0;max-width:46rem"
_CELL: Final = "padding:.15em .9em .15em 0;text-align:{};white-space:nowrap"
_LOOKS: Final = {"": "", "verdict": "", "muted": "opacity:.75;font-size:90%", "warning": "font-weight:600"}


def fragment(block: Block) -> str:
    """A block as HTML. All text is escaped; only the figures are taken as they are."""
    parts = [f"<strong>{_text(block.title)}</strong>"] if block.title else []
    parts += map(_paragraph, block.paragraphs)
    parts += map(_table, block.tables)
    parts += [f'<div style="max-width:34rem">{picture.svg}</div>' for picture in block.figures]
    return f'<div class="nnrun" style="{_AROUND}">\n' + "\n".join(parts) + "\n</div>"


def _text(text: str) -> str:
    return escape(printable(text))


def _paragraph(paragraph: Paragraph) -> str:
    return f'<p style="margin:.3em 0;{_LOOKS[paragraph.kind]}">{_text(paragraph.text)}</p>'


def _table(table: Table) -> str:
    rows = [_row("th", table.headings, table.words), *(_row("td", row, table.words) for row in table.rows)]
    note = _paragraph(Paragraph(table.note, "muted")) if table.note else ""
    return f'<table style="border-collapse:collapse">{"".join(rows)}</table>{note}'


def _row(kind: str, cells: Sequence[str], words: bool) -> str:
    aligned = ["left" if words or place == 0 else "right" for place in range(len(cells))]
    made = [
        f'<{kind} style="{_CELL.format(side)}">{_text(cell)}</{kind}>'
        for cell, side in zip(cells, aligned, strict=True)
    ]
    return f"<tr>{''.join(made)}</tr>"
