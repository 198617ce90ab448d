"""Random data of the sizes that the comparison needs, and copies of a run, each written by its own process.

python tests/benchmarks/generated.py KIND FILE [NUMBER ...]
"""

from __future__ import annotations

import json
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

WORDS = 10_000
_BETWEEN_RUNS = timedelta(minutes=7)


def write_reviews(path: Path, rows: int) -> None:
    """IMDB's form: lists of word indices, about as long as reviews, words about as frequent."""
    rng = np.random.default_rng(0)
    lengths = np.clip(np.exp(rng.normal(5.2, 0.67, rows)), 11, 2494).astype(int)  # median 181, mean 227
    reviews = np.empty(rows, object)
    for place, length in enumerate(lengths):
        # Words are numbered by frequency, which falls as their rank rises (Zipf's law).
        reviews[place] = np.exp(rng.uniform(0, np.log(WORDS - 4), length)).astype(int) + 3
        reviews[place][0] = 1
    np.savez(path, x_train=reviews, y_train=rng.integers(0, 2, rows))


def write_table(path: Path, rows: int, columns: int, classes: int) -> None:
    """(rows, columns) normal numbers, and a class for each row that depends on a few of them."""
    rng = np.random.default_rng(0)
    x_NF = rng.normal(size=(rows, columns)).astype(np.float32)
    scores = x_NF[:, :8] @ rng.normal(size=(8, classes))
    np.savez(path, x_train=x_NF, y_train=scores.argmax(1))


def write_images(path: Path, rows: int) -> None:
    """(rows, 28, 28, 1) numbers from 0 to 1, of 10 random classes."""
    rng = np.random.default_rng(0)
    x = rng.random(size=(rows, 28, 28, 1), dtype=np.float32)
    np.savez(path, x_train=x, y_train=rng.integers(0, 10, rows))


def write_csv(path: Path, rows: int, numbers: int, categories: int) -> None:
    """Columns n0, n1, ... of four decimals, c0, ... of 4 codes each, and `answer`, yes or no.

    Blocks of 20,000 different rows are repeated, since random digits are slow to write; readers keep no rows.
    """
    rng = np.random.default_rng(0)
    block = min(rows, 20_000)
    columns: dict[str, object] = {f"n{i}": rng.normal(size=block).round(4) for i in range(numbers)}
    codes = np.array(["ka", "kb", "kc", "kd"])
    columns |= {f"c{i}": codes[rng.integers(0, len(codes), block)] for i in range(categories)}
    columns["answer"] = np.where(rng.random(block) < 0.5, "yes", "no")
    text = pd.DataFrame(columns).to_csv(index=False)
    header, _, body = text.partition("\n")
    with path.open("w", encoding="utf-8") as file:
        file.write(header + "\n")
        for _ in range(rows // block):
            file.write(body)


def write_new_rows(path: Path, rows: int, columns: int) -> None:
    """Rows to predict, with a header n0, n1, ..."""
    x_NF = np.random.default_rng(1).normal(size=(rows, columns)).round(4)
    pd.DataFrame(x_NF, columns=[f"n{i}" for i in range(columns)]).to_csv(path, index=False)


def copy_run(runs: Path, many: Path, number: int) -> None:
    """So many copies of the only run in a folder, without its networks.

    Each began `_BETWEEN_RUNS` before the one that was made before it, and has an id of its own.
    """
    (record,) = runs.glob("*/run.json")
    read = json.loads(record.read_text(encoding="utf-8"))
    small = ("history.csv", "history_mean.csv", "resolved.yaml", "spec.yaml", "labels.json")
    name = read["id"].rsplit("-", 2)[0]
    times = {key: datetime.fromisoformat(read[key]) for key in ("started", "ended")}
    for place in range(number):
        began = {key: time - place * _BETWEEN_RUNS for key, time in times.items()}
        id_ = f"{name}-{began['started']:%Y%m%dT%H%M%SZ}-{place:04x}"
        folder = many / id_
        folder.mkdir(parents=True)
        for file in small:
            shutil.copyfile(record.parent / file, folder / file)
        written = {**read, "id": id_, **{key: time.isoformat() for key, time in began.items()}}
        (folder / "run.json").write_text(json.dumps(written, indent=2), encoding="utf-8")


def fresh_cache(compiled: Path, cache: Path) -> None:
    """A cache of nothing but what another one holds: the compiled C++."""
    shutil.rmtree(cache, ignore_errors=True)
    shutil.copytree(compiled, cache)


def main() -> None:
    kind, path, *numbers = sys.argv[1:]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if kind == "copies":
        copy_run(Path(numbers[0]), Path(path), int(numbers[1]))
    elif kind == "fresh-cache":
        fresh_cache(Path(numbers[0]), Path(path))
    else:
        makers = {
            "reviews": write_reviews,
            "table": write_table,
            "images": write_images,
            "csv": write_csv,
            "new-rows": write_new_rows,
        }
        makers[kind](Path(path), *map(int, numbers))


if __name__ == "__main__":
    main()
