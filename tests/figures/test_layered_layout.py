"""Boxes in layers: where they stand, and lines that cross none of them."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.figures.layered_layout import Layout, Point, layered_layout

SIZE = (1.6, 0.6)
TINY = 1e-6

Takes = list[list[int]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Point], Takes]:
    """Up to 16 boxes of different sizes, each of which takes some of those before it."""
    takes: Takes = [[]]
    for place in range(1, draw(st.integers(1, 16))):
        nearest = draw(st.integers(1, place))
        sources = st.integers(max(0, place - nearest), place - 1)
        takes.append(draw(st.lists(sources, min_size=draw(st.integers(0, 1)), max_size=4)))
    widths, heights = st.sampled_from([0.9, 1.6, 3.0]), st.sampled_from([0.35, 0.6, 0.9])
    return [draw(st.tuples(widths, heights)) for _ in takes], takes


def rectangle(size: Point, centre: Point) -> tuple[float, float, float, float]:
    """Left, right, upper and lower edge."""
    return (
        centre[0] - size[0] / 2,
        centre[0] + size[0] / 2,
        centre[1] - size[1] / 2,
        centre[1] + size[1] / 2,
    )


def crosses(begin: Point, end: Point, box: tuple[float, float, float, float]) -> bool:
    """Whether the rectangle around a part of a line, in which it stays, reaches into a box."""
    left, right = sorted((begin[0], end[0]))
    upper, lower = sorted((begin[1], end[1]))
    return left < box[1] - TINY and right > box[0] + TINY and upper < box[3] - TINY and lower > box[2] + TINY


def boxes_of(layout: Layout, sizes: list[Point]) -> list[tuple[float, float, float, float]]:
    return [rectangle(size, centre) for size, centre in zip(sizes, layout.centres, strict=True)]


@settings(max_examples=40)
@given(graphs())
def test_no_line_crosses_a_box_and_no_boxes_overlap(graph: tuple[list[Point], Takes]) -> None:
    sizes, takes = graph
    layout = layered_layout(sizes, takes)
    boxes = boxes_of(layout, sizes)
    for one, other in combinations(boxes, 2):
        assert not crosses((one[0], one[2]), (one[1], one[3]), other)
    for line in layout.lines:
        for begin, end in pairwise(line.points):
            assert not any(crosses(begin, end, box) for box in boxes)


@settings(max_examples=20)
@given(graphs())
def test_everything_is_on_the_page(graph: tuple[list[Point], Takes]) -> None:
    sizes, takes = graph
    layout = layered_layout(sizes, takes)
    width, height = layout.size
    for left, right, upper, lower in boxes_of(layout, sizes):
        assert left > -TINY
        assert upper > -TINY
        assert right < width + TINY
        assert lower < height + TINY
    for line in layout.lines:
        assert all(-TINY < x < width + 1 and -TINY < y < height + TINY for x, y in line.points)


@settings(max_examples=20)
@given(graphs())
def test_an_arrow_arrives_for_each_that_a_box_takes(graph: tuple[list[Point], Takes]) -> None:
    sizes, takes = graph
    layout = layered_layout(sizes, takes)
    ends = [line.points[-1] for line in layout.lines if line.arrow]
    for (left, right, upper, _), sources in zip(boxes_of(layout, sizes), takes, strict=True):
        arriving = [x for x, y in ends if abs(y - upper) < TINY and left < x < right]
        assert len(arriving) == len(set(sources))


def test_a_chain_stands_in_one_column() -> None:
    layout = layered_layout([SIZE] * 5, [[], [0], [1], [2], [3]])
    assert {x for x, _ in layout.centres} == {SIZE[0] / 2}
    ys = [y for _, y in layout.centres]
    assert ys == sorted(ys)
    assert all(x == SIZE[0] / 2 for line in layout.lines for x, _ in line.points)


def test_branches_stand_side_by_side_and_what_joins_them_between() -> None:
    """One box, three branches, a merge."""
    layout = layered_layout([SIZE] * 5, [[], [0], [0], [0], [1, 2, 3]])
    top, left, middle, right, merge = layout.centres
    assert left[0] < middle[0] < right[0]
    assert left[1] == middle[1] == right[1]
    assert top[0] == pytest.approx(middle[0])
    assert merge[0] == pytest.approx(middle[0])


def test_what_passes_a_block_leaves_the_block_straight() -> None:
    """A residual: the sum takes what comes in, and the third of the layers."""
    layout = layered_layout([SIZE] * 6, [[], [0], [1], [2], [0, 3], [4]])
    assert {round(x, 6) for x, _ in layout.centres} == {SIZE[0] / 2}
    passing = [x for line in layout.lines for x, _ in line.points if x > SIZE[0]]
    assert len({round(x, 6) for x in passing}) == 1


def test_branches_are_put_in_the_order_that_crosses_least() -> None:
    """Two inputs with a branch each, declared crosswise."""
    takes = [[], [], [1], [0], [2], [3]]
    centres = layered_layout([SIZE] * 6, takes).centres
    assert (centres[0][0] < centres[1][0]) == (centres[3][0] < centres[2][0])
    assert centres[3][0] == pytest.approx(centres[0][0])
    assert centres[5][0] == pytest.approx(centres[3][0])


def test_a_long_chain_is_cut_into_columns() -> None:
    layout = layered_layout([SIZE] * 60, [[], *([i] for i in range(59))])
    columns = sorted({round(x, 6) for x, _ in layout.centres})
    assert 4 <= len(columns) <= 8
    assert max(layout.size) < 16
    assert sum(line.angular for line in layout.lines) == len(columns) - 1


def test_columns_end_between_blocks() -> None:
    """20 residual blocks of three layers: no line from within one leads into another column."""
    takes: Takes = [[]]
    for _ in range(20):
        begin = len(takes) - 1
        takes += [[begin], [begin + 1], [begin + 2], [begin, begin + 3]]
    centres = layered_layout([SIZE] * len(takes), takes).centres
    for begin in range(0, 80, 4):
        assert len({round(centres[begin + place][0], 6) for place in range(1, 5)}) == 1


def test_one_box() -> None:
    layout = layered_layout([SIZE], [[]])
    assert (layout.centres, layout.lines) == (((0.8, 0.3),), ())
    assert layout.size == pytest.approx(SIZE)
