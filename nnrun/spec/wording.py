"""Words for messages: lists of names, numbers, and the name that a mistyped one is nearest to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import PurePath
from typing import Final

from nnrun.errors import one_line

_LONGEST_QUOTE = 40
LARGE = 1e7
"""From here on scores are written with an exponent."""


_ELSEWHERE: Final = {
    "bs": "batch_size",
    "eps": "epsilon",
    "hiddensize": "units",
    "hiddenunits": "units",
    "lr": "learning_rate",
    "nestimators": "members",
    "nsplits": "k",
    "outchannels": "filters",
    "outfeatures": "units",
    "p": "rate",
    "wd": "weight_decay",
}
"""Names, folded, that PyTorch, scikit-learn and papers have for keys, too different to be guessed."""


def nearest(word: str, allowed: Iterable[str]) -> str | None:
    """The name in `allowed` that `word` most probably means, or None.

    Case, hyphens, blanks and underscores do not count: `CategoricalCrossentropy` means
    `categorical_crossentropy`. Other libraries' names are known too: `lr` means `learning_rate`.
    """
    if len(word) > 4 * _LONGEST_QUOTE:
        return None  # difflib takes quadratic time, and no name is that long
    folded: dict[str, str] = {}
    for name in allowed:
        folded.setdefault(_fold(name), name)
    if (elsewhere := _ELSEWHERE.get(_fold(word))) in folded.values():
        return elsewhere
    matches = get_close_matches(_fold(word), folded, n=1, cutoff=0.65)
    return folded[matches[0]] if matches else None


def nearest_file(name: str, files: Iterable[str]) -> str | None:
    """The file among `files` whose name without its endings is nearest to that of `name`, or None.

    `penguins.csv` means `penguins.csv.gz`, and not `mpg.csv`; of several stems alike one of the same ending.
    """
    same = sorted(files, key=lambda file: (PurePath(file).suffix != PurePath(name).suffix, file))
    stems: dict[str, str] = {}
    for file in same:
        stems.setdefault(_stem(file), file)
    match = nearest(_stem(name), stems)
    return stems[match] if match else None


def _stem(name: str) -> str:
    return name.lstrip(".").split(".")[0]


def _fold(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def listing(names: Iterable[str], last: str = "or") -> str:
    """`a, b or c`."""
    words = list(names)
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def listing_of_some(names: Sequence[str], most: int, others: str = "more") -> str:
    """`a, b and c`; of more than `most`, `a, b and 12 more`, or what `others` calls them."""
    more = [f"{len(names) - most:,} {others}"] if len(names) > most else []
    return listing([*names[:most], *more], "and")


def quoted(text: str) -> str:
    """`text` in single quotes, safe to print, its middle left out where it is long."""
    if len(text) > _LONGEST_QUOTE:
        text = f"{text[: _LONGEST_QUOTE - 13]}...{text[-10:]}"
    return f"'{one_line(text)}'"


def counted(number: int, noun: str) -> str:
    """`1 layer`, `3 layers`, `2 arrays`, `2 entries`."""
    several = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeou" else f"{noun}s"
    return f"{number:,} {noun if number == 1 else several}"


def times(number: int) -> str:
    """`once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `11th`, `21st`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def letters(place: int) -> str:
    """What to call one of several: `A` for 0, `B`, ... `Z`, `AA`, `AB`, ..."""
    text = ""
    while place >= 0:
        place, letter = divmod(place, 26)
        text, place = chr(ord("A") + letter) + text, place - 1
    return text


def score_text(value: float, decimals: int = 4) -> str:
    """A score or a loss: `0.8123`; of ten millions and more five digits and the power, `1.2346e+30`."""
    if LARGE <= abs(value) < math.inf:
        return f"{value:.4e}"
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text  # a sign that means nothing


def with_std(value: object, std: object = None) -> str:
    """`0.8123 ± 0.0040`; nothing where there is no number."""
    if not isinstance(value, (int, float)):
        return ""
    text = score_text(value)
    return f"{text} ± {score_text(std)}" if isinstance(std, (int, float)) else text
