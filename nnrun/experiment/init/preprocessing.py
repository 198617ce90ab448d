"""How the columns of a file become numbers, in a first spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.files.read_table import ReadTable
from nnrun.data.table import CategoryColumn, Column, NumberColumn
from nnrun.experiment.init.sizes import Sizes
from nnrun.spec.wording import counted
from nnrun.spec.writing.dump import flow

MANY_VALUES: Final = 50
RARE: Final = 5
_SKEWED: Final = 1.5
_ROWS_TO_TELL: Final = 30
_ZEROS_OF_AN_AMOUNT: Final = 0.01
_TAGGED: Final = 0.2
TEXT_STEP: Final = "    - text: {num_words: 10000, weighting: tf_idf}  # texts: their most frequent words"
_WORDS_BESIDE: Final = 1000
_SMALL_TEXT: Final = TEXT_STEP.replace("10000", str(_WORDS_BESIDE)) + ", next to other inputs"
_NUMBERS_OF_A_TABLE: Final = (
    "    # numbers: a column for each bin, from 0 to 1 within it, for jumps and bends at any value;",
    "    # and the number by its rank, so that long tails and outliers do no harm",
    "    - piecewise_linear: {bins: 16, keep: true}",
    "    - quantile: normal",
)
_CATEGORIES_OF_A_TABLE: Final = (
    f"    - one_hot: {{min_count: {RARE}, rare: true}}  # categories: a column for each value in {RARE} "
    "rows or more, one for the others"
)
HEAD: Final = ("preprocessing:", "  inputs:  # fitted only on the training rows of each fold")


def preprocessing_lines(
    file: ReadTable,
    inputs: Sequence[str],
    tags: Sequence[str],
    targets: Sequence[str],
    sizes: Sizes,
) -> list[str]:
    """The steps of the inputs and of the targets.

    Args:
        file: with the columns.
        inputs: the columns to learn from.
        tags: those of them that list tags.
        targets: the numbers that are predicted, where they are scaled alike; else none.
        sizes: how much there is to learn from; whether the inputs are texts, and hardly anything else.
    """
    texts = sizes.texts
    types = [file.columns[name].type for name in inputs if name not in tags]
    lines = list(HEAD)
    if "number" in types:
        gaps = sum(file.columns[n].type == "number" and file.columns[n].missing > 0 for n in inputs)
        lacking = "no missing values here" if not gaps else f"{counted(gaps, 'column')} with missing values"
        lines += [
            f"    - impute: {{strategy: median, indicator: true}}  # numbers ({lacking})",
            *(
                _NUMBERS_OF_A_TABLE
                if sizes.measured
                else ("    - standardize  # numbers: mean 0, standard deviation 1",)
            ),
        ]
    if "category" in types and sizes.measured:
        lines.append(_CATEGORIES_OF_A_TABLE)
    elif "category" in types:
        lines += _one_hot(file, [name for name in inputs if name not in tags])
    if "date" in types:
        lines.append("    - datetime  # dates: year, month, day, weekday and days elapsed, as numbers")
    for name in tags:
        step = flow({"text": {"column": name, "num_words": 200}})
        lines.append(f"    - {step}  # tags: a column of 0 and 1 for each")
    if "text" in types and not tags:
        lines.append(TEXT_STEP if texts else _SMALL_TEXT)
    elif "text" in types:
        weighed: dict[str, Any] = {"num_words": 10_000 if texts else _WORDS_BESIDE, "weighting": "tf_idf"}
        own = [name for name in inputs if file.columns[name].type == "text" and name not in tags]
        lines += [f"    - {flow({'text': {'column': name, **weighed}})}" for name in own]
    if targets:
        step, why = target_step([file.columns[name].column for name in targets])
        lines.append(f"  targets: {step}  # {why}")
    return lines


def target_step(columns: Sequence[Column]) -> tuple[str, str]:
    """How numbers that are predicted are scaled, and why."""
    if columns and all(has_long_tail(column) for column in columns):
        return (
            "[log1p, standardize]",
            "a long tail: the loss uses logarithms, so that errors are relative; metrics are in the target's "
            "own units",
        )
    return "standardize", "trains better; mae is still in the target's own units"


def has_long_tail(column: Column) -> bool:
    """Whether a target is an amount whose logarithm is much less skewed.

    A target that is 0 in more rows than a few is none: most counts of events are mainly noise, of which the
    mean of the logarithms says too little. Of the tables of `tests/benchmarks/tables.py` a logarithm made the
    root mean squared error of visits to a doctor 2 to 6 % larger, and that of applications to colleges 15 %
    smaller.
    """
    if not isinstance(column, NumberColumn):
        return False
    values = column.values[~column.missing].astype(np.float64)
    if len(values) < _ROWS_TO_TELL or values.min() < 0 or (values == 0).mean() > _ZEROS_OF_AN_AMOUNT:
        return False
    skew = _skew(values)
    return skew > _SKEWED and abs(_skew(np.log1p(values))) < skew / 2


def _skew(values: npt.NDArray[np.float64]) -> float:
    centred = values / (np.abs(values).max() or 1.0)
    centred = centred - centred.mean()
    deviation = float(np.sqrt((centred**2).mean()))
    return float((centred**3).mean()) / deviation**3 if deviation else 0.0


def lists_tags(column: Column) -> bool:
    """Whether a column lists tags with | between them, such as `Comedy|Drama`."""
    if not isinstance(column, CategoryColumn):
        texts: Any = getattr(column, "values", ())
        if isinstance(column, NumberColumn):
            return False
        present = [text for text in texts if text is not None]
        return bool(present) and sum("|" in text for text in present) > _TAGGED * len(present)
    if not len(column.levels):
        return False
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.levels))
    listed = sum(int(n) for level, n in zip(column.levels, counts, strict=True) if "|" in level)
    different = {tag for level in column.levels for tag in level.split("|")}
    return listed > _TAGGED * int(counts.sum()) and len(different) < len(column.levels) * 2


def _one_hot(file: ReadTable, inputs: Sequence[str]) -> list[str]:
    categories = [file.columns[name] for name in inputs if file.columns[name].type == "category"]
    values = [column.distinct or 0 for column in categories]
    step, which = "one_hot", "each value"
    if any(MANY_VALUES < n <= file.n_rows / (2 * RARE) for n in values):
        step, which = f"one_hot: {{min_count: {RARE}}}", f"each value in {RARE} rows or more"
    return [f"    - {step}  # categories: a column of 0 and 1 for {which}"]
