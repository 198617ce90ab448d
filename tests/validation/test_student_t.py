"""Student's t distribution, compared with SciPy's."""

import pytest
import scipy
from scipy.special import stdtrit

from nnrun.validation.student_t import t_quantile

# SciPy 1.15, the last for Python 3.10, is less exact than what it is compared with.
_RELATIVE = 1e-9 if scipy.__version__.startswith("1.15.") else 1e-12


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_quantiles_are_those_of_scipy(level: float) -> None:
    for degrees in (*range(1, 60), 99, 100, 1000, 1001):
        expected = float(stdtrit(degrees, (1 + level) / 2))
        assert t_quantile(degrees, level) == pytest.approx(expected, rel=_RELATIVE), degrees
