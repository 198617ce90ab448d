"""nnrun reads a table and makes float32 rows of it, as a network takes them. Prints {"read", "rows"}.

    python tests/benchmarks/time_reading.py SPEC

Seconds of processor time, after the imports, of the process and of those that it starts: to the data set, and
to the prepared rows of all.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from nnrun.data.load_data import load_data
from nnrun.experiment.setup.groups import make_inputs, prepare_groups
from nnrun.spec.reading.load import load_spec


def seconds() -> float:
    """Processor time so far."""
    taken = os.times()
    return taken.user + taken.system + taken.children_user + taken.children_system


def main() -> None:
    spec = load_spec(Path(sys.argv[1])).spec
    began = seconds()
    dataset = load_data(spec)
    read = seconds()
    (group,) = prepare_groups(spec, dataset)
    rows = dataset.train.by_input(group.fitted[0].inputs)
    inputs = make_inputs(group.fitted, rows, torch.device("cpu"), training=True)
    ended = seconds()
    assert len(inputs) == 1
    print(json.dumps({"read": read - began, "rows": ended - began}))


if __name__ == "__main__":
    main()
