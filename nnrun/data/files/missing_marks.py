"""The words of a file of CSV that count as missing in a column: None may be a gap, or the name of a class."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping

from nnrun.data.files.row_reader import RowReader, Texts
from nnrun.data.value_names import text_name
from nnrun.spec.wording import counted, listing, quoted

_MOST = 3


def missing_marks(reader: RowReader, column: str) -> Mapping[str, int]:
    """Word → rows in which it stands for a missing value, the most frequent first; empty fields aside.

    None where a file says by itself what is missing, as JSON does. The file is read again.

    Args:
        reader: of the file, with the words that count as missing.
        column: which has gaps.
    """
    if reader.typed:
        return {}
    words = {text_name(text) for text in reader.missing} - {""}
    literal = copy.copy(reader)
    literal.missing = ("",)
    counts: Counter[str] = Counter()
    for batch in literal.batches([column], {column}):
        for name, texts in batch.columns.items():
            assert isinstance(texts, Texts), f"{name} was asked for as texts"
            for place, level in enumerate(texts.levels):
                if (text := text_name(level)) in words:
                    counts[text] += int((texts.codes == place).sum())
    return dict(counts.most_common())


def marks_sentence(marks: Mapping[str, int]) -> str:
    """What the file has in the place of the missing values, and the way out; empty where it has nothing."""
    if not marks:
        return ""
    most = [f"{quoted(mark)} in {counted(rows, 'row')}" for mark, rows in list(marks.items())[:_MOST]]
    are = "counts" if len(marks) == 1 else "count"
    return (
        f"The file has {listing(most, 'and')}, which {are} as missing; if that is a class, set `missing: []` "
        "in the data set (or list there what is missing)."
    )
