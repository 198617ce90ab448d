"""Where the boxes of a directed acyclic graph stand, in layers from top to bottom, and lines between them.

Sugiyama's method ("Methods for Visual Understanding of Hierarchical System Structures", 1981): a box stands
one layer below the lowest that it takes (longest-path layering); a line that passes layers keeps a place in
each of them, so that it crosses no box; the order within a layer follows the mean place of the neighbours
(barycenters), the places then follow from the order by isotonic regression. A graph too tall for a page is
cut into columns where everything that follows hangs on one box.

Lengths are in inches; y grows downwards.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Point = tuple[float, float]

_GAP, _LAYER_GAP, _COLUMN_GAP = 0.3, 0.3, 0.5
_COLUMN_HEAD = 0.6  # room above and below columns for the lines between them
_ENTRY_WIDTH, _ENTRY_GAP = 0.7, 0.13  # lines arrive at this part of a box's upper side, so far apart
_LINE_WIDTH = 0.12  # room of a line that passes a layer
_ORDER_SWEEPS, _PLACE_SWEEPS = 12, 60
_STILL = 1e-3  # places have settled when none moves further
_TALLEST_COLUMN = 10.0
_MOST_COLUMNS = 40
_FLATTEST = 1.0  # height over width from which on a taller picture is cut
_BOX_FIRMNESS, _LINE_FIRMNESS = 100.0, 1.0  # where both want one place, the line makes way


@dataclass(frozen=True)
class Line:
    """A part of an arrow.

    Attributes:
        points: from one to the next the line is straight if that is vertical, else an S; an `angular` line is
            straight everywhere.
        arrow: whether it ends at a box.
        angular: whether it leads from the foot of a column to the head of the next.
    """

    points: tuple[Point, ...]
    arrow: bool = True
    angular: bool = False


@dataclass(frozen=True)
class Layout:
    """Attributes:
    centres: of the boxes, in their order.
    lines: between them.
    size: width and height of all; the left upper corner is (0, 0).
    """

    centres: tuple[Point, ...]
    lines: tuple[Line, ...]
    size: Point


def layered_layout(sizes: Sequence[Point], takes: Sequence[Sequence[int]]) -> Layout:
    """Place boxes and the lines between them.

    Args:
        sizes: width and height of each box.
        takes: for each box those before it that it takes.
    """
    graph = _layered(sizes, takes)
    _order(graph)
    _place(graph)
    columns = _columns(graph)
    return _drawn(graph, columns)


@dataclass
class _Layered:
    """A graph whose every line leads from a layer to the next: long ones have a place in each layer between.

    Attributes:
        sizes: of boxes, then of the places of lines, whose height is 0.
        boxes: how many are boxes.
        layers: their indices, layer by layer, each from left to right.
        above, below: what each is connected with, in the layers beside its own.
        x: of their centres.
    """

    sizes: list[Point]
    boxes: int
    layers: list[list[int]]
    above: list[list[int]]
    below: list[list[int]]
    x: list[float] = field(default_factory=list)

    def width(self, index: int) -> float:
        return self.sizes[index][0]

    def is_box(self, index: int) -> bool:
        return index < self.boxes


def _layered(sizes: Sequence[Point], takes: Sequence[Sequence[int]]) -> _Layered:
    """The boxes in layers. Lines from one box to several further down are one line as far as they can be."""
    depth: list[int] = []
    for sources in takes:
        depth.append(1 + max((depth[source] for source in sources), default=-1))
    layers: list[list[int]] = [[] for _ in range(1 + max(depth, default=-1))]
    graph = _Layered(list(sizes), len(sizes), layers, [[] for _ in sizes], [[] for _ in sizes])
    passing: dict[tuple[int, int], int] = {}  # a box, and a layer that lines from it pass
    for target, sources in enumerate(takes):
        for source in dict.fromkeys(sources):
            last = source
            for layer in range(depth[source] + 1, depth[target]):
                if (source, layer) not in passing:
                    passing[source, layer] = len(graph.sizes)
                    graph.sizes.append((_LINE_WIDTH, 0.0))
                    graph.above.append([])
                    graph.below.append([])
                    _connect(graph, last, passing[source, layer])
                last = passing[source, layer]
            _connect(graph, last, target)
    _first_order(graph)
    return graph


def _connect(graph: _Layered, upper: int, lower: int) -> None:
    graph.below[upper].append(lower)
    graph.above[lower].append(upper)


def _first_order(graph: _Layered) -> None:
    """Depth first, boxes before lines: branches stand side by side, and what passes them at their right."""
    for below in graph.below:
        below.sort(key=lambda index: (not graph.is_box(index), index))
    depth = {index: 0 for index in range(graph.boxes) if not graph.above[index]}
    waiting, seen = list(depth)[::-1], set[int]()
    while waiting:
        index = waiting.pop()
        if index in seen or not seen.issuperset(graph.above[index]):
            continue
        seen.add(index)
        own = 1 + max((depth[upper] for upper in graph.above[index]), default=-1)
        depth[index] = own
        graph.layers[own].append(index)
        waiting += graph.below[index][::-1]


# --- order -------------------------------------------------------------------------------------------------


def _order(graph: _Layered) -> None:
    """Fewer crossings: each layer in the order of its neighbours' mean places, above and below in turn."""
    best, fewest = [list(layer) for layer in graph.layers], _crossings(graph)
    for sweep in range(_ORDER_SWEEPS):
        if not fewest:
            break
        downwards = sweep % 2 == 0
        neighbours = graph.above if downwards else graph.below
        for layer in graph.layers if downwards else graph.layers[::-1]:
            place = {index: at for of in graph.layers for at, index in enumerate(of)}
            means = {i: _mean([place[n] for n in neighbours[i]], place[i]) for i in layer}
            layer.sort(key=means.__getitem__)
        crossings = _crossings(graph)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in graph.layers], crossings
    graph.layers = best


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _crossings(graph: _Layered) -> int:
    """Pairs of lines between two layers that cross."""
    count = 0
    for upper, lower in pairwise(graph.layers):
        place = {index: at for at, index in enumerate(lower)}
        ends: list[int] = []
        for index in upper:
            below = sorted(place[other] for other in graph.below[index])
            count += sum(len(ends) - bisect_right(ends, end) for end in below)
            for end in below:
                insort(ends, end)
    return count


