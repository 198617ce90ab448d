"""Figures as SVG that stands inside a page and takes the page's colours."""

from __future__ import annotations

import io
import re

from matplotlib import rc_context
from matplotlib.figure import Figure

from nnrun.figures.style import any_script

# What is drawn in these colours is drawn in the page's: text and axes, grid lines, remarks, and the first of
# the runs, whose blue is too dark for a dark page.
_PAGE_COLOURS = {
    "#000000": "currentColor",
    "#dddddd": "var(--grid)",
    "#5a5a5a": "var(--muted)",
    "#0072b2": "var(--blue)",
}
_NO_FILE = re.compile(r"^.*?(?=<svg)", re.DOTALL)  # the XML declaration and document type of a file
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_SIZE = re.compile(r'(<svg[^>]*?) width="[^"]*"', re.DOTALL)
_HEIGHT = re.compile(r'(<svg[^>]*?) height="[^"]*"', re.DOTALL)


def inline_svg(figure: Figure, title: str, salt: str) -> str:
    """An `<svg>` element as wide as its surroundings; equal figures give equal text.

    Args:
        figure: without a background of its own.
        title: read aloud in place of the figure.
        salt: another for each figure of a page, since names inside an SVG hold for the whole page.
    """
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": salt, "svg.fonttype": "path"}), any_script():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = _METADATA.sub("", _NO_FILE.sub("", buffer.getvalue()))
    text = _HEIGHT.sub(r"\1", _SIZE.sub(r"\1", text))
    for colour, of_page in _PAGE_COLOURS.items():
        text = re.sub(colour, of_page, text, flags=re.IGNORECASE)
    # Shapes without a colour are black, and so are letters drawn as shapes.
    return text.replace(
        "<svg", f'<svg fill="currentColor" role="img" aria-label="{_escaped(title)}"', 1
    ).strip()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
