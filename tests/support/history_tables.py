"""Histories for tests, written as data frames."""

from __future__ import annotations

import pandas as pd

from nnrun.history_table import HistoryTable


def history_table(frame: pd.DataFrame) -> HistoryTable:
    """The columns of a frame."""
    return HistoryTable({str(name): frame[name].to_numpy() for name in frame.columns})
