"""What nnrun trains on, written for programs that have no nnrun: the rows of each fold, and the network.

    python tests/benchmarks/fold_arrays.py SPEC FOLDER [--set KEY=VALUE ...]

`x_train_0.npy`, `y_train_0.npy`, `x_validation_0.npy` and `y_validation_0.npy` hold fold 0 as the spec's
preprocessing leaves it: dense float32 rows, also of word indices. `work.json` holds layers, loss, optimizer,
batch size and epochs with every default filled in. `peers/` reads both, so that each system trains the same
network on the same rows and the peers are spared reading and encoding.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data import DenseRows
from nnrun.data.load_data import load_data
from nnrun.experiment.setup.groups import prepare_groups
from nnrun.spec.reading.load import load_spec
from nnrun.spec.schema.component import Component


def write_folds(spec_file: Path, overrides: Sequence[str], folder: Path, data_dir: Path | None) -> None:
    """Write the files of every fold, and `work.json`, into a folder."""
    spec = load_spec(spec_file, list(overrides)).spec
    dataset = load_data(spec, data_dir=data_dir)
    (group,) = prepare_groups(spec, dataset)
    for fold, fitted in zip(group.folds, group.fitted, strict=True):
        rows = fitted.input.transform(dataset.train.inputs)
        x_NF = rows.x_NF if isinstance(rows, DenseRows) else rows.to_dense()
        y_NK = fitted.output.transform(dataset.train.targets)
        for name, chosen in (("train", fold.train_rows), ("validation", fold.validation_rows)):
            np.save(folder / f"x_{name}_{fold.index}.npy", x_NF[chosen])
            np.save(folder / f"y_{name}_{fold.index}.npy", y_NK[chosen])
    work = {
        "layers": [_described(layer) for layer in spec.layers],
        "loss": _described(spec.loss),
        "optimizer": _described(spec.optimizer),
        "batch_size": spec.batch_size,
        "epochs": spec.epochs,
        "folds": len(group.folds),
    }
    (folder / "work.json").write_text(json.dumps(work, indent=2), encoding="utf-8")


def _described(component: Component) -> dict[str, Any]:
    """Its kind, and its parameters with their defaults."""
    written = component.model_dump(mode="json")  # {kind: parameters}, or only the kind where it has none
    return {"kind": component.kind, **(written[component.kind] if isinstance(written, dict) else {})}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("spec", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_folds(arguments.spec, arguments.overrides, arguments.folder, arguments.data_dir)


if __name__ == "__main__":
    main()
