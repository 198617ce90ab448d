"""nnrun beside the best peer for each kind of work, as one table.

    pip install -e '.[bench]'
    NNRUN_DATA_DIR=... python tests/benchmarks/table.py [--only ROW ...] [--pairs 3] [--markdown]

Each system runs in a fresh process, pinned to one core and with one thread, nnrun and its peers in turn. A
ratio is the median over the pairs of nnrun's value over the best peer's: below 1 nnrun is ahead. Epochs count
from the second on and with their validation. nnrun's C++ is compiled beforehand. The peers get prepared rows
and run at their best settings (`peers/` says which); one that needs 1.5 times what the best peer needs is run
once. IMDB is read from NNRUN_DATA_DIR; all else is generated. `--peers` names a Python that has Keras, JAX
and TensorFlow, if the present one has not; a peer that is missing is said to be, and the others go on.

Times are processor times, in which other processes on the machine count little; `--clock wall` takes the wall
clock for epochs. Two threads are always timed by the wall. Ends with 1 where nnrun itself failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks import command_rows, table_rows, training_rows
from tests.benchmarks.comparison import Shown, Sitting, measure
from tests.benchmarks.printing import heading, markdown, text
from tests.benchmarks.programs import COMPILED, Program, ProgramFailedError, run

ROWS = {**training_rows.ROWS, **command_rows.ROWS, **table_rows.ROWS}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--markdown", action="store_true", help="print the table for the README at the end")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="that has Keras and JAX")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="for epochs; default: cpu")
    parser.add_argument("--smoke", action="store_true", help="small data: see that every program runs")
    arguments = parser.parse_args()
    named = os.environ.get("NNRUN_DATA_DIR")
    lines: list[Shown] = []
    notes: list[str] = []
    failed = False
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # so that the folder, with 400 MB of rows, is deleted
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(named).resolve() if named and not arguments.smoke else None
        sitting = Sitting(Path(folder), arguments.peers, arguments.clock, data_dir, arguments.smoke)
        sitting.cache.mkdir()
        above = heading(sitting, arguments.pairs)
        print(above, flush=True)
        try:
            run(Program("the C++ compiler", [sys.executable, "-c", COMPILED]), sitting.cache)
        except ProgramFailedError as error:
            print(
                f"{error}\nWithout its C++ nnrun trains with PyTorch, as it does where there is no compiler."
            )
        for name in arguments.only or ROWS:
            outcome = measure(ROWS[name](sitting), sitting, arguments.pairs)
            for shown in outcome.shown:
                print(text(shown), flush=True)
            for note in outcome.notes:
                print(f"{name}: {note}", flush=True)
            lines += outcome.shown
            notes += [f"{name}: {note}" for note in outcome.notes]
            failed = failed or outcome.failed
    if arguments.markdown:
        print("", above, "", markdown(lines), *notes, sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