# --- places ------------------------------------------------------------------------------------------------


def _place(graph: _Layered) -> None:
    """Each as near as can be to where its neighbours are, layer by layer, above and below in turn."""
    graph.x = [0.0] * len(graph.sizes)
    for layer in graph.layers:
        offsets = _offsets(graph, layer)
        for index, offset in zip(layer, offsets, strict=True):
            graph.x[index] = offset - offsets[-1] / 2
    before: list[float] = []
    for sweep in range(_PLACE_SWEEPS):
        downwards = sweep % 2 == 0
        if downwards:
            if before and max(abs(x - other) for x, other in zip(graph.x, before, strict=True)) < _STILL:
                return
            before = list(graph.x)
        for layer in graph.layers if downwards else graph.layers[::-1]:
            wanted = [_wanted(graph, index, downwards) for index in layer]
            firmness = [_BOX_FIRMNESS if graph.is_box(index) else _LINE_FIRMNESS for index in layer]
            for index, x in zip(layer, _apart(wanted, firmness, _offsets(graph, layer)), strict=True):
                graph.x[index] = x


def _offsets(graph: _Layered, layer: Sequence[int]) -> list[float]:
    """The centres of a layer as near to each other as they may be, the first at 0."""
    found = [0.0]
    for left, right in pairwise(layer):
        found.append(found[-1] + (graph.width(left) + graph.width(right)) / 2 + _GAP)
    return found


