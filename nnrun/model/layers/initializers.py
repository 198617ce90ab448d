"""First values of weights, as Keras draws them.

Numbers that do not depend on each other are drawn in the order of an array here; a matrix is made as Keras
has it, and turned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrun.spec import schema

Shape = tuple[int, ...]
Values = np.ndarray[Any, Any]
Initializer = Callable[[np.random.Generator, Shape], Values]

# The standard deviation of a standard normal distribution that is cut off at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978


@dataclass(frozen=True)
class Form:
    """The shape of an array, here and in Keras.

    Attributes:
        shape: here.
        axes: for each axis here which one it is in Keras.
    """

    shape: Shape
    axes: Shape

    @property
    def in_keras(self) -> Shape:
        """Its shape in Keras."""
        return tuple(size for _, size in sorted(zip(self.axes, self.shape, strict=True)))

    @property
    def fans(self) -> tuple[int, int]:
        """Fan in and fan out, as Keras counts them: a window counts in both."""
        sizes = self.in_keras
        if len(sizes) < 2:
            return (sizes or (1,))[0], (sizes or (1,))[0]
        *window, fan_in, fan_out = sizes
        places = math.prod(window)
        return fan_in * places, fan_out * places


def zeros(rng: np.random.Generator, shape: Shape) -> Values:
    """All 0."""
    return np.zeros(shape, np.float32)


def ones(rng: np.random.Generator, shape: Shape) -> Values:
    """All 1."""
    return np.ones(shape, np.float32)


def initializer_of(
    spec: schema.Component, axes: Shape | None = None, *, first_is_extra: bool = False
) -> Initializer:
    """What draws an array's first values.

    Args:
        spec: what the experiment says of it.
        axes: for each axis of the array which one it is in Keras; by default the same.
        first_is_extra: whether the first axis, of size 1, is none of Keras's.
    """
    draw = INITIALIZERS[type(spec)]

    def initial(rng: np.random.Generator, shape: Shape) -> Values:
        drawn = shape[1:] if first_is_extra else shape
        form = Form(drawn, tuple(range(len(drawn))) if axes is None else axes)
        return draw(spec, rng, form).astype(np.float32).reshape(shape)

    return initial


def _constant(spec: schema.ConstantValue, rng: np.random.Generator, form: Form) -> Values:
    return np.full(form.shape, spec.value)


def _uniform(spec: schema.RandomUniform, rng: np.random.Generator, form: Form) -> Values:
    return rng.uniform(spec.minval, spec.maxval, form.shape)


def _normal(spec: schema.RandomNormal, rng: np.random.Generator, form: Form) -> Values:
    return rng.normal(spec.mean, spec.stddev, form.shape)


def _truncated_normal(spec: schema.TruncatedNormal, rng: np.random.Generator, form: Form) -> Values:
    return spec.mean + spec.stddev * _truncated(rng, form.shape)


def _truncated(rng: np.random.Generator, shape: Shape) -> Values:
    """Standard normal numbers from -2 to 2."""
    values = rng.normal(size=shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = rng.normal(size=int(outside.sum()))
    return values


def _variance_scaling(spec: schema.VarianceScaling, rng: np.random.Generator, form: Form) -> Values:
    fan_in, fan_out = form.fans
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[spec.mode]
    fan = max(1.0, fan)
    if spec.distribution == "uniform":
        limit = math.sqrt(3.0 * spec.scale / fan)
        return rng.uniform(-limit, limit, form.shape)
    stddev = math.sqrt(spec.scale / fan)
    if spec.distribution == "untruncated_normal":
        return rng.normal(0.0, stddev, form.shape)
    return stddev / _TRUNCATED_STDDEV * _truncated(rng, form.shape)


def _scaling(**parameters: Any) -> Callable[[Any, np.random.Generator, Form], Values]:
    scaling = schema.VarianceScaling(**parameters)
    return lambda spec, rng, form: _variance_scaling(scaling, rng, form)


def _orthogonal(spec: schema.Orthogonal, rng: np.random.Generator, form: Form) -> Values:
    *others, columns = form.in_keras
    rows = math.prod(others)
    q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))  # makes the distribution uniform
    matrix = q if rows >= columns else q.T
    return _turned(spec.gain * matrix.reshape(form.in_keras), form)


def _identity(spec: schema.Identity, rng: np.random.Generator, form: Form) -> Values:
    rows, columns = form.in_keras
    return _turned(spec.gain * np.eye(rows, columns), form)


def _turned(value: Values, form: Form) -> Values:
    return np.ascontiguousarray(value.transpose(form.axes))


INITIALIZERS: Mapping[type[schema.Component], Callable[[Any, np.random.Generator, Form], Values]] = {
    schema.Zeros: lambda spec, rng, form: zeros(rng, form.shape),
    schema.Ones: lambda spec, rng, form: ones(rng, form.shape),
    schema.ConstantValue: _constant,
    schema.RandomUniform: _uniform,
    schema.RandomNormal: _normal,
    schema.TruncatedNormal: _truncated_normal,
    schema.VarianceScaling: _variance_scaling,
    schema.GlorotUniform: _scaling(mode="fan_avg", distribution="uniform"),
    schema.GlorotNormal: _scaling(mode="fan_avg"),
    schema.HeUniform: _scaling(scale=2.0, distribution="uniform"),
    schema.HeNormal: _scaling(scale=2.0),
    schema.LecunUniform: _scaling(distribution="uniform"),
    schema.LecunNormal: _scaling(),
    schema.Orthogonal: _orthogonal,
    schema.Identity: _identity,
}
