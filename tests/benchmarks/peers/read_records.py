"""The least that a list of runs costs: each run.json in a folder is parsed, and a line printed of it.

python tests/benchmarks/peers/read_records.py RUNS
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    found = []
    for entry in os.scandir(sys.argv[1]):
        try:
            with open(os.path.join(entry.path, "run.json"), "rb") as file:
                record = json.loads(file.read())
        except (FileNotFoundError, NotADirectoryError):
            continue
        found.append((record["started"], record["id"], record["status"], record["epochs_run"]))
    for line in sorted(found, reverse=True):
        print(*line)


if __name__ == "__main__":
    main()
