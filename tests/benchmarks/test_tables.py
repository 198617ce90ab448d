"""What the comparison of learners on tables counts; the tables themselves come from packages."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.real_tables import TABLES, scored_folds
from tests.benchmarks.table_scores import BASE, report


def fit(table: str, system: str, error: float, fold: int = 0, task: str = "number") -> dict[str, Any]:
    return {
        "table": table,
        "fold": fold,
        "system": system,
        "task": task,
        "rows": 400,
        "seconds": 0.5,
        "error": error,
    }


def test_half_of_the_tables_is_held_back() -> None:
    held_back = sum(table.held_back for table in TABLES.values())
    assert len(TABLES) >= 50
    assert 0.4 < held_back / len(TABLES) < 0.6


def test_a_name_may_have_spaces_and_columns_are_dropped() -> None:
    bank = TABLES["UniversalBank"]
    assert (bank.target, bank.task, bank.dropped) == ("Personal Loan", "classes", ("ID", "ZIP Code"))
    assert TABLES["WestRoxbury"].dropped == ("TAX",)


def test_fewer_folds_of_larger_tables_are_scored() -> None:
    assert [scored_folds(rows) for rows in (300, 1_999, 2_000, 11_999, 12_000, 50_000)] == [3, 3, 2, 2, 1, 1]


def test_errors_are_averaged_over_folds_and_compared() -> None:
    fits = [
        fit("a", "nnrun", 1.0, 0), fit("a", "nnrun", 3.0, 1), fit("a", BASE, 4.0, 0), fit("a", BASE, 4.0, 1),
        fit("b", "nnrun", 5.0), fit("b", BASE, 2.5),
        fit("b", "nnrun", 9.0, 1),  # a fold that the other lacks does not count
        fit("c", "nnrun", 1.0),
        fit("d", "nnrun", 1e-9, task="classes"), fit("d", BASE, 1e-12, task="classes"),
    ]  # fmt: skip
    assert report(fits, ["a", "b", "c", "d"], ["nnrun", BASE, "linear"], markdown=False) == (
        "table  rows  nnrun  HistGradientBoosting\n"
        "a      400   2      4                   \n"
        "b      400   5      2.5                 \n"
        "d      400   0.001  0.001               \n"
        "\n"
        "system                mean rank  ratio to HistGradientBoosting  nnrun is ahead on  "
        "CPU s a fit, median  max\n"
        "nnrun                 1.50       1.000                                             "
        "0.50                 0.5\n"
        "HistGradientBoosting  1.50       1.000                          1 of 3             "
        "0.50                 0.5"
    )


def test_a_table_for_the_readme() -> None:
    fits = [fit("a", "nnrun", 1.0), fit("a", BASE, 2.0), fit("b", "nnrun", 3.0), fit("b", "linear", 9.0)]
    assert report(fits, ["a"], ["nnrun", BASE, "linear"], markdown=True) == (
        "| system | mean rank | ratio to HistGradientBoosting | nnrun is ahead on | CPU s a fit, median "
        "| max |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| nnrun | 1.00 | 0.500 |  | 0.50 | 0.5 |\n"
        "| HistGradientBoosting | 2.00 | 1.000 | 1 of 1 | 0.50 | 0.5 |"
    )
