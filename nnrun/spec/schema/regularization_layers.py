"""Layers that do something while training alone."""

from __future__ import annotations

from typing import Annotated, Union

from pydantic import Field

from nnrun.spec.schema.layer_base import NetworkLayer


class Dropout(NetworkLayer):
    """While training, zero a share `rate` of the inputs and scale the rest by 1 / (1 - rate)."""

    kind = "dropout"
    mask = "keeps"
    bare = "rate"
    rate: Annotated[float, Field(ge=0, lt=1)]


RegularizationLayer = Union[Dropout]
