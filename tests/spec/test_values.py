import pytest

from nnrun.spec.values import is_value


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        (1, 1.0, True),
        (1.5, "1.5", True),
        ("1.50", 1.5, True),
        ("1.50", "1.5", False),  # a text is a text: 007 is not 7
        ("a", "a", True),
        ("a", "A", False),
        (True, "true", True),
        (True, "True ", True),
        (False, "true", False),
        (True, 1.0, True),
        (True, "1", False),
        (3, "three", False),
        ("nan", float("nan"), False),
    ],
)
def test_what_is_the_same_value(wanted: bool | int | float | str, found: float | str, same: bool) -> None:
    assert is_value(wanted, found) is same
