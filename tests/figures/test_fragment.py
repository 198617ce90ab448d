"""A piece of HTML for another page."""

from __future__ import annotations

from nnrun.figures.fragment import fragment
from nnrun.figures.page import Block, Paragraph, Picture, Table
from tests.support.html_text import Text


def test_text_is_escaped_and_everything_is_there() -> None:
    evil = "<script>alert('1')</script> & \x1b[2J"
    block = Block(
        evil,
        [Paragraph(evil), Paragraph("read this", "warning")],
        [Picture("<svg><path/></svg>")],
        [Table([evil, "b"], [["1", evil]], note=evil)],
    )
    found = Text(fragment(block))
    assert "script" not in found.tags
    shown = "<script>alert('1')</script> & \\x1b[2J"
    assert found.said == [shown, shown, "read this", shown, "b", "1", shown, shown]
    assert found.tags.count("svg") == 1
    assert found.tags.count("tr") == 2
