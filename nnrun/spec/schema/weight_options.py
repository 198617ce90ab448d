"""What a layer says of its weights beside their shapes: regularizers."""

from __future__ import annotations

from typing import Annotated, Union

from nnrun.spec.schema.component import COMPONENT, Component, NonNegative


class L1(Component):
    """l1 * sum(|w|), added to the loss."""

    kind = "l1"
    bare = "l1"
    l1: NonNegative = 0.01


class L2(Component):
    """l2 * sum(w²), added to the loss."""

    kind = "l2"
    bare = "l2"
    l2: NonNegative = 0.01


class L1L2(Component):
    """l1 * sum(|w|) + l2 * sum(w²), added to the loss."""

    kind = "l1_l2"
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0


Regularizer = Annotated[Union[L1, L2, L1L2], COMPONENT]
