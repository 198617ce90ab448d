"""`nnrun train`, timed by its own history. Prints {"epoch": seconds, "update": microseconds}.

    python tests/benchmarks/time_nnrun.py CLOCK RUNS_DIR SPEC [OPTION ...]

An epoch's seconds are those in history.csv, validation included, the median of the second to the last. With
the clock `cpu` nnrun reads the processor time of its process where it would read a wall clock, so that what
else runs on the machine counts little. An update is a step of one network.
"""

from __future__ import annotations

import csv
import json
import math
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path


def main() -> None:
    clock, runs_dir, *arguments = sys.argv[1:]
    if clock == "cpu":
        time.perf_counter = time.process_time  # before anything of nnrun is imported
    from nnrun.cli import entry_point

    runs = Path(tempfile.mkdtemp(dir=runs_dir))
    sys.argv = ["nnrun", "train", *arguments, "--runs-dir", str(runs), "--quiet"]
    with suppress(SystemExit):  # as a command ends; its record says how
        entry_point()
    (path,) = runs.glob("*/run.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["status"] != "completed":
        raise SystemExit(f"nnrun: {record['status']}")
    with (path.parent / "history.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    # Networks that train side by side share their seconds; those of groups in turn add up.
    each: dict[int, set[float]] = {}
    for line in lines:
        each.setdefault(int(line["epoch"]), set()).add(float(line["seconds"]))
    epoch = statistics.median(sum(seconds) for number, seconds in each.items() if number > 1)
    networks = len(lines) // len(each)
    batch = int(_batch_size(path.parent / "resolved.yaml"))
    updates = networks * math.ceil(record["rows"]["train"] / batch)
    print()
    print(json.dumps({"epoch": epoch, "update": epoch / updates * 1e6}))


def _batch_size(resolved: Path) -> int:
    import yaml

    return int(yaml.safe_load(resolved.read_text(encoding="utf-8"))["batch_size"])


if __name__ == "__main__":
    main()
