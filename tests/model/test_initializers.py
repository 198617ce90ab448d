"""First values are drawn as Keras draws them."""

from __future__ import annotations

import numpy as np
import pytest

from nnrun.model.layers.initializers import INITIALIZERS, Values, initializer_of
from nnrun.spec import schema
from tests.support import keras_values
from tests.support.keras_values import KERNEL

KINDS = schema.components(schema.Initializer)
# Of a convolution's kernel: (out, in, *window) here, (*window, in, out) in Keras.
AXES = (3, 2, 0, 1)
SHAPE = (60, 40, 3, 2)


def drawn(
    kind: str, shape: tuple[int, ...], axes: tuple[int, ...] | None = None, **parameters: object
) -> Values:
    initializer = initializer_of(KINDS[kind].model_validate(parameters), axes)
    return initializer(np.random.default_rng(3), shape)


def test_every_initializer_of_the_schema_has_its_function() -> None:
    assert set(INITIALIZERS) == set(KINDS.values()), "an initializer needs its line in INITIALIZERS"
    recorded = {kind for kind, _ in keras_values.INITIALIZERS.values()}
    assert recorded == KINDS.keys() - {"identity"}, "its case belongs into tests/support/keras_values.py"


@pytest.mark.parametrize("case", keras_values.INITIALIZERS)
def test_a_kernel_begins_as_in_keras(case: str) -> None:
    """Of 14,400 numbers; both sides are random."""
    kind, parameters = keras_values.INITIALIZERS[case]
    values = drawn(kind, SHAPE, AXES, **parameters)
    assert (values.shape, values.dtype) == (SHAPE, np.float32)
    mean, deviation, least, largest = keras_values.keras_values("initializers")[case]
    error = deviation / np.sqrt(values.size)
    assert values.mean() == pytest.approx(mean, abs=10 * error + 1e-6)
    assert values.std() == pytest.approx(deviation, abs=7 * error + 1e-6)
    bounded = "uniform" in case or parameters.get("distribution") == "uniform" or "truncated" in case
    tail = 0.02 if bounded else 0.5
    assert values.min() == pytest.approx(least, abs=tail * (largest - least) / 2 + 1e-6)
    assert values.max() == pytest.approx(largest, abs=tail * (largest - least) / 2 + 1e-6)


def test_an_orthogonal_kernel_is_a_matrix_of_everything_by_the_outputs() -> None:
    matrix = drawn("orthogonal", SHAPE, AXES, gain=2.0).transpose(2, 3, 1, 0).reshape(-1, KERNEL[-1])
    np.testing.assert_allclose(matrix.T @ matrix, 4 * np.eye(KERNEL[-1]), atol=1e-4)


def test_identity_is_one_on_the_diagonal() -> None:
    assert drawn("identity", (2, 3), gain=0.5).tolist() == [[0.5, 0, 0], [0, 0.5, 0]]


def test_a_row_counts_as_a_vector() -> None:
    """Keras's bias has one axis: its fans are both the number of units."""
    draw = initializer_of(schema.LecunUniform(), first_is_extra=True)
    values = draw(np.random.default_rng(3), (1, 300))
    assert values.shape == (1, 300)
    assert 0.97 * 0.1 < np.abs(values).max() <= np.float32(0.1)
