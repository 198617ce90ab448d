"""Layers that do something while training alone."""

from typing import Annotated, Union

from pydantic import Field

from nnrun.spec.schema.component import Decay, NonNegative
from nnrun.spec.schema.layer_shapes import IMAGE, STEPS, LayerInput, NetworkLayer, Shape, needs


class Dropout(NetworkLayer):
    """While training, zero a share `rate` of the inputs and scale the rest by 1 / (1 - rate)."""

    kind = "dropout"
    ensemble = "own"
    mask = "keeps"
    bare = "rate"
    rate: Annotated[float, Field(ge=0, lt=1)]


class SpatialDropout(NetworkLayer):
    """Dropout of whole channels: of a row a channel is zero at all steps or places, or at none."""

    kind = "spatial_dropout"
    ensemble = "own"
    mask = "keeps"
    bare = "rate"
    rate: Decay

    def output_shape(self, taken: LayerInput) -> Shape:
        """As the layer takes it."""
        if len(taken.shape) not in (2, 3):
            raise needs(self, f"{STEPS} or {IMAGE}", "use dropout for rows of numbers", taken)
        return taken.shape


class GaussianNoise(NetworkLayer):
    """While training, add normal numbers of mean 0."""

    kind = "gaussian_noise"
    ensemble = "own"
    mask = "keeps"
    bare = "stddev"
    stddev: NonNegative


class GaussianDropout(NetworkLayer):
    """While training, multiply by normal numbers of mean 1 and standard deviation sqrt(rate / (1 - rate))."""

    kind = "gaussian_dropout"
    ensemble = "own"
    mask = "keeps"
    bare = "rate"
    rate: Decay


class AlphaDropout(NetworkLayer):
    """Dropout that keeps mean and variance of what selu gives (Klambauer et al. 2017)."""

    kind = "alpha_dropout"
    ensemble = "own"
    mask = "keeps"
    bare = "rate"
    rate: Decay


RegularizationLayer = Union[Dropout, SpatialDropout, GaussianNoise, GaussianDropout, AlphaDropout]
