"""Rows of the comparison about a large CSV file, and about two threads on a machine that is busy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.benchmarks.comparison import Line, Row, RowMaker, Sitting
from tests.benchmarks.programs import MEGABYTES, Program, python
from tests.benchmarks.training_rows import trainer, wide_table, write_spec

ROWS_OF_CSV, NUMBERS, CATEGORIES = 1_000_000, 50, 5


def _large_csv(sitting: Sitting) -> tuple[Path, Path, list[Program]]:
    """The file, a spec that reads it, and what makes the file unless it is there."""
    file = sitting.folder / "large.csv"
    spec = {
        "name": "large",
        "dataset": {"csv": {"path": str(file), "target": "answer"}},
        "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
        "loss": "binary_crossentropy",
        "validation": {"holdout": {"first": 1000}},
    }
    numbers = map(str, (sitting.size(ROWS_OF_CSV), NUMBERS, CATEGORIES))
    made = [] if file.exists() else [Program("a table", python("generated.py", "csv", file, *numbers))]
    return file, write_spec(sitting.folder / "large_csv", spec), made


def csv_first(sitting: Sitting) -> Row:
    """With nothing in nnrun's cache but its C++."""
    file, spec, made = _large_csv(sitting)
    cache = sitting.folder / "cache_of_first"
    emptied = Program("an empty cache", python("generated.py", "fresh-cache", cache, sitting.cache))
    ours = Program("nnrun", python("time_reading.py", spec), {"NNRUN_CACHE_DIR": str(cache)})
    size = f"{ROWS_OF_CSV:,} x {NUMBERS + CATEGORIES + 1}"
    lines = [
        Line(f"CSV of {size}, read", "read", "s"),
        Line("the same, to prepared float32 rows", "rows", "s", "≤ 1.3"),
        Line("the same, peak memory of the process", MEGABYTES, "MB", "≤ 600 MB"),
    ]
    return Row(lines, ours, [_pandas(file)], before=made, before_each=[emptied])


def csv_again(sitting: Sitting) -> Row:
    """From nnrun's cache; pandas has none, and reads the file again."""
    file, spec, made = _large_csv(sitting)
    cache = sitting.folder / "cache_of_again"
    emptied = Program("an empty cache", python("generated.py", "fresh-cache", cache, sitting.cache))
    ours = Program("nnrun", python("time_reading.py", spec), {"NNRUN_CACHE_DIR": str(cache)})
    lines = [
        Line("the same CSV from the second time on, read", "read", "s", "≤ 0.3 s"),
        Line("the same, to prepared float32 rows", "rows", "s"),
    ]
    return Row(lines, ours, [_pandas(file)], before=[*made, emptied, replace(ours, system="the first time")])


def _pandas(file: Path) -> Program:
    return Program("pandas", python("peers/pandas_rows.py", file))


def two_threads(sitting: Sitting) -> Row:
    """`--threads 2` where another process has one of two cores, against one thread; wall time."""
    return _threads(sitting, "two_threads", "--threads 2 on a busy machine, dense", "--threads", "2")


def own_threads(sitting: Sitting) -> Row:
    """As `two_threads`, with the number of threads that nnrun chooses."""
    return _threads(sitting, "own_threads", "nnrun's own choice of threads there")


def _threads(sitting: Sitting, name: str, work: str, *options: str) -> Row:
    spec, made = wide_table(sitting)
    path = write_spec(sitting.folder / name, spec)
    ours = trainer("nnrun", path, sitting, *options, cores=2, clock="wall")
    one = trainer("nnrun --threads 1", path, sitting, "--threads", "1", cores=2, clock="wall")
    lines = [Line(work, "epoch", "s/epoch", "≤ 1.1")]
    return Row(lines, replace(ours, busy=True), [replace(one, busy=True)], before=made)


ROWS: dict[str, RowMaker] = {
    "csv_first": csv_first,
    "csv_again": csv_again,
    "two_threads": two_threads,
    "own_threads": own_threads,
}
