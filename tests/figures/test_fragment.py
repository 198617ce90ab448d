"""A piece of HTML for another page."""

from __future__ import annotations

from html.parser import HTMLParser

from nnrun.figures.fragment import fragment
from nnrun.figures.page import Block, Paragraph, Picture, Table


class Text(HTMLParser):
    """The text of a piece of HTML, and whether each tag that is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.said: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.said.append(data.strip())


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
