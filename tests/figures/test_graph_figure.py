"""The figure of a graph: what its boxes hold, and that its texts fit them."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon

from nnrun.figures.curve_figure import save
from nnrun.figures.graph_figure import Box, graph_figure

TWO_HEADS = [
    Box("input", "input x", ("columns a, b", "→ 2")),
    Box("layer", "dense, relu", ("trunk.1 → 16", "48 parameters"), (0,)),
    Box("layer", "dense, softmax", ("a.1 → 3", "shared head"), (1,), shared=True),
    Box("merge", "concatenate", ("b.0 → 18",), (0, 1)),
    Box("output", "output a", ("categorical_crossentropy", "target species, one_hot"), (2,)),
    Box("output", "output b", ("0.25 * mse",), (3,)),
]


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_every_line_of_every_box_is_written() -> None:
    figure = graph_figure(TWO_HEADS)
    assert texts_of(figure) == [line for box in TWO_HEADS for line in (box.title, *box.lines)]


def test_texts_fit_their_boxes() -> None:
    long = Box("layer", "multi_head_attention, 12 heads of 64", ("a_long_name.10.2 → (200, 768)",), (0,))
    figure = graph_figure([TWO_HEADS[0], long])
    renderer = FigureCanvasAgg(figure).get_renderer()
    frames = [
        patch.get_window_extent(renderer)
        for patch in figure.axes[0].patches
        if isinstance(patch, FancyBboxPatch)
    ]
    for text in figure.axes[0].texts:
        drawn = text.get_window_extent(renderer)
        assert any(frame.x0 <= drawn.x0 and drawn.x1 <= frame.x1 for frame in frames), text.get_text()
        assert any(frame.y0 <= drawn.y0 and drawn.y1 <= frame.y1 for frame in frames), text.get_text()


def test_a_long_line_is_cut() -> None:
    (title,) = texts_of(graph_figure([Box("layer", "x" * 100)]))
    assert title == "x" * 37 + "…"


def test_a_dollar_sign_is_no_formula() -> None:
    (title,) = texts_of(graph_figure([Box("input", "input $a$")]))
    assert title == r"input \$a\$"


def test_shared_layers_are_dashed() -> None:
    frames = [p for p in graph_figure(TWO_HEADS).axes[0].patches if isinstance(p, FancyBboxPatch)]
    assert sum(frame.get_linestyle() == "--" for frame in frames) == 1


def test_an_arrow_for_each_that_is_taken() -> None:
    heads = [patch for patch in graph_figure(TWO_HEADS).axes[0].patches if isinstance(patch, Polygon)]
    assert len(heads) == sum(len(box.takes) for box in TWO_HEADS)


def test_files_of_equal_figures_are_equal(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg", "a.png"):
        save(graph_figure(TWO_HEADS), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_huge_figure_has_fewer_dots_to_the_inch() -> None:
    """400 branches side by side are 400 inches."""
    boxes = [Box("input", "input"), *(Box("layer", "dense", (), (0,)) for _ in range(400))]
    figure = graph_figure(boxes)
    width, height = figure.get_size_inches() * figure.dpi
    assert width < 2**16
    assert width * height <= 100e6
