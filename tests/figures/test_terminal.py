import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nnrun.figures.curve_figure import Curve
from nnrun.figures.terminal import terminal_plot

AT = np.arange(1.0, 21)
CURVE = Curve("reuters", AT, 3 / AT, 1 + (AT - 9) ** 2 / 100, best_epoch=9)

WHOLE_SCREEN = """\
Training and validation loss, best at epoch 9
   3 │·
     │
     │                                                  ⣀⡤⠴⠒
     │⣀⡀                                          ⣀⣠⠤⠖⠚⠉
     │ ⠈⠉⠓⠒⠦⠤⢄⣀⣀⡀                        ⢀⣀⣀⠤⠤⠖⠒⠋⠉
     │      ·   ⠉⠉⠉⠓⠒⠒⠒⠒⠲⠤⠤⠤⠤⠤⠤⠤⠴⠒⠒⠒⠒⠒⠋⠉⠉⠁
     │        ·  ·  ·  ·  ·
0.15 │                      ·  ·  ·  · ·  ·  ·  ·  · ·  ·  ·
      1                                                   20
· training   ⠒⠒ validation
"""

ASCII_SCREEN = """\
Training and validation MAE, reuters, smoothed (0.9), best at epoch 9
  3 |.
    |oo                          ooooooo
    | oooooooooooooooooooooooooooo
0.1 |         . . .. . . .. . . . .. . .
     1                                20
Training and validation MAE, boston, smoothed (0.9)
  3 |
    |.
    |  . .
0.1 |     . . . . .. . . .. . . . .. . .
     1                                20
. training   o validation
"""


def test_the_whole_screen() -> None:
    assert terminal_plot("loss", [CURVE], width=60, height=8) + "\n" == WHOLE_SCREEN


def test_the_whole_screen_in_ascii() -> None:
    two = [CURVE, Curve("boston", AT, 2 / AT)]
    text = terminal_plot("mae", two, width=40, height=4, note="smoothed (0.9)", ascii_only=True)
    assert text + "\n" == ASCII_SCREEN


def test_colour_adds_nothing_but_colour() -> None:
    plain = terminal_plot("loss", [CURVE], width=60)
    coloured = terminal_plot("loss", [CURVE], width=60, colour=True)
    assert coloured != plain
    assert coloured.replace("\x1b[36m", "").replace("\x1b[0m", "") == plain


numbers = st.floats(width=32)


@given(
    st.lists(st.tuples(numbers, numbers), min_size=1, max_size=40), st.integers(1, 120), st.integers(1, 20)
)
def test_any_curve_fits_into_the_width(pairs: list[tuple[float, float]], width: int, height: int) -> None:
    training, validation = np.array(pairs, dtype=float).T
    curve = Curve("run", np.arange(1.0, len(pairs) + 1), training, validation)
    _, *lines, _ = terminal_plot("loss", [curve], width=width, height=height).split("\n")
    assert len(lines) == height + 1
    assert max(map(len, lines)) <= max(width, 10 + 2 + 11)  # ten cells at least, and room for `-1.234e+300`
