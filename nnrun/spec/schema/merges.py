"""Where a chain of layers begins: at an input, at another chain, or where several are merged.

A chain is a list of layers, each of which takes what the one before it gives. Its first item may be one of
these.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Union

from nnrun.spec.schema.component import COMPONENT, ONE_IS_ENOUGH, Component
from nnrun.spec.schema.layer_shapes import LayerInput, Shape, ShapeError, listed, merged_sizes


class From(Component):
    """The chain takes what an input or another chain gives."""

    kind = "from"
    bare = "source"
    source: Annotated[str, "source"]


class Merging(Component):
    """Base of what makes one row of several."""

    def output_shape(self, taken: Sequence[LayerInput]) -> Shape:
        """The shape of a merged row.

        Raises:
            ShapeError: rows of these shapes cannot be merged.
        """
        return merged_sizes(self, taken)

    def passes_mask(self, masked: Sequence[bool]) -> bool:
        """Whether a merged row has a mask, as Keras has it; `masked` says which of the rows have one.

        Then a step counts where it does in one of them.
        """
        return all(masked)


class Merge(Merging):
    """Base of what merges rows that inputs and other chains give; in `parallel`, those of its branches.

    Class attributes:
        most: how many it takes at most; None for any number from two on.

    Fields:
        of: names of inputs and chains; empty in `parallel`.
    """

    bare = "of"
    most: ClassVar[int | None] = None
    of: Annotated[list[str], ONE_IS_ENOUGH] = []


class Concatenate(Merge):
    """The rows one behind the other along an axis: of a row's own axes from 0, or from the last, -1.

    The sizes along all other axes must be equal. (Keras counts the batch as axis 0.)
    """

    kind = "concatenate"
    example = ["title", "tags"]
    axis: int = -1

    def output_shape(self, taken: Sequence[LayerInput]) -> Shape:
        """The sizes along the axis added up."""
        axis = axis_of(self, self.axis, taken)
        others = [(*t.shape[:axis], *t.shape[axis + 1 :]) for t in taken]
        if any(_differ(a, b) for shape in others for a, b in zip(shape, others[0], strict=True)):
            raise ShapeError(
                f"{self.kind} along axis {self.axis} takes rows whose other sizes are equal; {listed(taken)}"
            )
        sizes = [t.shape[axis] for t in taken]
        total = None if None in sizes else sum(size for size in sizes if size is not None)
        return (*taken[0].shape[:axis], total, *taken[0].shape[axis + 1 :])

    def passes_mask(self, masked: Sequence[bool]) -> bool:
        """Where one of them has one; all steps of a row without one count."""
        return any(masked)


class Add(Merge):
    """The sum, number by number."""

    kind = "add"
    example = ["title", "tags"]


class Subtract(Merge):
    """The first minus the second, number by number."""

    kind = "subtract"
    example = ["title", "tags"]
    most = 2


class Multiply(Merge):
    """The product, number by number."""

    kind = "multiply"
    example = ["title", "tags"]


class Average(Merge):
    """The mean, number by number."""

    kind = "average"
    example = ["title", "tags"]


class Maximum(Merge):
    """The largest, number by number."""

    kind = "maximum"
    example = ["title", "tags"]


class Minimum(Merge):
    """The smallest, number by number."""

    kind = "minimum"
    example = ["title", "tags"]


class Dot(Merge):
    """Products of two rows summed along an axis of each: (U) and (U) give (1), (S, U) and (T, U) give (S, T).

    The axis is one of a row's own from 0, or from the last, -1. `normalize` divides both by their length
    along it first, which gives the cosine of the angle between them. (Keras counts the batch as axis 0.)
    """

    kind = "dot"
    example = ["title", "tags"]
    most = 2
    axis: int = -1
    normalize: bool = False

    def output_shape(self, taken: Sequence[LayerInput]) -> Shape:
        """The other axes of the first, then those of the second."""
        axis = axis_of(self, self.axis, taken)
        first, second = (t.shape for t in taken)
        if len(first) > 2:
            raise ShapeError(f"dot takes rows with one or two axes; {listed(taken)}")
        if _differ(first[axis], second[axis]):
            raise ShapeError(f"dot takes rows of one size along axis {self.axis}; {listed(taken)}")
        rest = [size for shape in (first, second) for i, size in enumerate(shape) if i != axis]
        return tuple(rest) or (1,)

    def passes_mask(self, masked: Sequence[bool]) -> bool:
        """No: what it gives has no steps of the rows' own."""
        return False


def axis_of(merge: Component, axis: int, taken: Sequence[LayerInput]) -> int:
    """The place of an axis among those of a row, from 0; ShapeError unless all rows have it."""
    ranks = {len(t.shape) for t in taken}
    if len(ranks) > 1:
        raise ShapeError(f"{merge.kind} takes rows with equally many axes; {listed(taken)}")
    (rank,) = ranks
    if not -rank <= axis < rank:
        raise ShapeError(
            f"{merge.kind}: there is no axis {axis}; {listed(taken)}, and axes are 0 to {rank - 1}, or -1 "
            "for the last",
            "axis",
        )
    return axis % rank


def _differ(a: int | None, b: int | None) -> bool:
    return a is not None and b is not None and a != b


AnyMerge = Annotated[
    Union[Concatenate, Add, Subtract, Multiply, Average, Maximum, Minimum, Dot],
    COMPONENT,
]