def _wanted(graph: _Layered, index: int, downwards: bool) -> float:
    """Where a box or line would stand alone: boxes below boxes, and a line straight."""
    beside = graph.above[index] if downwards else graph.below[index]
    other = graph.below[index] if downwards else graph.above[index]
    if graph.is_box(index):
        boxes = [n for n in beside if graph.is_box(n)]
        return _mean([graph.x[n] for n in boxes or beside], graph.x[index])
    for neighbours in (beside, other):
        lines = [n for n in neighbours if not graph.is_box(n)]
        if lines:
            return _mean([graph.x[n] for n in lines], 0.0)
    return _mean([graph.x[n] for n in [*beside, *other]], 0.0)


def _apart(wanted: Sequence[float], firmness: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """The places nearest to those wanted, by weighted squares, that are as far apart as their offsets.

    Without their offsets the places must not fall, which is isotonic regression: those that would are pooled.
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, members
    for place, weight, offset in zip(wanted, firmness, offsets, strict=True):
        block = (place - offset, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, other, members = blocks.pop()
            total = other + block[1]
            block = ((mean * other + block[0] * block[1]) / total, total, members + block[2])
        blocks.append(block)
    means = [mean for mean, _, members in blocks for _ in range(members)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


# --- columns -----------------------------------------------------------------------------------------------


def _columns(graph: _Layered) -> list[list[int]]:
    """The layers by their places, column by column: as few columns as give a picture that fits a page."""
    parts = _parts(graph)
    columns = [list(range(len(graph.layers)))]
    for count in range(2, min(_MOST_COLUMNS, len(parts)) + 1):
        height = max(_height(graph, column) for column in columns)
        width = sum(right - left for left, right in (_span(graph, column) for column in columns))
        if height <= max(_TALLEST_COLUMN, _FLATTEST * width):
            break
        columns = _balanced(graph, parts, count)
    return columns


def _balanced(graph: _Layered, parts: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """The parts in so many columns or fewer, of which the tallest is as low as can be."""
    whole = _height(graph, range(len(graph.layers)))
    low, high = whole / count, whole
    while high - low > _LAYER_GAP / 4:
        middle = (low + high) / 2
        low, high = (low, middle) if len(_filled(graph, parts, middle)) <= count else (middle, high)
    return _filled(graph, parts, high)


def _parts(graph: _Layered) -> list[list[int]]:
    """Layers that stay together: between two parts all lines come from one box or line."""
    parts: list[list[int]] = [[]]
    for place, layer in enumerate(graph.layers):
        if place and sum(bool(graph.below[index]) for index in graph.layers[place - 1]) == 1:
            alone = all(graph.above[index] for index in layer)
            parts += [[]] if alone else []
        parts[-1].append(place)
    return parts


def _filled(graph: _Layered, parts: Sequence[Sequence[int]], height: float) -> list[list[int]]:
    """The parts in columns, each as full as this height allows; a part that is taller stands alone."""
    columns: list[list[int]] = [[]]
    for part in parts:
        if columns[-1] and _height(graph, [*columns[-1], *part]) > height:
            columns.append([])
        columns[-1] += part
    return columns


def _band(graph: _Layered, layer: int) -> float:
    """The height of a layer."""
    return max(graph.sizes[index][1] for index in graph.layers[layer])


def _height(graph: _Layered, layers: Sequence[int]) -> float:
    return sum(_band(graph, layer) + _LAYER_GAP for layer in layers) - _LAYER_GAP


def _span(graph: _Layered, layers: Sequence[int]) -> tuple[float, float]:
    """From where to where these layers reach."""
    members = [index for layer in layers for index in graph.layers[layer]]
    left = min(graph.x[index] - graph.width(index) / 2 for index in members)
    return left, max(graph.x[index] + graph.width(index) / 2 for index in members)


# --- lines -------------------------------------------------------------------------------------------------


@dataclass
class _Page:
    """A graph with its columns side by side.

    Attributes:
        graph: the graph; `x` is that of the page.
        top: the upper edge of each layer.
        y: of the centres of boxes, and of the places of lines.
        gutters: the first layer of each column but the first → where the line leads up to it.
    """

    graph: _Layered
    top: list[float]
    y: dict[int, float]
    gutters: dict[int, float]

    def foot(self, layer: int) -> float:
        return self.top[layer] + _band(self.graph, layer)

    def way_out(self, index: int, layer: int) -> tuple[Point, Point]:
        """From a box, or a line's place, to the foot of its layer."""
        x, edge = self.graph.x[index], self.foot(layer)
        if self.graph.is_box(index):
            edge = self.y[index] + self.graph.sizes[index][1] / 2
        return (x, edge), (x, self.foot(layer))

    def way_in(self, index: int, layer: int, at: float) -> tuple[Point, Point]:
        """From the head of a layer to a box at this x; or past the layer."""
        head = self.top[layer]
        if not self.graph.is_box(index):
            return (self.graph.x[index], head), (self.graph.x[index], self.foot(layer))
        return (at, head), (at, self.y[index] - self.graph.sizes[index][1] / 2)

    def entries(self, index: int) -> dict[int, float]:
        """Where the lines from above arrive at a box: as near to where they come from as it is wide."""
        half = _ENTRY_WIDTH * self.graph.width(index) / 2
        centre, above = self.graph.x[index], sorted(self.graph.above[index], key=self.graph.x.__getitem__)
        wanted = [min(max(self.graph.x[other], centre - half), centre + half) for other in above]
        gap = min(_ENTRY_GAP, 2 * half / max(1, len(above) - 1))
        offsets = [gap * place for place in range(len(above))]
        return dict(zip(above, _apart(wanted, [1.0] * len(above), offsets), strict=True))


def _drawn(graph: _Layered, columns: Sequence[Sequence[int]]) -> Layout:
    """The layout, with the columns side by side."""
    head = _COLUMN_HEAD if len(columns) > 1 else 0.0
    page = _Page(graph, [0.0] * len(graph.layers), {}, {})
    left = height = 0.0
    for column in columns:
        begin, end = _span(graph, column)
        page.gutters[column[0]] = left - _COLUMN_GAP / 2
        y = head
        for layer in column:
            page.top[layer] = y
            for index in graph.layers[layer]:
                graph.x[index] += left - begin
                page.y[index] = y + _band(graph, layer) / 2
            y += _band(graph, layer) + _LAYER_GAP
        left += end - begin + _COLUMN_GAP
        height = max(height, y - _LAYER_GAP + head / 4)
    entries = [page.entries(index) for index in range(len(graph.sizes))]
    lines: list[Line] = []
    for layer in range(len(graph.layers) - 1):
        if layer + 1 in page.gutters:
            lines += _to_next_column(page, layer)
            continue
        for upper in graph.layers[layer]:
            out = page.way_out(upper, layer)
            for lower in graph.below[upper]:
                way = (*out, *page.way_in(lower, layer + 1, entries[lower][upper]))
                lines.append(Line(tuple(dict.fromkeys(way)), graph.is_box(lower)))
    centres = tuple((graph.x[index], page.y[index]) for index in range(graph.boxes))
    return Layout(centres, tuple(lines), (max(left - _COLUMN_GAP, 0.0), height))


def _to_next_column(page: _Page, layer: int) -> list[Line]:
    """The one line from the foot of a column to the head of the next, where it may fork."""
    graph = page.graph
    (upper,) = (index for index in graph.layers[layer] if graph.below[index])
    lower = graph.below[upper]
    begin, foot = page.way_out(upper, layer)
    there, gutter = graph.x[lower[0]], page.gutters[layer + 1]
    fork = (there, page.top[layer + 1] - _LAYER_GAP)
    below, above = foot[1] + _COLUMN_HEAD / 4, fork[1] - _COLUMN_HEAD / 4
    way = (begin, (begin[0], below), (gutter, below), (gutter, above), (there, above), fork)
    branches = [(other, page.way_in(other, layer + 1, graph.x[other])) for other in lower]
    return [
        Line(way, arrow=False, angular=True),
        *(Line(tuple(dict.fromkeys((fork, *to))), graph.is_box(other)) for other, to in branches),
    ]
